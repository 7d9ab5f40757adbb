//! The task that sends: it takes what is queued, as much as there is, as one pipeline, without
//! waiting for the answer to the last one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt, poll};
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, RedisError, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::connect::{Backoff, HEARTBEAT, HEARTBEAT_ANSWER, connect};
use super::link::{Half, Inner};
use super::peers::Message;
use super::queue::{Kind, Outgoing};
use crate::telemetry::metrics::Direction;
use rookery_ops::throttle::{Throttle, limited};

/// Pipelines that may be on their way at once.
const MAX_FLIGHTS: usize = 8;

/// Messages in one pipeline, so that one write stays short.
const MAX_BATCH: usize = 512;

/// Bytes in one pipeline, roughly.
const MAX_BATCH_BYTES: usize = 256 << 10;

/// How long an answer to a command may take.
const ANSWER: Duration = Duration::from_secs(5);

/// How long the last messages may take when the process stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// Round trips that the first estimate of Redis' clock is made of.
const FIRST_SAMPLES: usize = 5;

/// Keeps the sending connection until shutdown.
pub(crate) async fn run(inner: Arc<Inner>, queue: mpsc::Receiver<Outgoing>) {
    let refused = Throttle::new(&inner.metrics.log_lines_suppressed);
    let mut sender = Sender { inner, queue, flights: FuturesUnordered::new(), flying: 0, refused };
    let (mut backoff, mut links) = (Backoff::default(), 0_u64);
    while !sender.inner.shutdown.is_cancelled() {
        let shutdown = sender.inner.shutdown.clone();
        let opened = tokio::select! {
            () = shutdown.cancelled() => return,
            opened = Sender::open(&sender.inner) => opened,
        };
        match opened {
            Ok((connection, lost)) => {
                sender.inner.metrics.redis_reconnects.inc_by(u64::from(links > 0));
                links += 1;
                let since = Instant::now();
                let why = sender.session(connection, lost).await;
                backoff.lasted(since.elapsed());
                sender.ended(&why);
            }
            Err(error) => {
                limited!(sender.refused, warn, %error, "cannot connect to Redis to send");
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(backoff.next()) => {}
        }
    }
}

struct Sender {
    inner: Arc<Inner>,
    queue: mpsc::Receiver<Outgoing>,
    flights: FuturesUnordered<BoxFuture<'static, Landed>>,
    /// Publications in `flights`.
    flying: u64,
    refused: Throttle,
}

/// A pipeline whose answers are there.
struct Landed {
    answers: Result<Vec<Value>, RedisError>,
    kinds: Vec<Kind>,
}

impl Sender {
    /// Connects, and learns Redis' time.
    async fn open(inner: &Inner) -> Result<(MultiplexedConnection, CancellationToken), RedisError> {
        let lost = CancellationToken::new();
        let ended = lost.clone();
        let push = move |info: PushInfo| -> Result<(), redis::aio::SendError> {
            if info.kind == PushKind::Disconnection {
                ended.cancel();
            }
            Ok(())
        };
        let mut connection = connect(&inner.client, Some(ANSWER), push).await?;
        inner.clock.reset();
        for _ in 0..FIRST_SAMPLES {
            ask_time(inner, &mut connection).await?;
        }
        Ok((connection, lost))
    }

    /// Sends until the link is lost; gives why.
    async fn session(
        &mut self,
        connection: MultiplexedConnection,
        lost: CancellationToken,
    ) -> String {
        let inner = self.inner.clone();
        inner.queue.open();
        *inner.commands.lock() = Some(connection.clone());
        inner.set(Half::Commands, true);
        tracing::debug!("the link to Redis that sends is up");
        tokio::select! {
            biased;
            () = inner.shutdown.cancelled() => {
                self.farewell(connection).await;
                "shutdown".to_owned()
            }
            () = lost.cancelled() => "the connection was closed".to_owned(),
            why = heartbeat(&inner, connection.clone()) => why,
            why = self.pump(&connection) => why,
        }
    }

    /// The link is gone: what was on its way or waited is never sent.
    fn ended(&mut self, why: &str) {
        self.inner.set(Half::Commands, false);
        self.inner.queue.close();
        *self.inner.commands.lock() = None;
        self.flights = FuturesUnordered::new();
        let mut unsent = std::mem::take(&mut self.flying);
        while let Ok(outgoing) = self.queue.try_recv() {
            self.inner.queue.taken(&outgoing);
            unsent += u64::from(outgoing.kind == Kind::Publication);
        }
        self.inner.metrics.redis_unsent.inc_by(unsent);
        if !self.inner.shutdown.is_cancelled() {
            tracing::warn!(unsent, reason = why, "lost the link to Redis that sends");
        }
    }

    async fn pump(&mut self, connection: &MultiplexedConnection) -> String {
        loop {
            tokio::select! {
                biased;
                Some(landed) = self.flights.next(), if !self.flights.is_empty() => {
                    if let Err(why) = self.landed(landed) {
                        return why;
                    }
                }
                first = self.queue.recv(), if self.flights.len() < MAX_FLIGHTS => {
                    let Some(first) = first else { return "the queue was dropped".to_owned() };
                    if let Err(why) = self.launch(connection, first).await {
                        return why;
                    }
                }
            }
        }
    }

    /// Sends `first` and what else waits as one pipeline. Its first poll puts it in the
    /// connection's queue, so pipelines stay in order.
    async fn launch(
        &mut self,
        connection: &MultiplexedConnection,
        first: Outgoing,
    ) -> Result<(), String> {
        let (mut pipeline, mut kinds, mut bytes) = (redis::pipe(), Vec::new(), 0);
        let mut next = Some(first);
        while let Some(outgoing) = next.take() {
            if self.inner.queue.taken(&outgoing) {
                bytes += outgoing.size();
                kinds.push(outgoing.kind);
                pipeline.cmd("PUBLISH").arg(outgoing.channel).arg(outgoing.payload);
            } else if outgoing.kind == Kind::Publication {
                self.inner.metrics.redis_unsent.inc();
            }
            if kinds.len() < MAX_BATCH && bytes < MAX_BATCH_BYTES {
                next = self.queue.try_recv().ok();
            }
        }
        if kinds.is_empty() {
            return Ok(());
        }
        self.flying += publications(&kinds);
        let mut connection = connection.clone();
        let mut flight = async move {
            let answers = connection.send_packed_commands(&pipeline, 0, kinds.len()).await;
            Landed { answers, kinds }
        }
        .boxed();
        match poll!(&mut flight) {
            std::task::Poll::Ready(landed) => self.landed(landed),
            std::task::Poll::Pending => {
                self.flights.push(flight);
                Ok(())
            }
        }
    }

    fn landed(&mut self, Landed { answers, kinds }: Landed) -> Result<(), String> {
        let answers = answers.map_err(|error| error.to_string())?;
        self.flying -= publications(&kinds);
        for (kind, answer) in kinds.into_iter().zip(answers) {
            match answer {
                Value::ServerError(error) => {
                    if kind == Kind::Publication {
                        self.inner.metrics.redis_unsent.inc();
                    }
                    limited!(self.refused, warn, %error, "Redis refused a PUBLISH");
                }
                _ if kind == Kind::Heartbeat => {}
                _ => self.inner.metrics.redis_message(Direction::Out),
            }
        }
        Ok(())
    }

    /// Sends what still waits, and a goodbye to the other pods.
    async fn farewell(&mut self, connection: MultiplexedConnection) {
        let bye = Message::Bye { pod: self.inner.pod.to_string() };
        self.inner.queue.push(self.inner.channels.pods(), bye.encode(), Kind::Heartbeat);
        let all = async {
            while let Ok(first) = self.queue.try_recv() {
                if self.launch(&connection, first).await.is_err() {
                    return;
                }
            }
            while let Some(landed) = self.flights.next().await {
                if self.landed(landed).is_err() {
                    return;
                }
            }
        };
        // What is left over when the time is up is counted as unsent.
        let _ = tokio::time::timeout(FAREWELL, all).await;
    }
}

fn publications(kinds: &[Kind]) -> u64 {
    kinds.iter().filter(|kind| **kind == Kind::Publication).count() as u64
}

/// Asks for the time again and again: the proof that the link is alive, and the clock's samples.
async fn heartbeat(inner: &Inner, mut connection: MultiplexedConnection) -> String {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        match tokio::time::timeout(HEARTBEAT_ANSWER, ask_time(inner, &mut connection)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return format!("no answer for {HEARTBEAT_ANSWER:?}"),
        }
    }
}

async fn ask_time(inner: &Inner, connection: &mut MultiplexedConnection) -> redis::RedisResult<()> {
    let sent = Instant::now();
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(connection).await?;
    let time = seconds.saturating_mul(1_000_000).saturating_add(micros);
    inner.clock.sample(time, sent, Instant::now());
    Ok(())
}
