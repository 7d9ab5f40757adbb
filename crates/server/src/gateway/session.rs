//! A [`Session`]: one Engine.IO session, whatever carries it, and the clients in its namespaces.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio_util::sync::CancellationToken;

use super::Gateway;
use super::client::Client;
use super::limits::{Bucket, Slot};
use super::lines::About;
use crate::connection::outbox::{Ending, Outbox};
use crate::connection::stream::{EngineHooks, PacketAction};
use crate::message::member_id::random_id;
use crate::rooms::member::Member;
use crate::telemetry::metrics::{Disconnected, Rejected};
use rookery_config::Transport;
use rookery_ops::throttle::limited;
use rookery_protocol::Revision;
use rookery_protocol::encoded::Encoded;
use rookery_protocol::frames::FrameError;
use rookery_protocol::packet::PacketHead;
use rookery_protocol::{Data, packet};

/// Length of a session's id. It is a secret between the client and this instance.
const SID_LENGTH: usize = 24;

/// Namespaces that one session may ask for in a second, and at once.
const CONNECTS: u32 = 50;

/// What a request brought for authentication.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The bearer token of the `Authorization` header.
    pub header: Option<String>,
    /// The value of `auth.queryParam`.
    pub query: Option<String>,
}

/// The namespaces that a session is in.
struct Namespaces {
    /// Most sessions are in one.
    clients: SmallVec<[Arc<Client>; 1]>,
    /// One that was in one, for the line about a session's end.
    last: Option<Arc<Member>>,
    /// Since when it is in none.
    alone: Option<Instant>,
    /// The engine has let go of it: it enters none any more.
    departed: bool,
    connects: Bucket,
}

/// One Engine.IO session.
pub struct Session {
    /// Its id.
    pub sid: Arc<str>,
    /// What is for its client.
    pub outbox: Arc<Outbox>,
    /// The shard that it lives on.
    pub shard: usize,
    /// What its first request brought.
    pub credentials: Option<Box<Credentials>>,
    /// The client's address.
    pub address: IpAddr,
    /// Whether a WebSocket is being tried.
    pub upgrading: AtomicBool,
    gateway: Arc<Gateway>,
    opened: Instant,
    gave_up: AtomicBool,
    namespaces: Mutex<Namespaces>,
    transport: Mutex<Option<Transport>>,
    slot: Mutex<Option<Slot>>,
}

impl Session {
    /// Opens a session on a shard and registers it.
    pub fn open(
        gateway: &Arc<Gateway>,
        shard: usize,
        revision: Revision,
        transport: Transport,
        credentials: Option<Box<Credentials>>,
        slot: Slot,
    ) -> Arc<Self> {
        let now = Instant::now();
        let outbox = Outbox::new(revision, gateway.shards[shard].around.clone());
        let session = Arc::new(Session {
            sid: random_id(SID_LENGTH).into(),
            outbox,
            shard,
            credentials,
            address: slot.address(),
            upgrading: AtomicBool::new(false),
            gateway: gateway.clone(),
            opened: now,
            gave_up: AtomicBool::new(false),
            namespaces: Mutex::new(Namespaces {
                clients: SmallVec::new(),
                last: None,
                alone: Some(now),
                departed: false,
                connects: Bucket::full(CONNECTS, now),
            }),
            transport: Mutex::new(Some(transport)),
            slot: Mutex::new(Some(slot)),
        });
        let closed = Arc::downgrade(&session);
        session.outbox.on_close(move |reason, unsent| {
            if let Some(session) = closed.upgrade() {
                session.closed(reason, unsent);
            }
        });
        gateway.metrics.connections(transport).inc();
        gateway.sessions.insert(session.clone());
        let transport = transport.label();
        tracing::debug!(client = %session.address, transport, "a session began");
        session
    }

    /// The gateway that it belongs to.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Whom a line of the log about it is about.
    pub fn about(&self) -> About<'_> {
        About::address(self.address)
    }

    /// A WebSocket carries it from now on.
    pub fn upgraded(&self) {
        let mut transport = self.transport.lock();
        if *transport == Some(Transport::Polling) {
            *transport = Some(Transport::Websocket);
            self.gateway.metrics.connections(Transport::Polling).dec();
            self.gateway.metrics.connections(Transport::Websocket).inc();
            tracing::debug!(client = %self.address, "a session was upgraded to a WebSocket");
        }
    }

    /// Whether the engine let go of it by its own will, while its client was there.
    pub fn gave_up(&self) -> bool {
        self.gave_up.load(Ordering::Relaxed)
    }

    /// The client in a namespace, also while it is being accepted.
    pub fn client(&self, namespace: &str) -> Option<Arc<Client>> {
        self.namespaces.lock().clients.iter().find(|c| *c.member.namespace == *namespace).cloned()
    }

    /// Whether it may ask for a namespace now: each is a token to verify, so there is a rate.
    pub fn may_connect(&self) -> bool {
        self.namespaces.lock().connects.take(CONNECTS, Instant::now())
    }

    /// Keeps a client that the namespace is about to accept. False: the session is over.
    pub fn accept(&self, client: Arc<Client>) -> bool {
        let mut namespaces = self.namespaces.lock();
        if namespaces.departed {
            return false;
        }
        namespaces.alone = None;
        namespaces.clients.push(client);
        true
    }

    /// Lets go of a client that left its namespace.
    pub fn leave(&self, client: &Client) {
        {
            let mut namespaces = self.namespaces.lock();
            namespaces.last = Some(client.member.clone());
            namespaces.clients.retain(|c| c.member.key != client.member.key);
            if namespaces.clients.is_empty() {
                namespaces.alone = Some(Instant::now());
            }
        }
        client.depart();
    }

    /// Whether it has been in no namespace for so long.
    fn is_alone_for(&self, time: Duration) -> bool {
        self.namespaces.lock().alone.is_some_and(|since| since.elapsed() >= time)
    }

    /// Sends DISCONNECT in every namespace, then ends the session: the client stays away.
    pub fn dismiss(&self, reason: Disconnected) {
        for client in &self.namespaces.lock().clients {
            let text = packet::encode_disconnect(&client.member.namespace);
            self.outbox.send(Arc::new(Encoded::message(&text, Vec::new())));
        }
        self.outbox.close(reason, Ending::Finish);
    }
}

impl Session {
    /// The engine accepted the client in a namespace: its CONNECT names the public id, and the
    /// client's events count from then on. In revision 3 there is no id in it (Socket.IO
    /// protocol, revision 4).
    fn connected(&self, rest: &[u8]) -> PacketAction {
        let text = String::from_utf8_lossy(rest);
        let namespace = match text.split_once(',') {
            Some((namespace, _)) if namespace.starts_with('/') => namespace,
            _ if text.starts_with('/') => &text,
            _ => "/",
        };
        let Some(client) = self.client(namespace) else { return PacketAction::Drop };
        let sid = Data::Object(vec![("sid".to_owned(), Data::from(&*client.member.id))]);
        let payload = (self.outbox.revision() == Revision::V4).then_some(&sid);
        let packet = packet::encode_connect(namespace, payload);
        PacketAction::SendThen(
            Encoded::message(&packet, Vec::new()),
            Box::new(move || client.arrive()),
        )
    }
}

impl EngineHooks for Session {
    fn on_packet(&self, text: &[u8], attachments: Vec<Bytes>) -> PacketAction {
        match text {
            // The open packet: the handshake sent ours, with our own id.
            [b'0', ..] => PacketAction::Drop,
            [b'4', b'0', rest @ ..] => self.connected(rest),
            [b'4', b'4', rest @ ..] => {
                PacketAction::Send(super::connect::refusal(rest, self.outbox.revision()))
            }
            _ => PacketAction::Send(Encoded::new(text, attachments)),
        }
    }

    fn on_violation(&self, error: FrameError) {
        let reason = match error {
            FrameError::TooLong => Rejected::Payload,
            _ => Rejected::BadPacket,
        };
        self.gateway.refused(reason, self.about(), &error);
        self.outbox.close(Disconnected::TransportError, Ending::Finish);
    }

    fn on_close(&self, gave_up: bool) {
        self.gave_up.store(gave_up, Ordering::Relaxed);
        let clients = {
            let mut namespaces = self.namespaces.lock();
            namespaces.departed = true;
            namespaces.last = namespaces.clients.first().map(|c| c.member.clone());
            std::mem::take(&mut namespaces.clients)
        };
        let young = self.opened.elapsed() < self.gateway.config.socketio.connect_timeout.0;
        if gave_up && clients.is_empty() && young {
            let why = "what came first is no packet";
            self.gateway.refused(Rejected::BadPacket, self.about(), &why);
        }
        for client in clients {
            client.depart();
        }
    }
}

impl Session {
    /// A client that reads too slowly is the operator's matter; any other end is its own.
    fn tell_of_end(&self, reason: Disconnected, transport: Transport, unsent: usize) {
        let (client, seconds) = (self.address, self.opened.elapsed().as_secs_f64());
        let (reason_label, transport) = (reason.label(), transport.label());
        if reason != Disconnected::Slow {
            let reason = reason_label;
            tracing::debug!(%client, transport, reason, seconds, "a session ended");
            return;
        }
        let namespaces = self.namespaces.lock();
        let first = namespaces.clients.first().map(|client| &client.member);
        let member = first.or(namespaces.last.as_ref());
        limited!(
            self.gateway.lines.slow,
            warn,
            %client,
            transport,
            namespace = member.map(|m| &*m.namespace),
            member = member.map(|m| &*m.id),
            user = member.and_then(|m| m.user.as_deref()),
            bytes = unsent,
            seconds,
            "dropped a client that reads too slowly"
        );
    }
}

impl Session {
    fn closed(&self, reason: Disconnected, unsent: usize) {
        self.gateway.sessions.remove(&self.sid);
        if let Some(transport) = self.transport.lock().take() {
            self.gateway.metrics.connections(transport).dec();
            self.gateway.metrics.disconnected(reason);
            self.tell_of_end(reason, transport, unsent);
        }
        self.slot.lock().take();
    }
}

/// The sessions of all shards, by id.
#[derive(Default)]
pub struct Sessions {
    by_sid: Mutex<HashMap<Arc<str>, Arc<Session>>>,
}

impl Sessions {
    fn insert(&self, session: Arc<Session>) {
        self.by_sid.lock().insert(session.sid.clone(), session);
    }

    fn remove(&self, sid: &str) {
        self.by_sid.lock().remove(sid);
    }

    /// The session with this id.
    pub fn get(&self, sid: &str) -> Option<Arc<Session>> {
        self.by_sid.lock().get(sid).cloned()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_sid.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, in no order.
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.by_sid.lock().values().cloned().collect()
    }
}

/// Closes sessions that are in no namespace for `connectTimeout`, until `stop`: the engine itself
/// waits for a first one only, and in revision 3 not even for that. Tells meanwhile whether
/// `limits.connections` is reached.
pub async fn sweep(gateway: Arc<Gateway>, stop: CancellationToken) {
    let timeout = gateway.config.socketio.connect_timeout.0;
    let pause = (timeout / 4).clamp(Duration::from_millis(50), Duration::from_secs(5));
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        gateway.at_the_limit();
        for session in gateway.sessions.all() {
            if session.is_alone_for(timeout) {
                session.outbox.close(Disconnected::Client, Ending::Finish);
            }
        }
    }
}

/// The address that a request came from: the peer's, or behind trusted proxies the last hop of
/// X-Forwarded-For that is not one of them.
pub fn client_address(peer: IpAddr, forwarded: Option<&str>, trusted: &[ipnet::IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    if !is_trusted(&peer) {
        return peer;
    }
    let hops = forwarded.unwrap_or_default().rsplit(',').map(str::trim);
    let mut client = peer;
    for hop in hops {
        let Ok(address) = hop.parse() else { break };
        client = address;
        if !is_trusted(&client) {
            break;
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let from = |peer: &str, header| client_address(ip(peer), header, &trusted);
        assert_eq!(from("1.2.3.4", Some("9.9.9.9")), ip("1.2.3.4"));
        assert_eq!(from("10.0.0.1", Some("9.9.9.9, 8.8.8.8, 10.2.2.2")), ip("8.8.8.8"));
        assert_eq!(from("10.0.0.1", None), ip("10.0.0.1"));
        assert_eq!(from("10.0.0.1", Some("x, 10.2.2.2")), ip("10.2.2.2"));
    }
}
