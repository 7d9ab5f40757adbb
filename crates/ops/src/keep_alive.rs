//! Persistent HTTP/1.1 connections (RFC 9112, section 9.3): how long they are kept, and how they end
//! without cutting off a request that is just arriving.

mod stream;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Version};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

pub use stream::ActivityStream;

/// How long a connection is kept beyond the time that [`KeepAliveHeader`] names, so that a client
/// that goes by it closes first.
pub const LEEWAY: Duration = Duration::from_secs(5);

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// How long a connection may be without progress.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For the head of a request to arrive.
    pub head: Duration,
    /// Between two requests, as [`KeepAliveHeader`] names it.
    pub idle: Duration,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended<T> {
    /// It was served to its end, with this result.
    Closed(T),
    /// The head of a request did not arrive in time.
    HeadTimeout,
    /// The server shut down before the first byte arrived.
    Unused,
}

/// What a connection is doing. Cloning is shallow.
#[derive(Clone)]
pub struct Activity {
    phase: Arc<Mutex<Phase>>,
}

/// What a connection is doing, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing has arrived yet.
    New(Instant),
    /// The head of a request is arriving.
    Head(Instant),
    /// A request is in progress.
    Busy,
    /// It waits for the next request.
    Idle(Instant),
    /// It is closed between two requests, because the server shuts down.
    Ending,
}

impl Activity {
    /// The activity of a connection that was accepted at `accepted`.
    pub fn new(accepted: Instant) -> Self {
        Activity { phase: Arc::new(Mutex::new(Phase::New(accepted))) }
    }

    /// Begins a request; it is in progress until the returned value is dropped.
    pub fn request(&self) -> RequestInProgress {
        *self.phase.lock() = Phase::Busy;
        RequestInProgress(self.clone())
    }

    /// Bytes have arrived.
    fn received(&self) {
        let mut phase = self.phase.lock();
        match *phase {
            Phase::New(accepted) => *phase = Phase::Head(accepted),
            Phase::Idle(_) => *phase = Phase::Head(Instant::now()),
            Phase::Head(_) | Phase::Busy | Phase::Ending => {}
        }
    }

    /// The connection is to be closed; between two requests there is nothing to linger for.
    fn end(&self) {
        let mut phase = self.phase.lock();
        if matches!(*phase, Phase::Idle(_)) {
            *phase = Phase::Ending;
        }
    }

    /// Whether the connection may be closed without waiting for what its client still sends.
    fn is_ending(&self) -> bool {
        *self.phase.lock() == Phase::Ending
    }

    fn phase(&self) -> Phase {
        *self.phase.lock()
    }
}

/// A request in progress.
pub struct RequestInProgress(Activity);

impl Drop for RequestInProgress {
    fn drop(&mut self) {
        *self.0.phase.lock() = Phase::Idle(Instant::now());
    }
}

/// Runs a connection of hyper that reads from an [`ActivityStream`], until it ends, or until it
/// exceeds one of `timeouts`. After `shutdown`, it ends with the request in progress.
///
/// hyper's own graceful shutdown also closes a connection that has read a part of a request's head.
pub async fn run<C: Future>(
    mut connection: Pin<&mut C>,
    graceful_shutdown: impl Fn(Pin<&mut C>),
    activity: &Activity,
    timeouts: Timeouts,
    shutdown: &CancellationToken,
) -> Ended<C::Output> {
    let mut cancelled = pin!(shutdown.cancelled());
    let mut timer = pin!(Timer::default());
    let (mut is_ending, mut is_told) = (false, false);
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(Ended::Closed(result));
            }
            is_ending = is_ending || cancelled.as_mut().poll(cx).is_ready();
            if is_told {
                return Poll::Pending;
            }
            match activity.phase() {
                Phase::New(_) if is_ending => return Poll::Ready(Ended::Unused),
                Phase::New(since) | Phase::Head(since) => {
                    if !timer.as_mut().has_passed(since + timeouts.head, cx) {
                        return Poll::Pending;
                    }
                    return Poll::Ready(Ended::HeadTimeout);
                }
                Phase::Busy if !is_ending => return Poll::Pending,
                Phase::Idle(since)
                    if !is_ending
                        && !timer.as_mut().has_passed(since + timeouts.idle + LEEWAY, cx) =>
                {
                    return Poll::Pending;
                }
                Phase::Busy | Phase::Idle(_) | Phase::Ending => {
                    is_told = true;
                    if is_ending {
                        activity.end();
                    }
                    graceful_shutdown(connection.as_mut());
                }
            }
        }
    })
    .await
}

/// A timer whose deadline moves. It is set again only where the deadline comes before the one that
/// it is set to, which is rare on a busy connection.
#[derive(Default)]
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Whether the deadline has passed; otherwise the task is woken when it has, or before.
    fn has_passed(mut self: Pin<&mut Self>, deadline: Instant, cx: &mut Context<'_>) -> bool {
        loop {
            match &mut self.0 {
                Some(sleep) if sleep.deadline() <= deadline => {
                    if sleep.as_mut().poll(cx).is_pending() {
                        return false;
                    }
                    if Instant::now() >= deadline {
                        return true;
                    }
                    sleep.as_mut().reset(deadline);
                }
                Some(sleep) => sleep.as_mut().reset(deadline),
                empty => *empty = Some(Box::pin(sleep_until(deadline))),
            }
        }
    }
}

/// What a response says about its connection, from what the request said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAliveHeader {
    /// The client wants the connection to be kept, in HTTP/1.1's way.
    wanted: bool,
}

impl KeepAliveHeader {
    /// What the response to a request of this version with these headers may say.
    pub fn of(version: Version, request: &HeaderMap) -> Self {
        let closes = request.get_all(CONNECTION).iter().any(|value| {
            let value = value.to_str().unwrap_or_default();
            value.split(',').any(|option| option.trim().eq_ignore_ascii_case("close"))
        });
        KeepAliveHeader { wanted: version == Version::HTTP_11 && !closes }
    }

    /// Adds `Keep-Alive: timeout`, in seconds, to a response that does not end the connection; or
    /// `Connection: close` where the server `is_ending`.
    pub fn add(self, status: StatusCode, headers: &mut HeaderMap, idle: Duration, is_ending: bool) {
        if !self.wanted
            || status == StatusCode::SWITCHING_PROTOCOLS
            || headers.contains_key(CONNECTION)
        {
            return;
        }
        if is_ending {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        } else if let Ok(timeout) = HeaderValue::try_from(format!("timeout={}", idle.as_secs())) {
            headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
            headers.insert(KEEP_ALIVE, timeout);
        }
    }
}

#[cfg(test)]
mod tests;
