//! [`Uninterrupted`]: work that goes on where its request is dropped.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// A future that is finished as a task if it is dropped once it has begun. Resolves to an error
/// where the future panics.
pub(super) struct Uninterrupted<T: Send + 'static> {
    future: Option<BoxFuture<'static, Result<T, Box<dyn Any + Send>>>>,
    begun: bool,
    tasks: TaskTracker,
}

impl<T: Send + 'static> Uninterrupted<T> {
    pub(super) fn new(
        future: impl Future<Output = T> + Send + 'static,
        tasks: &TaskTracker,
    ) -> Self {
        let future = AssertUnwindSafe(future).catch_unwind().boxed();
        Uninterrupted { future: Some(future), begun: false, tasks: tasks.clone() }
    }
}

impl<T: Send + 'static> Future for Uninterrupted<T> {
    type Output = Result<T, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.begun = true;
        let future = self.future.as_mut().expect("not polled after it was ready");
        let result = future.as_mut().poll(cx);
        if result.is_ready() {
            self.future = None;
        }
        result
    }
}

impl<T: Send + 'static> Drop for Uninterrupted<T> {
    fn drop(&mut self) {
        let Some(future) = self.future.take().filter(|_| self.begun) else { return };
        // Without a runtime, the process ends.
        if let Ok(runtime) = Handle::try_current() {
            self.tasks.spawn_on(future, &runtime);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn only_work_that_has_begun_is_finished_when_dropped() {
        let tasks = TaskTracker::new();
        let (begin, begun) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        let mut work = Uninterrupted::new(
            async move {
                begun.await.unwrap();
                end.send(()).unwrap();
            },
            &tasks,
        );
        assert!((&mut work).now_or_never().is_none());
        drop(work);
        begin.send(()).unwrap();
        ended.await.unwrap();

        let (end, ended) = oneshot::channel();
        drop(Uninterrupted::new(async move { end.send(()).unwrap() }, &tasks));
        assert!(ended.await.is_err());
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let work = Uninterrupted::new(async { panic!("as the test wants") }, &TaskTracker::new());
        let result: Result<(), _> = work.await;
        assert!(result.is_err());
    }
}
