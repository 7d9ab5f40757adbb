//! What a client is in rooms with presence or hooks.

use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use rookery_ops::throttle::limited;
use rookery_policy::{Namespace, Presence, Subject, TrackAs};

use super::state::Gateway;
use crate::message::MemberId;
use crate::rooms::member::Describe;
use crate::rooms::presence::occupant::{Occupant, TrackedOccupant};

/// Describes a member by the rules in effect and the claims of its `subject`.
pub fn describe(
    gateway: &Arc<Gateway>,
    namespace: &Namespace,
    subject: &Arc<ArcSwap<Subject>>,
    id: &MemberId,
) -> Describe {
    let (gateway, subject, id) = (Arc::downgrade(gateway), subject.clone(), id.clone());
    let namespace = namespace.clone();
    Box::new(move |room| occupant(&gateway, &namespace, &subject.load(), &id, room))
}

/// Who is there when the member is in `room`; `None`: the room's rule has neither presence nor hooks.
fn occupant(
    gateway: &Weak<Gateway>,
    namespace: &Namespace,
    subject: &Subject,
    id: &MemberId,
    room: &str,
) -> Option<TrackedOccupant> {
    let gateway = gateway.upgrade()?;
    let TrackAs { by, is_shown, info } = gateway.rules.load().track_as(namespace, room, subject)?;
    let info = info.and_then(|info| {
        info.inspect_err(|problem| {
            gateway.metrics.presence.info_failed.inc();
            limited!(
                gateway.log_throttles.presence_info,
                warn,
                room,
                member = &**id,
                user = subject.user(),
                error = problem,
                "presenceInfo failed: the member is shown without it"
            );
        })
        .ok()
    });
    let user: Option<Arc<str>> = subject.user().map(Into::into);
    let occupant = match (user, by) {
        (Some(user), Presence::User) => Occupant::user(user, info),
        (user, _) => Occupant::member(id, user, info),
    };
    Some(TrackedOccupant { occupant, is_shown })
}
