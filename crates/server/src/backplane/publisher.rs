//! The [`Publisher`]: the task that sends. It takes what is queued, as much as there is, as one
//! pipeline, without waiting for the answer to the last one.

mod link;
pub(super) mod nodes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, poll, stream::FuturesUnordered};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value};
use rookery_ops::throttle::{Throttle, limited};
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::connect::{Connector, ReconnectDelays, says_replica};
use super::link_status::{LinkConnection, LinkStatus, NOT_HEARD};
use super::outgoing::{MessageKind, Outgoing, OutgoingMessage, OutgoingReceiver};
use super::sequence::Numbering;
use super::wire::channels::Channels;
use super::wire::pod_messages::Message;
use super::{Commands, Parts};
use crate::message::PodId;
use crate::telemetry::metrics::{Direction, Metrics};
use link::{Link, heartbeat, open};
use nodes::NodePublisherStatus;

/// Pipelines that may be on their way at once.
const MAX_PIPELINES: usize = 8;

/// Messages in one pipeline, so that one write stays short.
const MAX_BATCH: usize = 512;

/// Bytes in one pipeline, roughly.
const MAX_BATCH_BYTES: usize = 256 << 10;

/// How long an answer to a command may take.
const ANSWER: Duration = Duration::from_secs(5);

/// How long the last messages may take when the process stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// Keeps the sending connection, and sends what is queued.
pub(super) struct Publisher {
    pod: PodId,
    channels: Channels,
    connector: Connector,
    outgoing: Arc<Outgoing>,
    queue: OutgoingReceiver,
    status: PublisherStatus,
    /// `None` with a Cluster, whose nodes have clocks of their own: one of them is asked elsewhere.
    clock: Option<Arc<Clock>>,
    commands: Arc<Commands>,
    metrics: Arc<Metrics>,
    /// Shared by all publishers of this pod, as a channel may move from one to another.
    numbering: Arc<Mutex<Numbering>>,
    under_way: FuturesUnordered<BoxFuture<'static, Answered>>,
    /// Publications in `under_way`.
    unanswered: u64,
    refused: Throttle,
}

/// Who learns whether a publisher is connected.
#[derive(Clone)]
enum PublisherStatus {
    /// The only publisher's.
    Only(Arc<LinkStatus>),
    /// That of one of a Cluster's primaries.
    Node(NodePublisherStatus),
}

impl PublisherStatus {
    fn set(&self, is_up: bool) {
        match self {
            PublisherStatus::Only(status) => status.set(LinkConnection::Commands, is_up),
            PublisherStatus::Node(status) => status.set(is_up),
        }
    }

    fn set_replica(&self, is_replica: bool) {
        // A primary of a Cluster that became a replica is left for its successor.
        if let PublisherStatus::Only(status) = self {
            status.set_replica(is_replica);
        }
    }

    /// See [`LinkStatus::own_heartbeats_stop`]. The heartbeats go to one primary of a Cluster alone.
    async fn own_heartbeats_stop(&self) {
        match self {
            PublisherStatus::Only(status) => status.own_heartbeats_stop().await,
            PublisherStatus::Node(_) => std::future::pending().await,
        }
    }
}

/// A pipeline that was answered.
struct Answered {
    answers: Result<Vec<Value>, RedisError>,
    /// What was sent: kind and channel of each message.
    sent: Vec<(MessageKind, String)>,
}

impl Publisher {
    /// Sends what is put into `outgoing`, whose end is `queue`, by connections of the connector.
    pub fn new(parts: &Parts, outgoing: Arc<Outgoing>, queue: OutgoingReceiver) -> Self {
        let connector = parts.connector.clone();
        Publisher {
            pod: parts.pod.clone(),
            channels: parts.channels.clone(),
            clock: connector.cluster().is_none().then(|| parts.clock.clone()),
            connector,
            outgoing,
            queue,
            status: PublisherStatus::Only(parts.status.clone()),
            commands: parts.commands.clone(),
            metrics: parts.metrics.clone(),
            numbering: Arc::default(),
            under_way: FuturesUnordered::new(),
            unanswered: 0,
            refused: Throttle::new(&parts.metrics.log_lines_suppressed),
        }
    }

    /// Keeps the connection until `shutdown`; then sends what still waits, for a second.
    pub async fn run(mut self, shutdown: CancellationToken) {
        self.keep_connected(&shutdown).await;
        // Whoever found the queue open a moment ago may have put something into it since.
        self.queue.close();
        while let Some(message) = self.queue.recv().await {
            self.never_sent(&message);
        }
    }

    async fn keep_connected(&mut self, shutdown: &CancellationToken) {
        let (mut delays, mut links) = (ReconnectDelays::default(), 0_u64);
        let (connector, clock) = (self.connector.clone(), self.clock.clone());
        while !shutdown.is_cancelled() {
            let opened = tokio::select! {
                () = shutdown.cancelled() => return,
                opened = open(&connector, clock.as_deref()) => opened,
            };
            self.status.set_replica(opened.as_ref().is_err_and(says_replica));
            match opened {
                Ok(link) => {
                    self.metrics.redis_reconnects.inc_by(u64::from(links > 0));
                    links += 1;
                    let since = Instant::now();
                    let why = self.serve(link, shutdown).await;
                    delays.lasted(since.elapsed());
                    self.disconnected(&why, shutdown);
                }
                Err(error) => {
                    let hint = connector.advice(&error);
                    limited!(self.refused, warn, %error, hint, "cannot connect to Redis to publish");
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = connector.pause(delays.next_delay()) => {}
            }
        }
    }

    /// Sends until the connection is lost; gives why.
    async fn serve(
        &mut self,
        Link { connection, server, lost }: Link,
        shutdown: &CancellationToken,
    ) -> String {
        self.outgoing.open();
        *self.commands.lock() = Some(connection.clone());
        self.status.set(true);
        tracing::debug!("the connection to Redis that publishes is up");
        let heartbeat = heartbeat(self.clock.clone(), connection.clone());
        let (status, connector) = (self.status.clone(), self.connector.clone());
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {
                self.farewell(connection).await;
                "shutdown".to_owned()
            }
            () = lost.cancelled() => "the connection was closed".to_owned(),
            why = heartbeat => why,
            why = connector.moved(&server) => why,
            () = status.own_heartbeats_stop() => NOT_HEARD.to_owned(),
            why = self.send_queued(&connection) => why,
        }
    }

    /// The connection is lost: what was on its way or waited is never sent.
    fn disconnected(&mut self, why: &str, shutdown: &CancellationToken) {
        self.status.set(false);
        self.outgoing.close();
        *self.commands.lock() = None;
        self.under_way = FuturesUnordered::new();
        let mut unsent = std::mem::take(&mut self.unanswered);
        self.metrics.redis_unsent.inc_by(unsent);
        while let Some(message) = self.queue.try_recv() {
            unsent += self.never_sent(&message);
        }
        if !shutdown.is_cancelled() {
            tracing::warn!(unsent, reason = why, "lost the connection to Redis that publishes");
        }
    }

    /// A message was taken out of the queue in vain; gives how many publications that is.
    fn never_sent(&self, message: &OutgoingMessage) -> u64 {
        self.outgoing.taken(message);
        let publications = u64::from(message.kind == MessageKind::Publication);
        self.metrics.redis_unsent.inc_by(publications);
        publications
    }

    async fn send_queued(&mut self, connection: &MultiplexedConnection) -> String {
        loop {
            tokio::select! {
                biased;
                Some(answered) = self.under_way.next(), if !self.under_way.is_empty() => {
                    if let Err(why) = self.answered(answered) {
                        return why;
                    }
                }
                first = self.queue.recv(), if self.under_way.len() < MAX_PIPELINES => {
                    let Some(first) = first else { return "the queue was dropped".to_owned() };
                    if let Err(why) = self.send(connection, first).await {
                        return why;
                    }
                }
            }
        }
    }

    /// Sends `first` and what else waits as one pipeline. Its first poll puts it in the
    /// connection's queue, so pipelines stay in order.
    async fn send(
        &mut self,
        connection: &MultiplexedConnection,
        first: OutgoingMessage,
    ) -> Result<(), String> {
        let (mut pipeline, mut batch, mut bytes) = (redis::pipe(), Vec::new(), 0);
        let (mut next, command) = (Some(first), self.channels.wire().publish_command());
        while let Some(mut message) = next.take() {
            if self.outgoing.taken(&message) {
                bytes += message.size();
                if message.kind == MessageKind::Publication {
                    let number = self.numbering.lock().next(&message.channel);
                    number.replace_last(&mut message.payload);
                }
                pipeline.cmd(command).arg(&message.channel).arg(message.payload);
                batch.push((message.kind, message.channel));
            } else if message.kind == MessageKind::Publication {
                self.metrics.redis_unsent.inc();
            }
            if batch.len() < MAX_BATCH && bytes < MAX_BATCH_BYTES {
                next = self.queue.try_recv();
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.unanswered += publications(&batch);
        let mut connection = connection.clone();
        let mut sent = async move {
            let answers = connection.send_packed_commands(&pipeline, 0, batch.len()).await;
            Answered { answers, sent: batch }
        }
        .boxed();
        match poll!(&mut sent) {
            std::task::Poll::Ready(answered) => self.answered(answered),
            std::task::Poll::Pending => {
                self.under_way.push(sent);
                Ok(())
            }
        }
    }

    async fn send_rest(&mut self, connection: &MultiplexedConnection) -> Result<(), String> {
        while let Some(first) = self.queue.try_recv() {
            self.send(connection, first).await?;
        }
        Ok(())
    }

    fn answered(&mut self, Answered { answers, sent }: Answered) -> Result<(), String> {
        let answers = answers.map_err(|error| error.to_string())?;
        self.unanswered -= publications(&sent);
        for ((kind, channel), answer) in sent.into_iter().zip(answers) {
            let mut is_refused = matches!(answer, Value::ServerError(_));
            match answer {
                Value::ServerError(error) => {
                    if kind == MessageKind::Publication {
                        self.metrics.redis_unsent.inc();
                    }
                    let error = RedisError::from(error);
                    // The next one goes to the owner that it names.
                    is_refused = !self.connector.is_moved(&error);
                    limited!(self.refused, warn, %channel, %error, "Redis refused a PUBLISH");
                }
                _ if kind == MessageKind::Heartbeat => {}
                _ => self.metrics.redis_message(Direction::Out),
            }
            self.outgoing.answered(channel, is_refused);
        }
        Ok(())
    }

    /// Sends what still waits, and a goodbye to the other pods.
    async fn farewell(&mut self, connection: MultiplexedConnection) {
        let all = async {
            if self.send_rest(&connection).await.is_err() {
                return;
            }
            if self.connector.leads_to(&self.channels.pods()) {
                let bye = Message::Bye { pod: self.pod.to_string() };
                self.outgoing.push(self.channels.pods(), bye.encode(), MessageKind::Heartbeat);
            }
            if self.send_rest(&connection).await.is_err() {
                return;
            }
            while let Some(answered) = self.under_way.next().await {
                if self.answered(answered).is_err() {
                    return;
                }
            }
        };
        // What is left over when the time is up is counted as unsent.
        let _ = tokio::time::timeout(FAREWELL, all).await;
    }
}

fn publications(sent: &[(MessageKind, String)]) -> u64 {
    sent.iter().filter(|(kind, _)| *kind == MessageKind::Publication).count() as u64
}

#[cfg(test)]
mod tests;
