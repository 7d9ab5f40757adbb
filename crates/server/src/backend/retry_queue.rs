//! [`RetryQueue`]: notifications on their way to the backend, at least once each, in bounded memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use rookery_backoff::Backoff;
use rookery_ops::throttle::{Throttle, limited};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::notification::{Ended, Notification, new_id};
use super::reply::Reply;
use crate::telemetry::metrics::Metrics;

/// How long a worker that was told to stop waits for further notifications, of clients that are just
/// being disconnected.
const LINGER: Duration = Duration::from_millis(200);

/// How long a worker that was told to stop goes on at most.
const FLUSH: Duration = Duration::from_secs(4);

/// How notifications are sent.
#[derive(Clone, Copy, Debug)]
pub struct RetrySettings {
    /// Notifications that may wait.
    pub capacity: usize,
    /// Requests at the same time. With 1, the backend gets the notifications in order, and one that
    /// it does not accept holds up the others.
    pub concurrency: usize,
    /// Notifications in one request at most.
    pub batch: usize,
    /// How long one is sent again before it is given up.
    pub retry_for: Duration,
    /// Whether what is left at a stop is kept elsewhere and sent by somebody else, so that it is not
    /// lost.
    pub is_kept: bool,
}

/// Makes the attempts to send notifications.
pub trait Deliver: Send + Sync + 'static {
    /// Sends some notifications in one request, and gives the reply. `id` is the same in each attempt
    /// at them.
    fn deliver(
        &self,
        id: &str,
        batch: &[Notification],
    ) -> impl Future<Output = Result<Reply, Failure>> + Send;
}

/// Where notifications are put. Cloning is shallow.
#[derive(Clone)]
pub struct RetryQueue {
    sender: mpsc::Sender<Notification>,
    capacity: usize,
    shared: Arc<Shared>,
}

/// Sends what a [`RetryQueue`] holds.
pub struct RetryWorker {
    receiver: Mutex<mpsc::Receiver<Notification>>,
    settings: RetrySettings,
    shared: Arc<Shared>,
    /// It was told to stop, and there is nothing left.
    drained: AtomicBool,
}

struct Shared {
    /// Notifications that wait or are being sent.
    held: AtomicUsize,
    metrics: Arc<Metrics>,
    throttle: Throttle,
}

impl RetryQueue {
    /// An empty queue, and its worker.
    pub fn new(settings: RetrySettings, metrics: &Arc<Metrics>) -> (Self, RetryWorker) {
        let (sender, receiver) = mpsc::channel(settings.capacity);
        let throttle = Throttle::new(&metrics.log_lines_suppressed);
        let held = AtomicUsize::new(0);
        let shared = Arc::new(Shared { held, metrics: metrics.clone(), throttle });
        let worker = RetryWorker {
            receiver: Mutex::new(receiver),
            settings,
            shared: shared.clone(),
            drained: AtomicBool::new(false),
        };
        (RetryQueue { sender, capacity: settings.capacity, shared }, worker)
    }

    /// How many more it can hold.
    pub fn free(&self) -> usize {
        self.capacity.saturating_sub(self.shared.held.load(Ordering::Relaxed))
    }

    /// Adds a notification; where the queue is full, it is dropped, counted and logged.
    pub fn push(&self, notification: Notification) {
        let hook = notification.hook.label();
        self.shared.add(1);
        if self.sender.try_send(notification).is_err() {
            self.shared.remove(1);
            self.shared.dropped(1);
            let error = "backend.retryQueue is full";
            limited!(self.shared.throttle, warn, hook, error, "dropped a notification");
        }
    }
}

impl RetryWorker {
    /// Sends notifications until `stop`, and then once more each that waits and those that clients
    /// cause by their disconnection, for at most 4 s.
    pub async fn run(self, deliver: impl Deliver, stop: CancellationToken) {
        let workers = (0..self.settings.concurrency).map(|_| self.work(&deliver, &stop));
        let late = async {
            stop.cancelled().await;
            sleep(FLUSH).await;
        };
        tokio::select! {
            _ = join_all(workers) => {}
            () = late => {}
        }
        let left = self.shared.held.load(Ordering::Relaxed);
        self.shared.remove(left);
        if left > 0 && !self.settings.is_kept {
            self.shared.dropped(left);
            tracing::warn!(
                notifications = left,
                "stopped before the backend got all notifications"
            );
        }
    }

    async fn work(&self, deliver: &impl Deliver, stop: &CancellationToken) {
        loop {
            let batch = self.take(stop).await;
            if batch.is_empty() {
                return;
            }
            self.carry(batch, deliver, stop).await;
        }
    }

    /// Sends notifications, and tells and counts what became of them.
    async fn carry(
        &self,
        mut batch: Vec<Notification>,
        deliver: &impl Deliver,
        stop: &CancellationToken,
    ) {
        let count = batch.len();
        let ends: Vec<_> = batch.iter_mut().filter_map(|one| one.on_end.take()).collect();
        let ended = match self.send(batch, deliver, stop).await {
            Ok(()) => Ended::Accepted,
            // Somebody else sends them.
            Err(failure)
                if self.settings.is_kept && stop.is_cancelled() && failure.is_temporary() =>
            {
                return self.shared.remove(count);
            }
            Err(error) => {
                self.shared.dropped(count);
                limited!(self.shared.throttle, warn, notifications = count, %error, "gave up notifications");
                Ended::GivenUp
            }
        };
        self.shared.remove(count);
        ends.into_iter().for_each(|on_end| on_end(ended));
    }

    /// The next notifications; none at the end.
    async fn take(&self, stop: &CancellationToken) -> Vec<Notification> {
        let (mut batch, most) = (Vec::new(), self.settings.batch);
        let mut receiver = self.receiver.lock().await;
        if stop.run_until_cancelled(receiver.recv_many(&mut batch, most)).await.is_some() {
            return batch;
        }
        if !self.drained.load(Ordering::Relaxed) {
            let _ = timeout(LINGER, receiver.recv_many(&mut batch, most)).await;
            self.drained.store(batch.is_empty(), Ordering::Relaxed);
        }
        batch
    }

    /// Sends notifications until the backend has them.
    ///
    /// # Errors
    /// The last failure, where there is no further attempt.
    async fn send(
        &self,
        mut batch: Vec<Notification>,
        deliver: &impl Deliver,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        // What a batch contains may be sent in other batches too, so that it has an id of its own.
        let first = batch.first().map(|first| first.id.clone());
        let Some(first) = first else { return Ok(()) };
        let id = if self.settings.batch > 1 { new_id() } else { first };
        let (started, mut backoff) = (Instant::now(), Backoff::default());
        loop {
            let is_last = stop.is_cancelled();
            match deliver.deliver(&id, &batch).await {
                Ok(reply) => {
                    let on_reply = batch.pop().and_then(|only| only.on_reply);
                    if let Some(on_reply) = on_reply.filter(|_| batch.is_empty()) {
                        on_reply(reply);
                    }
                    return Ok(());
                }
                // It was handled.
                Err(Failure::BadReply(_) | Failure::TooLarge(_)) => return Ok(()),
                Err(failure) if is_last || !failure.is_temporary() => return Err(failure),
                Err(failure) => {
                    let delay = backoff.next_delay();
                    if started.elapsed() + delay > self.settings.retry_for {
                        return Err(failure);
                    }
                    stop.run_until_cancelled(sleep(delay)).await;
                }
            }
        }
    }
}

impl Shared {
    fn add(&self, count: usize) {
        self.held.fetch_add(count, Ordering::Relaxed);
        self.metrics.backend.retry_queue.add(count as i64);
    }

    fn remove(&self, count: usize) {
        self.held.fetch_sub(count, Ordering::Relaxed);
        self.metrics.backend.retry_queue.sub(count as i64);
    }

    fn dropped(&self, count: usize) {
        self.metrics.backend.dropped_notifications.inc_by(count as u64);
    }
}

#[cfg(test)]
mod tests;
