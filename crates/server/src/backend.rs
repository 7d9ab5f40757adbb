//! The application's own backend: webhooks over HTTP, their replies, and what happens when they
//! fail. See `docs/backend.md` for the contract.

mod breaker;
mod client;
mod failure;
mod in_flight;
mod notification;
mod probe;
mod reply;
mod request;
mod retry_queue;
mod signature;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rookery_config::{self as config, Glob, Hook};
use rookery_ops::throttle::{Throttle, limited};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::telemetry::metrics::{BackendOutcome, Metrics};
use crate::telemetry::trace::Tracer;
use breaker::{Breaker, Transition};
pub use client::BackendError;
use client::{HttpClient, Post};
pub use failure::Failure;
use in_flight::InFlight;
use notification::new_id;
pub use notification::{Ended, Notification, OnEnd, OnReply};
pub use probe::{Verdict, probe};
pub use reply::{BadReply, Emit, Publish, Reply, ReplyError};
use request::rooms_request;
pub use request::{Content, Request, RequestKind};
pub use retry_queue::{Deliver, RetryQueue, RetrySettings, RetryWorker};
pub use signature::SigningKey;

/// Disconnects that are sent at the same time.
const DISCONNECTS_IN_FLIGHT: usize = 32;

/// Events of rooms in one request at most.
const ROOM_EVENTS: usize = 100;

/// The application's backend. Cloning is shallow.
#[derive(Clone)]
pub struct Backend {
    inner: Arc<Inner>,
}

struct Inner {
    config: config::Backend,
    events: Vec<Glob>,
    client: HttpClient,
    calls: InFlight,
    breaker: Mutex<Breaker>,
    disconnects: RetryQueue,
    rooms: RetryQueue,
    /// Until [`Backend::run`] takes them: those that send disconnects and events of rooms.
    workers: Mutex<Option<(RetryWorker, RetryWorker)>>,
    metrics: Arc<Metrics>,
    tracer: Tracer,
    throttle: Throttle,
}

/// A reply, and the trace that it belongs to.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What the backend asks for.
    pub reply: Reply,
    /// The `traceparent` of the call.
    pub traceparent: Arc<str>,
}

impl Backend {
    /// The backend as configured. `keeps_rooms`: Redis keeps the events of rooms that are not sent yet.
    /// Reads its files. Blocking I/O.
    ///
    /// # Errors
    /// See [`BackendError`].
    pub fn new(
        config: &config::Backend,
        keeps_rooms: bool,
        metrics: &Arc<Metrics>,
        tracer: Tracer,
    ) -> Result<Self, BackendError> {
        let settings = RetrySettings {
            capacity: config.retry_queue as usize,
            concurrency: DISCONNECTS_IN_FLIGHT,
            batch: 1,
            retry_for: config.retry_for.0,
            is_kept: false,
        };
        let (disconnects, sends_disconnects) = RetryQueue::new(settings, metrics);
        // One request at a time, so that the events of a room stay in order.
        let settings =
            RetrySettings { concurrency: 1, batch: ROOM_EVENTS, is_kept: keeps_rooms, ..settings };
        let (rooms, sends_rooms) = RetryQueue::new(settings, metrics);
        let inner = Inner {
            events: config.events.iter().map(|pattern| Glob::new(pattern)).collect(),
            client: HttpClient::new(config)?,
            calls: InFlight::new(config.max_in_flight, config.queue),
            breaker: Mutex::default(),
            disconnects,
            rooms,
            workers: Mutex::new(Some((sends_disconnects, sends_rooms))),
            metrics: metrics.clone(),
            tracer,
            throttle: Throttle::new(&metrics.log_lines_suppressed),
            config: config.clone(),
        };
        Ok(Backend { inner: Arc::new(inner) })
    }

    /// Whether the backend is told of this.
    pub fn has(&self, hook: Hook) -> bool {
        self.inner.config.has(hook)
    }

    /// Whether the backend handles the event, where no rule does.
    pub fn handles(&self, event: &str) -> bool {
        self.has(Hook::Event) && self.inner.events.iter().any(|pattern| pattern.matches(event))
    }

    /// Signs requests with another key from now on.
    pub fn set_key(&self, key: SigningKey) {
        self.inner.client.set_key(key);
    }

    /// Calls the backend, and waits for its reply at most `backend.timeout`, the time in the queue
    /// included.
    ///
    /// # Errors
    /// See [`Failure`]; counted and logged.
    pub async fn call(&self, hook: Hook, namespace: &str, body: Bytes) -> Result<Answer, Failure> {
        let inner = &*self.inner;
        let deadline = Instant::now() + inner.config.timeout.0;
        let acquired = match inner.is_open() {
            true => Err(Failure::CircuitOpen),
            false => inner.acquire(deadline).await,
        };
        let permit = acquired.inspect_err(|failure| inner.failed(hook, failure))?;
        let timeout = deadline.saturating_duration_since(Instant::now());
        let answer = inner.send(hook, namespace, &new_id(), &body, timeout).await;
        drop(permit);
        answer
    }

    /// Tells the backend of something that nobody waits for. Events of rooms are sent in their order.
    pub fn notify(&self, notification: Notification) {
        match notification.hook {
            Hook::Rooms => self.inner.rooms.push(notification),
            _ => self.inner.disconnects.push(notification),
        }
    }

    /// How many more events of rooms may wait.
    pub fn free_for_rooms(&self) -> usize {
        self.inner.rooms.free()
    }

    /// Sends notifications until `stop`, and then what is left once more. Called once; further calls
    /// return at once.
    pub async fn run(self, stop: CancellationToken) {
        let Some((disconnects, rooms)) = self.inner.workers.lock().take() else { return };
        tokio::join!(disconnects.run(self.clone(), stop.clone()), rooms.run(self, stop));
    }
}

impl Deliver for Backend {
    async fn deliver(&self, id: &str, batch: &[Notification]) -> Result<Reply, Failure> {
        let Some(first) = batch.first() else { return Ok(Reply::default()) };
        let inner = &*self.inner;
        let timeout = inner.config.timeout.0;
        let body = match first.hook {
            Hook::Rooms => rooms_request(batch.iter().map(|event| &*event.body)),
            _ => first.body.clone(),
        };
        let answer = inner.send(first.hook, "", id, &body, timeout).await?;
        Ok(answer.reply)
    }
}

impl Inner {
    fn is_open(&self) -> bool {
        self.breaker.lock().is_open(Instant::now().into_std())
    }

    async fn acquire(
        &self,
        deadline: Instant,
    ) -> Result<tokio::sync::SemaphorePermit<'_>, Failure> {
        let metrics = &self.metrics.backend;
        metrics.waiting.inc();
        let permit = self.calls.acquire(deadline).await;
        metrics.waiting.dec();
        permit
    }

    /// Makes one request, unless the last ones have failed; counts and logs what became of it.
    async fn send(
        &self,
        hook: Hook,
        namespace: &str,
        id: &str,
        body: &Bytes,
        timeout: Duration,
    ) -> Result<Answer, Failure> {
        if !self.breaker.lock().admit(Instant::now().into_std()) {
            self.failed(hook, &Failure::CircuitOpen);
            return Err(Failure::CircuitOpen);
        }
        let span = self.tracer.call_backend(hook.label(), namespace);
        let post = Post { id, traceparent: span.traceparent(), body, timeout };
        let replied = self.post(post).await.and_then(|body| {
            Reply::parse(&body).map_err(|error| Failure::BadReply(error.to_string()))
        });
        match replied {
            Ok(reply) => {
                let is_refusal = reply.error.is_some();
                let outcome = if is_refusal { BackendOutcome::Refused } else { BackendOutcome::Ok };
                self.metrics.backend.requested(hook, outcome);
                Ok(Answer { reply, traceparent: span.traceparent().clone() })
            }
            Err(failure) => {
                span.failed(&failure);
                self.failed(hook, &failure);
                Err(failure)
            }
        }
    }

    /// Posts, and takes down whether the backend is alive.
    async fn post(&self, post: Post<'_>) -> Result<Bytes, Failure> {
        let metrics = &self.metrics.backend;
        metrics.in_flight.inc();
        let timer = metrics.seconds.start_timer();
        let posted = self.client.post(post).await;
        timer.observe_duration();
        metrics.in_flight.dec();
        let is_outage = posted.as_ref().is_err_and(Failure::is_outage);
        let transition = {
            let mut breaker = self.breaker.lock();
            match is_outage {
                true => breaker.failed(Instant::now().into_std()),
                false => breaker.answered(),
            }
        };
        match transition {
            Some(Transition::Opened) => tracing::error!(
                url = self.config.redacted_url(),
                "the backend does not answer: calls are refused, but for one a second"
            ),
            Some(Transition::Closed) => tracing::info!("the backend answers again"),
            None => {}
        }
        posted
    }

    fn failed(&self, hook: Hook, failure: &Failure) {
        let outcome = failure.outcome();
        self.metrics.backend.requested(hook, outcome);
        let (hook, outcome) = (hook.label(), outcome.label());
        limited!(self.throttle, warn, hook, outcome, error = %failure, "a call to the backend failed");
    }
}
