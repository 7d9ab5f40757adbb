//! The review of a client's memberships, after the rules changed.

use std::sync::Arc;

use rookery_policy::{Permission, Rules};
use rookery_protocol::encoded::Encoded;
use rookery_protocol::{Data, Room};
use tokio::sync::oneshot;

use crate::gateway::client::Client;

/// The event that tells a client that it is no longer in a room: `{room, reason}`.
const LEFT: &str = "rookery:left";

/// Why a review ends a membership: a rule denies it.
const REASON: &str = "forbidden";

/// Ends the client's memberships that the rules in effect do not allow, tells it of each by
/// `rookery:left`, and returns how many there were. Rooms that a backend put it into stay.
pub async fn review(client: &Arc<Client>) -> usize {
    let (gateway, member) = (client.gateway(), client.member.clone());
    let (ended, count) = oneshot::channel();
    let namespace = member.namespace.clone();
    let tell = move |left: &[Room]| {
        // Nobody waits for it any more when the server stops.
        let _ = ended.send(left.len());
        left.iter().map(|room| left_event(&namespace, room)).collect()
    };
    let wait = gateway.broker.leave_except(client.shard(), member, may_stay(client), tell);
    if let Some(wait) = wait {
        wait.await;
    }
    let ended = count.await.unwrap_or_default();
    gateway.metrics.memberships_revoked.inc_by(ended as u64);
    ended
}

/// Reviews the client where other rules are in effect than `rules`, by which a join was allowed that
/// is now made.
pub async fn review_after(client: &Arc<Client>, rules: &Arc<Rules>) {
    if !Arc::ptr_eq(rules, &client.gateway().rules.load()) {
        review(client).await;
    }
}

/// Whether the client may be in a room, by its claims and the rules at the time of the call.
pub fn may_stay(client: &Arc<Client>) -> impl Fn(&Room) -> bool + Send + use<> {
    let client = client.clone();
    move |room| {
        let (rules, subject) = (client.gateway().rules.load(), client.subject.load());
        rules.decide(Permission::Join, &client.namespace, room, &subject).allowed
    }
}

fn left_event(namespace: &str, room: &Room) -> Encoded {
    let fields = [("room", &**room), ("reason", REASON)];
    let fields = fields.map(|(name, value)| (name.into(), Data::from(value)));
    let arg = Data::Object(fields.into());
    Encoded::event(namespace, LEFT, [&arg])
}
