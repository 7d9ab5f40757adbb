//! A [`Shard`]: owner of some sessions' rooms; everything that changes or uses them is a command.

mod command;
mod membership_change;
mod presence;
mod queue;
mod rooms;
mod state;

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::telemetry::latency::DeliveryRecorder;
use crate::wakeups::gathered;
pub use command::{Join, PresenceUpdate, Reply, ShardCommand};
pub use membership_change::MembershipChange;
use queue::LocalShard;
pub use queue::{ShardPermit, ShardQueue};
pub use rooms::ShardRooms;
use state::ShardState;

/// Commands that may wait for a shard; publishers wait beyond it.
pub const QUEUE: usize = 16 << 10;

/// Commands taken at once; the publications among them become batches.
const TAKEN: usize = 1024;

/// Publications being delivered beyond which nothing more is taken from the queue.
pub const BACKLOG: usize = 8 * TAKEN;

/// Owner of the rooms of the sessions of one core.
pub struct Shard {
    local: LocalShard,
    queue: mpsc::Receiver<ShardCommand>,
}

impl Shard {
    /// A shard, and the way to it.
    pub fn new(rooms: ShardRooms, recorder: Arc<DeliveryRecorder>) -> (ShardQueue, Self) {
        let (commands, queue) = mpsc::channel(QUEUE);
        let local = LocalShard::new(ShardState::new(rooms, recorder));
        (ShardQueue::new(commands, local.clone()), Shard { local, queue })
    }

    /// Works until the queue is closed and empty. The thread that runs it is the shard's own.
    pub async fn run(self) {
        self.local.set_thread();
        gathered(self.work()).await;
    }

    async fn work(mut self) {
        let mut commands = Vec::with_capacity(TAKEN);
        loop {
            if self.local.is_idle() {
                tokio::select! {
                    biased;
                    taken = self.queue.recv_many(&mut commands, TAKEN) => if taken == 0 { return },
                    () = self.local.woken() => {}
                }
            } else if self.local.backlog() < BACKLOG {
                while commands.len() < TAKEN
                    && let Ok(command) = self.queue.try_recv()
                {
                    commands.push(command);
                }
            }
            self.local.work(commands.drain(..));
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests;
