//! What arrives on the subscribing connection, and where it goes. Runs where the socket is read,
//! so nothing here waits: what takes time becomes a task, of which there are only so many.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use memchr::memmem;
use redis::Value;

use super::answering;
use super::bridge::CompiledBridge;
use super::channels::Channels;
use super::classic::{self, Decoded};
use super::link::Inner;
use super::peers::Message;
use super::requests::{self, Ask};
use crate::message::Publication;
use crate::telemetry::metrics::Direction;

/// The channels that every pod subscribes, and what they carry.
#[derive(Debug)]
pub(crate) struct Routes {
    routes: HashMap<Vec<u8>, Route>,
}

#[derive(Clone, Debug)]
enum Route {
    Broadcasts,
    Requests(Arc<str>),
    Responses,
    Pods,
    /// Positions in the bridge.
    Bridge(Vec<usize>),
}

impl Routes {
    /// All of them, for these namespaces and this bridge.
    pub fn new(channels: &Channels, namespaces: &[Arc<str>], bridge: &[CompiledBridge]) -> Self {
        let mut routes = HashMap::new();
        for namespace in namespaces {
            routes.insert(channels.general(namespace), Route::Broadcasts);
            routes.insert(channels.requests(namespace), Route::Requests(namespace.clone()));
            routes.insert(channels.responses(namespace), Route::Responses);
            routes.insert(channels.own_responses(namespace), Route::Responses);
        }
        routes.insert(channels.pods(), Route::Pods);
        routes.insert(channels.own_answers(), Route::Pods);
        for (position, entry) in bridge.iter().enumerate() {
            match routes.entry(entry.channel.clone()).or_insert(Route::Bridge(Vec::new())) {
                Route::Bridge(positions) => positions.push(position),
                _ => tracing::warn!(
                    channel = entry.channel,
                    "a channel of redis.bridge is one of Socket.IO's own; choose another"
                ),
            }
        }
        Routes { routes: routes.into_iter().map(|(k, v)| (k.into_bytes(), v)).collect() }
    }

    /// Their names.
    pub fn channels(&self) -> Vec<&[u8]> {
        self.routes.keys().map(Vec::as_slice).collect()
    }
}

impl Inner {
    /// A message: channel and payload, after the pattern if one matched.
    pub fn receive(self: &Arc<Self>, mut data: Vec<Value>) {
        let received = Instant::now();
        let (Some(Value::BulkString(payload)), Some(Value::BulkString(channel))) =
            (data.pop(), data.pop())
        else {
            return;
        };
        match self.routes.routes.get(&channel) {
            None | Some(Route::Broadcasts) => self.broadcast(&payload, received),
            Some(Route::Requests(namespace)) => self.request(namespace, &payload, received),
            Some(Route::Responses) => self.response(&payload),
            Some(Route::Pods) => self.pod_message(&payload, received),
            Some(Route::Bridge(positions)) => {
                self.metrics.redis_message(Direction::In);
                for position in positions {
                    let entry = &self.bridge[*position];
                    match entry.publication(&payload, self.id(), received) {
                        Ok(publication) => self.deliver(publication),
                        Err(why) => self.dropped("a bridged message", &why),
                    }
                }
            }
        }
    }

    fn broadcast(&self, payload: &[u8], received: Instant) {
        self.metrics.redis_message(Direction::In);
        if classic::sender(payload) == Some(self.pod.as_bytes()) {
            return;
        }
        match classic::decode(payload) {
            Ok(decoded) => self.deliver_decoded(decoded, received),
            Err(why) => self.dropped("a broadcast", &why),
        }
    }

    fn deliver_decoded(&self, decoded: Decoded, received: Instant) {
        let Some(namespace) = self.namespaces.iter().find(|n| ***n == *decoded.namespace) else {
            return;
        };
        let accepted = decoded.origin.map_or(received, |t| self.clock.to_ours(t, received));
        self.deliver(decoded.into_publication(namespace.clone(), || self.id(), accepted));
    }

    fn deliver(&self, publication: Publication) {
        if !self.local.try_deliver(Arc::new(publication)) {
            self.dropped("a publication", &"the queues to the shards are full");
        }
    }

    fn request(self: &Arc<Self>, namespace: &Arc<str>, payload: &[u8], received: Instant) {
        self.metrics.redis_message(Direction::In);
        let request = match requests::decode(payload) {
            Ok(request) => request,
            Err(why) => return self.dropped("a request", &why),
        };
        if request.from_pod {
            return;
        }
        match (request.ask, request.id) {
            (Ask::Broadcast(decoded), id) => {
                self.deliver_decoded(*decoded, received);
                if let Some(id) = id {
                    // No client here will ack: see the module's head.
                    let answer = requests::count_answer(&id, 0);
                    self.send(self.channels.responses(namespace), answer);
                }
            }
            (Ask::ServerSideEmit, Some(id)) => {
                self.send(self.channels.responses(namespace), requests::emit_answer(&id));
            }
            (Ask::ServerSideEmit, None) => {}
            (ask, id) => {
                self.work(answering::node(self.clone(), namespace.clone(), ask, id));
            }
        }
    }

    fn response(&self, payload: &[u8]) {
        self.metrics.redis_message(Direction::In);
        // Everybody's answers come by here: only what may be ours is read.
        if self.node_questions.is_empty() || memmem::find(payload, self.pod.as_bytes()).is_none() {
            return;
        }
        let Ok((id, members)) = requests::fetched(payload) else { return };
        let number = id.strip_prefix(&*self.pod).and_then(|n| n.strip_prefix('-')?.parse().ok());
        if let Some(number) = number {
            self.node_questions.answer(number, members);
        }
    }

    fn pod_message(self: &Arc<Self>, payload: &[u8], received: Instant) {
        let message = match Message::decode(payload) {
            Ok(message) => message,
            Err(why) => return self.dropped("a message between pods", &why),
        };
        match message {
            Message::Hello { pod, greet, state } => {
                if *pod != *self.pod && (self.peers.heard(&pod, state, received) | greet) {
                    self.hello_to(&pod);
                }
            }
            Message::Bye { pod } => self.peers.gone(&pod),
            Message::Question { pod, id, namespace, ask } => {
                self.metrics.redis_message(Direction::In);
                if *pod != *self.pod {
                    self.work(answering::pod(self.clone(), pod, id, namespace, ask));
                }
            }
            Message::Answer { pod, id, answer } => {
                self.metrics.redis_message(Direction::In);
                self.questions.answer(id, (pod, answer));
            }
        }
    }

    /// Answers a request in a task of its own, unless too many are at work.
    fn work(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        match self.busy.clone().try_acquire_owned() {
            Ok(permit) => {
                let inner = self.clone();
                self.tracker.spawn(async move {
                    let _permit = permit;
                    tokio::select! {
                        () = inner.shutdown.cancelled() => {}
                        _ = tokio::time::timeout(answering::DEADLINE, task) => {}
                    }
                });
            }
            Err(_) => self.dropped("a request", &"too many are being answered"),
        }
    }
}
