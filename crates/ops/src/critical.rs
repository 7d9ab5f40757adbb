//! Tasks without which the process is of no use: where one ends before its time, the process ends.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::OnceLock;

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

/// Watches critical tasks. Cloning is shallow.
#[derive(Clone, Debug, Default)]
pub struct CriticalTasks {
    first: Arc<OnceLock<Failure>>,
    failed: CancellationToken,
}

/// A critical task that ended before its time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{task} {how}")]
pub struct Failure {
    /// The task, as an operator would call it, such as `shard 3`.
    pub task: String,
    /// `panicked`, or `ended by itself`.
    pub how: &'static str,
}

impl CriticalTasks {
    /// Runs `task`, which is to end only after `stop`. Where it panics, or ends before,
    /// [`CriticalTasks::failed`] resolves.
    pub async fn watch(
        &self,
        name: impl Into<String>,
        stop: &CancellationToken,
        task: impl Future<Output = ()>,
    ) {
        let how = match AssertUnwindSafe(task).catch_unwind().await {
            Ok(()) if stop.is_cancelled() => return,
            Ok(()) => "ended by itself",
            Err(_) => "panicked",
        };
        let _ = self.first.set(Failure { task: name.into(), how });
        self.failed.cancel();
    }

    /// Resolves when a critical task has ended before its time, with the first that did.
    pub async fn failed(&self) -> Failure {
        self.failed.cancelled().await;
        let unnamed = || Failure { task: "a task".to_owned(), how: "panicked" };
        self.first.get().cloned().unwrap_or_else(unnamed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_reported_by_its_name() {
        let tasks = CriticalTasks::default();
        tasks.watch("shard 3", &CancellationToken::new(), async { panic!("as it may") }).await;
        assert_eq!(tasks.failed().await.to_string(), "shard 3 panicked");
    }

    #[tokio::test]
    async fn a_task_that_ends_by_itself_is_reported() {
        let tasks = CriticalTasks::default();
        tasks.watch("shard 0", &CancellationToken::new(), async {}).await;
        assert_eq!(tasks.failed().await.to_string(), "shard 0 ended by itself");
    }

    #[tokio::test]
    async fn a_task_that_is_stopped_is_no_failure() {
        let (tasks, stop) = (CriticalTasks::default(), CancellationToken::new());
        stop.cancel();
        tasks.watch("shard 0", &stop, async {}).await;
        assert!(tasks.failed().now_or_never().is_none());
    }
}
