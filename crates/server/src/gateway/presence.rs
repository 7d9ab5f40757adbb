//! What a client is in rooms with presence.

use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use rookery_ops::throttle::limited;
use rookery_policy::{Namespace, Presence, PresentAs, Subject};

use super::state::Gateway;
use crate::message::MemberId;
use crate::rooms::member::Describe;
use crate::rooms::presence::occupant::Occupant;

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

/// Who the others are told is there when the member is in `room`; `None`: nobody.
fn occupant(
    gateway: &Weak<Gateway>,
    namespace: &Namespace,
    subject: &Subject,
    id: &MemberId,
    room: &str,
) -> Option<Occupant> {
    let gateway = gateway.upgrade()?;
    let PresentAs { by, info } = gateway.rules.load().present_as(namespace, room, subject)?;
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
    Some(match (user, by) {
        (Some(user), Presence::User) => Occupant::user(user, info),
        (user, _) => Occupant::member(id, user, info),
    })
}
