//! The [`Decoder`]: turns what arrives on the subscribing connection into [`Inbound`] messages.
//! Runs where the socket is read, so nothing here waits.

mod floods;
mod members;
pub(super) mod routes;
mod sharded;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use memchr::memmem;
use parking_lot::Mutex;
use redis::Value;
use rookery_ops::throttle::{Throttle, limited};
use rookery_policy::Namespaces;
use tokio::sync::mpsc;

use super::Parts;
use super::bridge::CompiledBridge;
use super::clock::Clock;
use super::heartbeat::Heartbeat;
use super::inbound::Inbound;
use super::link_status::LinkStatus;
use super::outgoing::MessageKind;
use super::outgoing::queues::OutgoingQueues;
use super::query::BROADCAST_ID;
use super::questions::Questions;
use super::sequence::{Continuity, SequenceTracker};
use super::wire::channels::Channels;
use super::wire::classic::{self, Broadcast};
use super::wire::node;
use super::wire::pod_messages::{Answer, Message};
use super::wire::python::{self, Order};
use super::wire::replies::{self, BroadcastAnswer, Reply};
use super::wire::requests::{self, Ask, Request, RequestId};
use super::wire::senders;
use crate::message::{MemberInfo, PodId, Publication};
use crate::rooms::shares::DeliveryShares;
use crate::telemetry::metrics::{Direction, Metrics};
use routes::{Route, Routes};

/// How long acknowledgements are waited for where a sender does not say it.
const DEFAULT_ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time that acknowledgements are waited for.
const MAX_ACK_TIMEOUT: Duration = Duration::from_secs(300);

/// Decodes messages, and hands them to whoever waits for them: publications, requests and
/// questions to a queue, answers to the questions that they answer, heartbeats to the peers.
pub(super) struct Decoder {
    pod: PodId,
    namespaces: Arc<Namespaces>,
    channels: Channels,
    /// Those of [`Channels::patterns`].
    patterns: [Vec<String>; 3],
    bridge: Vec<CompiledBridge>,
    routes: Routes,
    clock: Arc<Clock>,
    heartbeat: Arc<Heartbeat>,
    status: Arc<LinkStatus>,
    questions: Arc<Questions<(String, Answer)>>,
    node_questions: Arc<Questions<Vec<MemberInfo>>>,
    broadcasts: Arc<Questions<BroadcastAnswer>>,
    outgoing: Arc<OutgoingQueues>,
    inbound: mpsc::Sender<Inbound>,
    metrics: Arc<Metrics>,
    /// Locked by the task that reads the connection, and when a room is unsubscribed.
    sequences: Mutex<SequenceTracker>,
    shares: Arc<DeliveryShares>,
    lost: Throttle,
    floods: Throttle,
    dropped: Throttle,
    /// Numbers the publications that came without an id.
    ids: AtomicU64,
}

impl Decoder {
    /// Decodes for this bridge.
    pub fn new(parts: &Parts, bridge: Vec<CompiledBridge>, inbound: mpsc::Sender<Inbound>) -> Self {
        Decoder {
            pod: parts.pod.clone(),
            routes: Routes::new(&parts.channels, &parts.namespaces, &bridge),
            patterns: parts.channels.patterns(&parts.namespaces),
            namespaces: parts.namespaces.clone(),
            channels: parts.channels.clone(),
            bridge,
            clock: parts.clock.clone(),
            heartbeat: parts.heartbeat.clone(),
            status: parts.status.clone(),
            questions: parts.questions.clone(),
            node_questions: parts.node_questions.clone(),
            broadcasts: parts.broadcasts.clone(),
            outgoing: parts.outgoing.clone(),
            inbound,
            sequences: Mutex::default(),
            shares: Arc::default(),
            lost: Throttle::new(&parts.metrics.log_lines_suppressed),
            floods: Throttle::new(&parts.metrics.log_lines_suppressed),
            dropped: Throttle::new(&parts.metrics.log_lines_suppressed),
            metrics: parts.metrics.clone(),
            ids: AtomicU64::new(0),
        }
    }

    /// The channels that every pod subscribes: those of the wire, and those of the bridge.
    pub fn channels(&self) -> (Vec<&[u8]>, Vec<&[u8]>) {
        self.routes.channels()
    }

    /// The channels of emitters that do not publish as Node does. Who uses none of them need not
    /// permit them.
    pub fn emitter_channels(&self) -> [String; 2] {
        [self.channels.old_emitters(), self.channels.python()]
    }

    /// Whether every pod subscribes a channel, whatever rooms have members.
    pub fn always_subscribes(&self, channel: &str) -> bool {
        self.routes.contains(channel.as_bytes())
    }

    /// A message: channel and payload, after the pattern if one matched.
    pub fn receive(&self, mut data: Vec<Value>) {
        let received = Instant::now();
        let (Some(Value::BulkString(payload)), Some(Value::BulkString(channel))) =
            (data.pop(), data.pop())
        else {
            return;
        };
        let route = self.routes.of(&channel);
        if !matches!(*route, Route::Pods) {
            self.metrics.redis_message(Direction::In);
        }
        match &*route {
            Route::Broadcasts => self.broadcast(&channel, &payload, received),
            Route::Requests(namespace) => match requests::decode(&payload) {
                Ok(request) => self.request(namespace, request, &payload, received),
                Err(why) => self.drop("a request", &payload, &why),
            },
            Route::Responses => self.response(&payload),
            Route::Sharded => self.sharded_message(&channel, &payload, received),
            Route::Pods => self.pod_message(&payload, received),
            Route::Python => self.python(&channel, &payload, received),
            Route::Bridge(positions) => {
                for position in positions {
                    let entry = &self.bridge[*position];
                    match entry.publication(&payload, self.next_id(), received) {
                        Ok(publication) => {
                            if let Some(share) = self.share(&channel, None) {
                                self.hand_over(Inbound::Bridge(publication, share));
                            }
                        }
                        Err(why) => self.drop("a bridged message", &payload, &why),
                    }
                }
            }
        }
    }

    /// A room's channel is not subscribed any more.
    pub fn unsubscribed(&self, channels: &[String]) {
        let mut sequences = self.sequences.lock();
        channels.iter().for_each(|channel| sequences.forget(channel.as_bytes()));
    }

    fn broadcast(&self, channel: &[u8], payload: &[u8], received: Instant) {
        if classic::sender(payload) == Some(self.pod.as_bytes()) {
            return;
        }
        match classic::decode(payload) {
            Ok(mut broadcast) => {
                if broadcast.rooms.len() > 1 {
                    let (of, rooms) = (&broadcast.namespace, &broadcast.rooms);
                    if let Some(position) = self.channels.position_of(channel, of, rooms) {
                        broadcast.narrow_to(position);
                    }
                }
                if self.is_new(channel, &broadcast) {
                    self.publish(channel, broadcast, received);
                }
            }
            Err(why) => self.drop("a broadcast", payload, &why),
        }
    }

    fn python(&self, channel: &[u8], payload: &[u8], received: Instant) {
        match python::decode(payload) {
            Ok(Order::Emit(broadcast)) => self.publish(channel, broadcast, received),
            Ok(Order::Members { namespace, ask }) => {
                if let Some(namespace) = self.namespace(&namespace) {
                    self.hand_over(Inbound::NodeRequest { namespace, ask, id: None });
                }
            }
            Ok(Order::Callback) => {}
            Err(why) => self.drop("a message of python-socketio", payload, &why),
        }
    }

    /// Counts what was lost before this broadcast. False: it came before, and is counted.
    fn is_new(&self, channel: &[u8], broadcast: &Broadcast) -> bool {
        let Some(number) = broadcast.sequence else { return true };
        match self.sequences.lock().received(channel, &broadcast.uid, number) {
            Continuity::Continuous => true,
            Continuity::Gap(missing) => {
                self.metrics.redis_gaps.inc_by(missing);
                let channel = String::from_utf8_lossy(channel);
                let pod = &*broadcast.uid;
                limited!(self.lost, warn, pod, %channel, missing, "publications of another instance were lost");
                true
            }
            Continuity::Repeat => {
                self.metrics.redis_repeats.inc();
                false
            }
        }
    }

    /// A broadcast of a server that waits for acknowledgements, where it gives an id for them.
    fn publish_with_acks(&self, broadcast: Broadcast, id: Option<RequestId>, received: Instant) {
        let timeout = broadcast.timeout.unwrap_or(DEFAULT_ACK_TIMEOUT).min(MAX_ACK_TIMEOUT);
        let Some(id) = id else {
            let channel = self.channels.requests(&broadcast.namespace);
            return self.publish(channel.as_bytes(), broadcast, received);
        };
        if let Some(publication) = self.publication(broadcast, received) {
            self.hand_over(Inbound::WithAcks { publication, id, timeout });
        }
    }

    /// The publication that a broadcast is here; `None` in a namespace that is not offered.
    fn publication(&self, broadcast: Broadcast, received: Instant) -> Option<Publication> {
        let namespace = self.namespace(&broadcast.namespace)?;
        let accepted = broadcast.origin.map_or(received, |t| self.clock.to_ours(t, received));
        let id = || self.next_id();
        Some(broadcast.into_publication(namespace, id, accepted))
    }

    /// A namespace as this instance holds it; `None` where it is not offered.
    fn namespace(&self, name: &str) -> Option<Arc<str>> {
        self.namespaces.get(name).map(|namespace| namespace.name().clone())
    }

    fn request(&self, namespace: &Arc<str>, request: Request, payload: &[u8], received: Instant) {
        if request.from_pod {
            return;
        }
        match (request.ask, request.id) {
            (Ask::Broadcast(broadcast), id) => {
                // A pod's own requests come back to it.
                if request.uid.as_deref() == Some(&*self.pod) {
                    return;
                }
                match broadcast {
                    Some(broadcast) => self.publish_with_acks(*broadcast, id, received),
                    None => {
                        self.drop("a broadcast", payload, &"it names no room");
                        self.answer(namespace, id, &Reply::Recipients(0));
                    }
                }
            }
            (Ask::ServerSideEmit, id) => self.answer(namespace, id, &Reply::Emitted),
            (ask, id) => {
                self.hand_over(Inbound::NodeRequest { namespace: namespace.clone(), ask, id });
            }
        }
    }

    /// Answers a request at once, where somebody waits for it.
    fn answer(&self, namespace: &str, id: Option<RequestId>, reply: &Reply<'_>) {
        let Some(id) = id else { return };
        if let Some(answer) = node::answer(&self.pod, namespace, &id, reply) {
            let channel = self.channels.responses(namespace, &id);
            self.outgoing.push(channel, answer, MessageKind::Answer);
        }
    }

    /// An answer to a request, which may be one of this pod.
    fn response(&self, payload: &[u8]) {
        // Everybody's answers come by here: only what may be ours is read.
        if self.waits_for_nobody() || memmem::find(payload, self.pod.as_bytes()).is_none() {
            return;
        }
        if let Some((id, said)) = replies::broadcast_answer(payload) {
            self.acknowledged(&id, said);
        } else if let Ok((id, members)) = replies::fetched(payload) {
            self.fetched(&id, members);
        }
    }

    fn waits_for_nobody(&self) -> bool {
        self.broadcasts.is_empty() && self.node_questions.is_empty()
    }

    /// Another server answers a broadcast, by the id of its request.
    fn acknowledged(&self, id: &str, said: BroadcastAnswer) {
        let number = self.own(id).and_then(|id| id.strip_prefix(BROADCAST_ID)?.parse().ok());
        if let Some(number) = number {
            self.broadcasts.answer(number, said);
        }
    }

    /// A Node server answers a question, by the id of its request.
    fn fetched(&self, id: &str, members: Vec<MemberInfo>) {
        if let Some(number) = self.own(id).and_then(|id| id.parse().ok()) {
            self.node_questions.answer(number, members);
        }
    }

    /// What follows this pod's name in the id of one of its requests.
    fn own<'a>(&self, id: &'a str) -> Option<&'a str> {
        id.strip_prefix(&*self.pod)?.strip_prefix('-')
    }

    fn pod_message(&self, payload: &[u8], received: Instant) {
        let message = match Message::decode(payload) {
            Ok(message) => message,
            Err(why) => return self.drop("a message between pods", payload, &why),
        };
        match message {
            Message::Hello { pod, .. } if *pod == *self.pod => self.status.heard_itself(),
            Message::Hello { pod, greet, state, admins } => {
                self.heartbeat.received(&pod, greet, (state, admins), received);
            }
            Message::Bye { pod } => {
                self.heartbeat.peers().gone(&pod);
                self.hand_over(Inbound::PeerStops { pod });
            }
            Message::Presence { pod, presence } => {
                self.metrics.redis_message(Direction::In);
                if *pod != *self.pod {
                    self.hand_over(Inbound::PeerPresence { pod, presence });
                }
            }
            Message::Question { pod, id, namespace, ask } => {
                self.metrics.redis_message(Direction::In);
                if *pod != *self.pod {
                    self.hand_over(Inbound::PeerQuestion { pod, id, namespace, ask });
                }
            }
            Message::Answer { pod, id, answer } => {
                self.metrics.redis_message(Direction::In);
                self.questions.answer(id, (pod, answer));
            }
        }
    }

    fn hand_over(&self, message: Inbound) {
        if self.inbound.try_send(message).is_err() {
            self.drop("a message", b"", &"too many wait to be handled");
        }
    }

    /// Something arrived that is not handled.
    fn drop(&self, what: &str, payload: &[u8], why: &dyn fmt::Display) {
        self.metrics.redis_dropped.inc();
        let sender = senders::likely(payload);
        limited!(self.dropped, warn, what, sender, reason = %why, "dropped what came from Redis");
    }

    /// An id for a publication that came without one.
    fn next_id(&self) -> Arc<str> {
        format!("{}-{}", self.pod, self.ids.fetch_add(1, Ordering::Relaxed)).into()
    }
}
