//! One subscribing connection, from its first SUBSCRIBE to its loss.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt, poll};
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, RedisError, RedisResult};
use rookery_ops::throttle::limited;
use tokio_util::sync::CancellationToken;

use super::Subscriber;
use super::commands::{self, is_forbidden};
use super::output_buffer::OutputBuffer;
use crate::backplane::connect::{HEARTBEAT, HEARTBEAT_ANSWER, Server, check_primary};
use crate::backplane::link_status::{LinkConnection, NOT_HEARD};
use crate::backplane::wire::node::NodeWire;
use crate::rooms::interest::Ticket;

/// Channels in one SUBSCRIBE.
const CHUNK: usize = 500;

/// A subscribing connection.
pub(super) struct Session<'a> {
    subscriber: &'a Subscriber,
    connection: MultiplexedConnection,
    server: Server,
    lost: CancellationToken,
    /// Messages that came; a sign of life as good as an answer.
    heard: Arc<AtomicU64>,
    under_way: FuturesUnordered<BoxFuture<'static, Answered>>,
    /// SUBSCRIBEs of rooms of the last connection that are not answered yet.
    resubscribing: usize,
}

/// A SUBSCRIBE or UNSUBSCRIBE that was answered.
struct Answered {
    tickets: Vec<Ticket>,
    /// The channels that are not subscribed any more.
    unsubscribed: Vec<String>,
    resubscribes: bool,
    result: RedisResult<()>,
}

impl<'a> Session<'a> {
    /// Connects, and subscribes what every pod hears. `was_closed`: what the last connection's
    /// [`Session::was_closed`] said.
    pub async fn open(subscriber: &'a Subscriber, was_closed: bool) -> RedisResult<Session<'a>> {
        let (lost, heard) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let push = {
            let (decoder, lost, heard) = (subscriber.decoder.clone(), lost.clone(), heard.clone());
            move |info: PushInfo| -> Result<(), redis::aio::SendError> {
                match info.kind {
                    PushKind::Disconnection => lost.cancel(),
                    PushKind::Message | PushKind::SMessage => {
                        heard.fetch_add(1, Ordering::Relaxed);
                        decoder.receive(info.data);
                    }
                    PushKind::PMessage => {
                        heard.fetch_add(1, Ordering::Relaxed);
                        decoder.receive_matched(info.data);
                    }
                    _ => {}
                }
                Ok(())
            }
        };
        // No limit on answers: a confirmation may stand behind many messages.
        let (mut connection, server) = subscriber.connector.connect(None, push).await?;
        let opened = async {
            check_primary(&mut connection).await?;
            let disconnections = OutputBuffer::ask(&mut connection).await;
            subscriber.output_buffer.opened(disconnections, was_closed, &subscriber.metrics);
            subscribe_every_pods(subscriber, &mut connection).await
        };
        tokio::time::timeout(HEARTBEAT_ANSWER, opened).await.unwrap_or_else(|_| {
            let error = std::io::Error::new(std::io::ErrorKind::TimedOut, "SUBSCRIBE not answered");
            Err(RedisError::from(error))
        })?;
        let under_way = FuturesUnordered::new();
        Ok(Session { subscriber, connection, server, lost, heard, under_way, resubscribing: 0 })
    }

    /// Whether the other side closed the connection.
    pub fn was_closed(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Keeps the subscriptions as they have to be until the connection is lost; gives why.
    pub async fn run(&mut self, shutdown: &CancellationToken) -> String {
        let Subscriber { interests, status, connector, .. } = self.subscriber;
        let output_buffer = self.subscriber.output_buffer.clone();
        let heartbeat = heartbeat(self.connection.clone(), self.heard.clone(), output_buffer);
        let own_heartbeats_stop = status.own_heartbeats_stop();
        let server = self.server.clone();
        let moved = connector.moved(&server);
        tokio::pin!(heartbeat, own_heartbeats_stop, moved);
        let again = interests.connected(Instant::now());
        if let Err(why) = self.subscribe(again, true).await {
            return why;
        }
        let mut up = false;
        loop {
            if !up && self.resubscribing == 0 {
                up = true;
                status.set(LinkConnection::Subscriber, true);
                tracing::debug!("the connection to Redis that subscribes is up");
            }
            let due = interests.next_due();
            let sent = tokio::select! {
                biased;
                () = shutdown.cancelled() => Err("shutdown".to_owned()),
                () = self.lost.cancelled() => Err("the connection was closed".to_owned()),
                why = &mut heartbeat => Err(why),
                why = &mut moved => Err(why),
                () = &mut own_heartbeats_stop => Err(NOT_HEARD.to_owned()),
                Some(answered) = self.under_way.next(), if !self.under_way.is_empty() => {
                    self.answered(answered).await
                }
                () = interests.changed() => self.send_changes().await,
                () = until(due) => self.send_changes().await,
            };
            if let Err(why) = sent {
                return why;
            }
        }
    }

    async fn send_changes(&mut self) -> Result<(), String> {
        let changes = self.subscriber.interests.changes(Instant::now());
        for chunk in changes.unsubscribe.chunks(CHUNK) {
            let Subscriber { channels, decoder, .. } = self.subscriber;
            let mut names: Vec<String> = chunk.iter().map(|topic| channels.topic(topic)).collect();
            // A room may be named so that its channel is that of this pod's answers.
            names.retain(|name| !decoder.always_subscribes(name));
            if names.is_empty() {
                continue;
            }
            let (mut connection, wire) = (self.connection.clone(), channels.wire());
            let sent = async move {
                let result = commands::unsubscribe(wire, &mut connection, &names).await;
                let (tickets, unsubscribed) = (Vec::new(), names);
                Answered { tickets, unsubscribed, resubscribes: false, result }
            };
            self.send(sent.boxed()).await?;
        }
        self.subscribe(changes.subscribe, false).await
    }

    async fn subscribe(&mut self, tickets: Vec<Ticket>, resubscribes: bool) -> Result<(), String> {
        for chunk in tickets.chunks(CHUNK) {
            self.subscribe_chunk(chunk.to_vec(), resubscribes).await?;
        }
        Ok(())
    }

    async fn subscribe_chunk(
        &mut self,
        tickets: Vec<Ticket>,
        resubscribes: bool,
    ) -> Result<(), String> {
        self.resubscribing += usize::from(resubscribes);
        let channels = &self.subscriber.channels;
        let names: Vec<String> = tickets.iter().map(|(topic, _)| channels.topic(topic)).collect();
        let (mut connection, wire) = (self.connection.clone(), channels.wire());
        let sent = async move {
            let result = commands::subscribe(wire, &mut connection, &names).await;
            Answered { tickets, unsubscribed: Vec::new(), resubscribes, result }
        };
        self.send(sent.boxed()).await
    }

    /// The first poll puts the command in the connection's queue, so commands stay in order.
    async fn send(&mut self, mut sent: BoxFuture<'static, Answered>) -> Result<(), String> {
        match poll!(&mut sent) {
            std::task::Poll::Ready(answered) => Box::pin(self.answered(answered)).await,
            std::task::Poll::Pending => {
                self.under_way.push(sent);
                Ok(())
            }
        }
    }

    async fn answered(&mut self, answered: Answered) -> Result<(), String> {
        let Answered { tickets, unsubscribed, resubscribes, result } = answered;
        self.resubscribing -= usize::from(resubscribes);
        match result {
            Err(error) if error.kind() != redis::ErrorKind::Io && !self.lost.is_cancelled() => {
                let refused = &self.subscriber.refused;
                if let Some(channel) = unsubscribed.first() {
                    limited!(refused, warn, %channel, %error, "Redis refused an UNSUBSCRIBE");
                } else if let [(topic, _)] = tickets.as_slice() {
                    let channel = self.subscriber.channels.topic(topic);
                    limited!(refused, warn, %channel, %error, "Redis refused a SUBSCRIBE");
                } else {
                    // One that is refused takes the others of its command along.
                    for ticket in tickets {
                        Box::pin(self.subscribe_chunk(vec![ticket], resubscribes)).await?;
                    }
                    return Ok(());
                }
            }
            Err(error) => return Err(error.to_string()),
            Ok(()) => {}
        }
        self.subscriber.decoder.unsubscribed(&unsubscribed);
        self.subscriber.interests.confirmed(&tickets);
        Ok(())
    }
}

/// Subscribes what every pod hears, whatever rooms have members.
async fn subscribe_every_pods(
    subscriber: &Subscriber,
    connection: &mut MultiplexedConnection,
) -> RedisResult<()> {
    let (of_wire, of_bridge) = subscriber.decoder.channels();
    match subscriber.channels.wire() {
        NodeWire::Classic => {
            // All in one command: others count our subscriptions of two channels at once.
            let all = [of_wire, of_bridge].concat();
            subscribe_fixed(NodeWire::Classic, connection, &all).await?;
            subscribe_emitters(subscriber, connection).await?;
            subscribe_members(subscriber, connection).await
        }
        wire @ NodeWire::Sharded(_) => {
            subscribe_fixed(wire, connection, &of_wire).await?;
            // Whoever uses the bridge publishes by PUBLISH.
            if of_bridge.is_empty() {
                return Ok(());
            }
            subscribe_fixed(NodeWire::Classic, connection, &of_bridge).await
        }
    }
}

/// Subscribes channels that every pod hears. An error names the first that Redis does not permit.
async fn subscribe_fixed(
    wire: NodeWire,
    connection: &mut MultiplexedConnection,
    channels: &[&[u8]],
) -> RedisResult<()> {
    let Err(error) = commands::subscribe(wire, connection, channels).await else { return Ok(()) };
    if error.kind() == redis::ErrorKind::Io {
        return Err(error);
    }
    for channel in channels {
        if let Err(error) = commands::subscribe(wire, connection, &[channel]).await {
            return Err(commands::explain(wire, error, channel));
        }
    }
    Err(error)
}

/// Subscribes the channels of emitters that do not publish as Node does, where Redis permits it.
async fn subscribe_emitters(
    subscriber: &Subscriber,
    connection: &mut MultiplexedConnection,
) -> RedisResult<()> {
    for channel in subscriber.decoder.emitter_channels() {
        match connection.subscribe(&channel).await {
            Err(error) if is_forbidden(&error) => {
                tracing::debug!(channel, "Redis does not permit the channel of other emitters");
            }
            result => result?,
        }
    }
    Ok(())
}

/// Subscribes the narrowest patterns that Redis permits.
async fn subscribe_members(
    subscriber: &Subscriber,
    connection: &mut MultiplexedConnection,
) -> RedisResult<()> {
    let [own, broadcasts, everything] = subscriber.decoder.patterns();
    let mut refused = own.join(", ");
    for patterns in [own, broadcasts, everything] {
        match connection.psubscribe(patterns).await {
            Err(error) if is_forbidden(&error) => refused = patterns.join(", "),
            Ok(()) if patterns != own => {
                let hears = patterns.join(", ");
                limited!(
                    subscriber.forbidden_patterns,
                    info,
                    channel = hears,
                    "Redis does not permit the patterns of this instance's members alone: it reads wider ones"
                );
                return Ok(());
            }
            result => return result,
        }
    }
    let kind = redis::ErrorKind::Server(redis::ServerErrorKind::NoPerm);
    Err((kind, "Redis does not permit PSUBSCRIBE", refused).into())
}

pub(super) async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// Resolves, with the reason, when the connection gives no sign of life.
pub(super) async fn heartbeat(
    mut connection: MultiplexedConnection,
    heard: Arc<AtomicU64>,
    output_buffer: Arc<OutputBuffer>,
) -> String {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let before = heard.load(Ordering::Relaxed);
        let answer = async {
            check_primary(&mut connection).await?;
            output_buffer.renew(&mut connection).await;
            RedisResult::Ok(())
        };
        match tokio::time::timeout(HEARTBEAT_ANSWER, answer).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) if heard.load(Ordering::Relaxed) != before => {}
            Err(_) => return format!("no answer for {HEARTBEAT_ANSWER:?}"),
        }
    }
}
