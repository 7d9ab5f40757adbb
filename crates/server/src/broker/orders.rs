//! The [`Orders`] of other servers about the members here: joins, leaves and disconnects.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::error::Elapsed;

use crate::backplane::Tasks;

/// How long an order may wait until it begins, and then take; whoever gave it waits no longer either.
const DEADLINE: Duration = Duration::from_secs(5);

/// What an order does: polled once, it is in the queue of every shard, unless one is full.
pub(super) struct Execution(pub BoxFuture<'static, ()>);

/// An order, which resolves when it can be carried out: a join first waits for its rooms.
pub(super) type Order = BoxFuture<'static, Execution>;

/// Begins orders one after the other, as Node's adapter does: a leave that follows a join is not
/// carried out before it. A publication that follows a leave does not reach who left, unless the leave
/// itself stands behind a join that waits for its rooms.
#[derive(Default)]
pub(super) struct Orders {
    waiting: VecDeque<BoxFuture<'static, Result<Execution, Elapsed>>>,
}

impl Orders {
    /// Begins an order, at once unless it or one before it must wait.
    pub fn push(&mut self, order: Order, tasks: &Tasks) {
        self.waiting.push_back(tokio::time::timeout(DEADLINE, order).boxed());
        if self.waiting.len() == 1 {
            // What must wait is polled again by whoever waits for `begin`.
            let _ = self.begin(tasks).now_or_never();
        }
    }

    /// Whether no order waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Begins all that wait. Cancel safe.
    ///
    /// # Errors
    /// Why one of them is dropped; those behind it wait on.
    pub async fn begin(&mut self, tasks: &Tasks) -> Result<(), &'static str> {
        while let Some(order) = self.waiting.front_mut() {
            let begun = order.await;
            self.waiting.pop_front();
            let Ok(Execution(mut execution)) = begun else {
                return Err("an order could not begin within 5 s");
            };
            if (&mut execution).now_or_never().is_some() {
                continue;
            }
            let shutdown = tasks.shutdown.clone();
            let execution = async move {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    _ = tokio::time::timeout(DEADLINE, execution) => {}
                }
            };
            tasks.tracker.spawn_on(execution, &tasks.runtime);
        }
        Ok(())
    }
}
