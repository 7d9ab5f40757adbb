//! The review of all members when the rules of rooms have changed.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::events;
use super::session::{Session, Sessions};

/// What a review came to.
#[derive(Clone, Copy, Default)]
struct Revoked {
    /// Members that had to leave a room.
    members: usize,
    /// Memberships that ended.
    memberships: usize,
}

/// Reviews all members after each notification of `changed`, until `stop`: those that the rules in
/// effect do not allow in a room leave it and are told.
pub async fn follow_rules(sessions: Arc<Sessions>, changed: Arc<Notify>, stop: CancellationToken) {
    while stop.run_until_cancelled(changed.notified()).await.is_some() {
        let Some(revoked) = stop.run_until_cancelled(review_all(&sessions)).await else { return };
        let Revoked { members, memberships } = revoked;
        if memberships > 0 {
            tracing::info!(members, memberships, "ended memberships that the rules forbid");
        }
    }
}

/// Reviews the members of each shard on its own thread. Joins that were allowed by earlier rules and
/// are made later are reviewed when they are made.
async fn review_all(sessions: &Arc<Sessions>) -> Revoked {
    let shards = &sessions.gateway().shards;
    let mut of_shards = vec![Vec::new(); shards.len()];
    for session in sessions.all() {
        of_shards[session.shard].push(session);
    }
    let reviews = shards.iter().zip(of_shards).map(|(shard, sessions)| {
        let (done, reviewed) = oneshot::channel();
        shard.spawn(review_shard(sessions, done));
        reviewed
    });
    let add = |sum: Revoked, shard: Revoked| Revoked {
        members: sum.members + shard.members,
        memberships: sum.memberships + shard.memberships,
    };
    join_all(reviews).await.into_iter().flatten().fold(Revoked::default(), add)
}

/// Lets other tasks of the shard run after each session, and ends early where nobody waits for
/// `done`.
async fn review_shard(sessions: Vec<Arc<Session>>, done: oneshot::Sender<Revoked>) {
    let mut revoked = Revoked::default();
    for session in sessions {
        if done.is_closed() {
            return;
        }
        for client in session.clients.all() {
            let ended = events::review(&client).await;
            revoked.members += usize::from(ended > 0);
            revoked.memberships += ended;
        }
        tokio::task::yield_now().await;
    }
    // Nobody waits for it any more when the server stops.
    let _ = done.send(revoked);
}
