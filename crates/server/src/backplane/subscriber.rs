//! The task that listens: it keeps the subscribing connection and what is subscribed on it.
//! Messages do not pass through it; the connection hands them to `inbound` as it reads them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt, poll};
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, RedisError, RedisResult};
use tokio_util::sync::CancellationToken;

use super::connect::{Backoff, HEARTBEAT, HEARTBEAT_ANSWER, connect};
use super::link::{Half, Inner};
use super::subscriptions::Ticket;
use rookery_ops::throttle::{Throttle, limited};

/// Channels in one SUBSCRIBE.
const CHUNK: usize = 500;

/// Keeps the subscribing connection until shutdown.
pub(crate) async fn run(inner: Arc<Inner>) {
    let (mut backoff, mut links) = (Backoff::default(), 0_u64);
    let throttle = || Throttle::new(&inner.metrics.log_lines_suppressed);
    let (away, refused) = (throttle(), Arc::new(throttle()));
    while !inner.shutdown.is_cancelled() {
        let opened = tokio::select! {
            () = inner.shutdown.cancelled() => return,
            opened = Session::open(inner.clone(), refused.clone()) => opened,
        };
        match opened {
            Ok(mut session) => {
                inner.metrics.redis_reconnects.inc_by(u64::from(links > 0));
                links += 1;
                let since = Instant::now();
                let why = session.run().await;
                backoff.lasted(since.elapsed());
                inner.set(Half::Subscriber, false);
                inner.subscriptions.disconnected();
                if !inner.shutdown.is_cancelled() {
                    tracing::warn!(reason = why, "lost the link to Redis that listens");
                }
            }
            Err(error) => {
                limited!(away, warn, %error, "cannot connect to Redis to listen");
            }
        }
        tokio::select! {
            () = inner.shutdown.cancelled() => {}
            () = tokio::time::sleep(backoff.next()) => {}
        }
    }
}

struct Session {
    inner: Arc<Inner>,
    connection: MultiplexedConnection,
    lost: CancellationToken,
    /// Messages that came; a sign of life as good as an answer.
    heard: Arc<AtomicU64>,
    flights: FuturesUnordered<BoxFuture<'static, Landed>>,
    /// Rooms of the last link that are not confirmed yet.
    resubscribing: usize,
    /// Of the lines about rooms that Redis refuses; it outlives the link.
    refused: Arc<Throttle>,
}

/// A SUBSCRIBE or UNSUBSCRIBE that was answered.
struct Landed {
    tickets: Vec<Ticket>,
    first: bool,
    result: RedisResult<()>,
}

impl Session {
    /// Connects, and subscribes what every pod hears.
    async fn open(inner: Arc<Inner>, refused: Arc<Throttle>) -> RedisResult<Session> {
        let (lost, heard) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let push = {
            let (inner, lost, heard) = (inner.clone(), lost.clone(), heard.clone());
            move |info: PushInfo| -> Result<(), redis::aio::SendError> {
                match info.kind {
                    PushKind::Disconnection => lost.cancel(),
                    PushKind::Message | PushKind::PMessage => {
                        heard.fetch_add(1, Ordering::Relaxed);
                        inner.receive(info.data);
                    }
                    _ => {}
                }
                Ok(())
            }
        };
        // No limit on answers: a confirmation may stand behind many messages.
        let mut connection = connect(&inner.client, None, push).await?;
        let opened = async {
            // All in one command: others count our subscriptions of two channels at once.
            connection.subscribe(inner.routes.channels()).await?;
            let patterns: Vec<String> =
                inner.namespaces.iter().map(|n| inner.channels.members_pattern(n)).collect();
            connection.psubscribe(patterns).await
        };
        tokio::time::timeout(HEARTBEAT_ANSWER, opened).await.unwrap_or_else(|_| {
            let error = std::io::Error::new(std::io::ErrorKind::TimedOut, "SUBSCRIBE not answered");
            Err(RedisError::from(error))
        })?;
        let flights = FuturesUnordered::new();
        Ok(Session { inner, connection, lost, heard, flights, resubscribing: 0, refused })
    }

    /// Keeps the subscriptions as they have to be until the link is lost; gives why.
    async fn run(&mut self) -> String {
        let inner = self.inner.clone();
        let heartbeat = heartbeat(self.connection.clone(), self.heard.clone());
        tokio::pin!(heartbeat);
        let again = inner.subscriptions.connected(Instant::now());
        if let Err(why) = self.subscribe(again, true).await {
            return why;
        }
        let mut up = false;
        loop {
            if !up && self.resubscribing == 0 {
                up = true;
                inner.set(Half::Subscriber, true);
                tracing::debug!("the link to Redis that listens is up, with all subscriptions");
            }
            let due = inner.subscriptions.next_due();
            let sent = tokio::select! {
                biased;
                () = inner.shutdown.cancelled() => Err("shutdown".to_owned()),
                () = self.lost.cancelled() => Err("the connection was closed".to_owned()),
                why = &mut heartbeat => Err(why),
                Some(landed) = self.flights.next(), if !self.flights.is_empty() => {
                    self.landed(landed).await
                }
                () = inner.subscriptions.changed() => self.send_changes().await,
                () = until(due) => self.send_changes().await,
            };
            if let Err(why) = sent {
                return why;
            }
        }
    }

    async fn send_changes(&mut self) -> Result<(), String> {
        let changes = self.inner.subscriptions.changes(Instant::now());
        for chunk in changes.unsubscribe.chunks(CHUNK) {
            let names: Vec<String> = chunk.iter().map(|name| name.to_string()).collect();
            let mut connection = self.connection.clone();
            let flight = async move {
                let result = connection.unsubscribe(names).await;
                Landed { tickets: Vec::new(), first: false, result }
            };
            self.launch(flight.boxed()).await?;
        }
        self.subscribe(changes.subscribe, false).await
    }

    async fn subscribe(&mut self, tickets: Vec<Ticket>, first: bool) -> Result<(), String> {
        for chunk in tickets.chunks(CHUNK) {
            self.subscribe_chunk(chunk.to_vec(), first).await?;
        }
        Ok(())
    }

    async fn subscribe_chunk(&mut self, tickets: Vec<Ticket>, first: bool) -> Result<(), String> {
        self.resubscribing += usize::from(first);
        let names: Vec<String> = tickets.iter().map(|(name, _)| name.to_string()).collect();
        let mut connection = self.connection.clone();
        let flight = async move {
            let result = connection.subscribe(names).await;
            Landed { tickets, first, result }
        };
        self.launch(flight.boxed()).await
    }

    /// The first poll puts the command in the connection's queue, so commands stay in order.
    async fn launch(&mut self, mut flight: BoxFuture<'static, Landed>) -> Result<(), String> {
        if let std::task::Poll::Ready(landed) = poll!(&mut flight) {
            return landed.result.map_err(|error| error.to_string());
        }
        self.flights.push(flight);
        Ok(())
    }

    async fn landed(&mut self, landed: Landed) -> Result<(), String> {
        let Landed { tickets, first, result } = landed;
        self.resubscribing -= usize::from(first);
        match result {
            Err(error) if error.kind() != redis::ErrorKind::Io && !self.lost.is_cancelled() => {
                if let [(channel, _)] = tickets.as_slice() {
                    limited!(self.refused, warn, %channel, %error, "Redis refused a SUBSCRIBE");
                } else {
                    // One that is refused takes the others of its command along.
                    for ticket in tickets {
                        Box::pin(self.subscribe_chunk(vec![ticket], first)).await?;
                    }
                    return Ok(());
                }
            }
            Err(error) => return Err(error.to_string()),
            Ok(()) => {}
        }
        self.inner.subscriptions.confirmed(&tickets);
        Ok(())
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// Resolves, with the reason, when the link gives no sign of life.
async fn heartbeat(mut connection: MultiplexedConnection, heard: Arc<AtomicU64>) -> String {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let before = heard.load(Ordering::Relaxed);
        let ping = redis::cmd("PING");
        let pong = ping.query_async::<()>(&mut connection);
        match tokio::time::timeout(HEARTBEAT_ANSWER, pong).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) if heard.load(Ordering::Relaxed) != before => {}
            Err(_) => return format!("no answer for {HEARTBEAT_ANSWER:?}"),
        }
    }
}
