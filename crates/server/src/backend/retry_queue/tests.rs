use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex as Lock;
use rookery_config::Hook;
use tokio::task::JoinHandle;

use super::*;

/// The id of an attempt, and the bodies that it was made with.
type Attempt = (String, Vec<Bytes>);

/// A backend that answers as it is told, and then accepts everything.
#[derive(Clone, Default)]
struct Fake {
    answers: Arc<Lock<VecDeque<Failure>>>,
    /// The id and the bodies of each attempt.
    attempts: Arc<Lock<Vec<Attempt>>>,
}

impl Fake {
    fn failing(with: Failure, times: usize) -> Self {
        let fake = Fake::default();
        fake.answers.lock().extend(std::iter::repeat_n(with, times));
        fake
    }

    fn attempts(&self) -> usize {
        self.attempts.lock().len()
    }
}

impl Deliver for Fake {
    async fn deliver(&self, id: &str, batch: &[Notification]) -> Result<Reply, Failure> {
        let bodies = batch.iter().map(|notification| notification.body.clone()).collect();
        self.attempts.lock().push((id.to_owned(), bodies));
        match self.answers.lock().pop_front() {
            Some(failure) => Err(failure),
            None => Ok(Reply::default()),
        }
    }
}

struct Running {
    queue: RetryQueue,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    worker: JoinHandle<()>,
}

const SETTINGS: RetrySettings = RetrySettings {
    capacity: 100,
    concurrency: 4,
    batch: 1,
    retry_for: Duration::from_secs(600),
    is_kept: false,
};

fn start(settings: RetrySettings, fake: &Fake) -> Running {
    let metrics = Arc::new(Metrics::new().unwrap());
    let (queue, worker) = RetryQueue::new(settings, &metrics);
    let stop = CancellationToken::new();
    let worker = tokio::spawn(worker.run(fake.clone(), stop.clone()));
    Running { queue, metrics, stop, worker }
}

impl Running {
    fn push(&self, body: &'static str) {
        self.queue.push(Notification::new(Hook::Disconnect, Bytes::from_static(body.as_bytes())));
    }

    fn dropped(&self) -> u64 {
        self.metrics.backend.dropped_notifications.get()
    }

    async fn sent(&self) {
        while self.metrics.backend.retry_queue.get() > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn stop(self) -> u64 {
        self.stop.cancel();
        self.worker.await.unwrap();
        self.metrics.backend.dropped_notifications.get()
    }
}

#[tokio::test(start_paused = true)]
async fn a_notification_is_sent_again_with_the_same_id_until_it_is_accepted() {
    let fake = Fake::failing(Failure::Status(500), 3);
    let running = start(SETTINGS, &fake);
    running.push("a");
    running.sent().await;
    assert_eq!((fake.attempts(), running.dropped()), (4, 0));
    let attempts = fake.attempts.lock().clone();
    assert!(attempts.iter().all(|attempt| *attempt == attempts[0]), "{attempts:?}");
    assert_eq!(running.stop().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_notification_that_is_refused_for_good_is_dropped_and_counted() {
    let fake = Fake::failing(Failure::Status(400), 1);
    let running = start(SETTINGS, &fake);
    running.push("a");
    running.sent().await;
    assert_eq!((fake.attempts(), running.dropped()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_notification_is_given_up_and_counted_after_its_time() {
    let fake = Fake::failing(Failure::Timeout, 10_000);
    let running = start(SETTINGS, &fake);
    running.push("a");
    running.sent().await;
    assert_eq!(running.dropped(), 1);
    assert!(fake.attempts() > 10, "{}", fake.attempts());
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_dropped_and_counted() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let settings = RetrySettings { capacity: 2, ..SETTINGS };
    let (queue, _worker) = RetryQueue::new(settings, &metrics);
    for _ in 0..5 {
        queue.push(Notification::new(Hook::Disconnect, Bytes::new()));
    }
    let backend = &metrics.backend;
    assert_eq!((backend.dropped_notifications.get(), backend.retry_queue.get()), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn batches_keep_their_order_and_repeat_as_they_were() {
    let fake = Fake::failing(Failure::Status(503), 1);
    let settings = RetrySettings { concurrency: 1, batch: 2, ..SETTINGS };
    let running = start(settings, &fake);
    for body in ["a", "b", "c"] {
        running.push(body);
    }
    assert_eq!(running.queue.free(), 97);
    running.sent().await;
    assert_eq!(running.queue.free(), 100);
    let attempts = fake.attempts.lock().clone();
    assert_eq!(attempts[0], attempts[1]);
    assert_ne!(attempts[1].0, attempts[2].0, "each batch has an id");
    let sent: Vec<Bytes> = attempts[1..].iter().flat_map(|(_, bodies)| bodies.clone()).collect();
    assert_eq!(sent, ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn at_the_end_each_one_is_tried_once_more_and_what_is_left_is_counted() {
    let fake = Fake::failing(Failure::Timeout, 1000);
    let running = start(SETTINGS, &fake);
    for _ in 0..10 {
        running.push("a");
    }
    // Four are between two attempts.
    while fake.attempts() < 4 {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(running.stop().await, 10);
    assert_eq!(fake.attempts(), 4 + 10);
}

#[tokio::test(start_paused = true)]
async fn a_reply_to_one_notification_is_carried_out() {
    let running = start(SETTINGS, &Fake::default());
    let (told, reply) = tokio::sync::oneshot::channel();
    let mut notification = Notification::new(Hook::Disconnect, Bytes::new());
    notification.on_reply = Some(Box::new(move |reply| told.send(reply).unwrap()));
    running.queue.push(notification);
    assert_eq!(reply.await.unwrap(), Reply::default());
}

/// A notification, and where it tells what became of it.
fn watched(ended: &Arc<Lock<Vec<Ended>>>) -> Notification {
    let mut notification = Notification::new(Hook::Rooms, Bytes::from_static(b"{}"));
    let ended = ended.clone();
    notification.on_end = Some(Box::new(move |end| ended.lock().push(end)));
    notification
}

#[tokio::test(start_paused = true)]
async fn each_notification_learns_what_became_of_it() {
    let fake = Fake::failing(Failure::Status(400), 1);
    let running = start(RetrySettings { concurrency: 1, batch: 2, ..SETTINGS }, &fake);
    let ended = Arc::default();
    (0..3).for_each(|_| running.queue.push(watched(&ended)));
    running.sent().await;
    assert_eq!(*ended.lock(), [Ended::GivenUp, Ended::GivenUp, Ended::Accepted]);
    assert_eq!(running.dropped(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_elsewhere_is_neither_dropped_nor_ended_by_a_stop() {
    let fake = Fake::failing(Failure::Timeout, 10_000);
    let settings = RetrySettings { concurrency: 1, batch: 2, is_kept: true, ..SETTINGS };
    let running = start(settings, &fake);
    let ended = Arc::default();
    (0..3).for_each(|_| running.queue.push(watched(&ended)));
    while fake.attempts() == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((running.stop().await, ended.lock().len()), (0, 0));
}
