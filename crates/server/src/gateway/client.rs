//! A [`Client`]: one session in one namespace; and the [`SessionClients`]: all clients of one
//! session.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use smallvec::SmallVec;
use socketioxide::socket::Socket;

use super::client_log;
use super::client_rates::ClientRates;
use super::client_webhooks::ClientWebhooks;
use super::connect_attempts::ConnectAttempts;
use super::event_rate::RateExceeded;
use super::expiry::Expiry;
use super::forwarded::Origin;
use super::limits::{BodyPermit, LimitReached};
use super::log_throttles::LogSubject;
use super::namespaces::LeaseSlot;
use super::presence;
use super::state::Gateway;
use super::webhooks::disconnect;
use crate::connection::Wait;
use crate::connection::outbox::{Ending, Outbox};
use crate::message::MemberIds;
use crate::rooms::member::{Dismiss, Dismissal, Member};
use crate::telemetry::metrics::{Disconnected, Rejected};
use rookery_policy::{Namespace, Subject};
use rookery_protocol::encoded::Encoded;
use rookery_protocol::packet;

/// One session in one namespace.
pub struct Client {
    /// The member of rooms that this client is.
    pub member: Arc<Member>,
    /// The namespace, with what its pattern captured.
    pub namespace: Namespace,
    /// Of a namespace of a pattern, until the engine takes it.
    pub lease: LeaseSlot,
    /// The user and claims; replaced when the client refreshes its token.
    pub subject: Arc<ArcSwap<Subject>>,
    /// All clients of the session that this one belongs to.
    pub session_clients: Weak<SessionClients>,
    gateway: Arc<Gateway>,
    origin: Origin,
    shard: usize,
    phase: Mutex<Phase>,
    rates: ClientRates,
    /// What the backend has to do with the client.
    pub webhooks: ClientWebhooks,
    expiry: Mutex<Expiry>,
    socket: Weak<Socket>,
}

/// How far the client is with its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The namespace has not accepted it yet.
    Connecting,
    Connected,
    Disconnected,
}

impl Client {
    /// A client that its namespace is about to accept, with socketioxide's view of it.
    pub fn new(
        gateway: &Arc<Gateway>,
        session_clients: &Arc<SessionClients>,
        shard: usize,
        ids: MemberIds,
        namespace: Namespace,
        subject: Arc<Subject>,
        socket: &Arc<Socket>,
    ) -> Arc<Self> {
        let rates = ClientRates::new(&gateway.limits.config());
        let user = subject.user().map(Into::into);
        let subject = Arc::new(ArcSwap::new(subject));
        let describe = presence::describe(gateway, &namespace, &subject, &ids.public);
        let name = namespace.name().clone();
        let SessionClients { outbox, origin, .. } = &**session_clients;
        Arc::new_cyclic(|this: &Weak<Client>| Client {
            member: Arc::new(
                Member::new(ids, name, user, outbox.clone(), dismiss(this.clone()))
                    .described_by(describe)
                    .at_address(gateway.limits.publishing_address(*origin)),
            ),
            namespace,
            lease: LeaseSlot::default(),
            subject,
            session_clients: Arc::downgrade(session_clients),
            gateway: gateway.clone(),
            origin: *origin,
            shard,
            phase: Mutex::new(Phase::Connecting),
            rates,
            webhooks: ClientWebhooks::default(),
            expiry: Mutex::default(),
            socket: Arc::downgrade(socket),
        })
    }

    /// The gateway that the client is connected to.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// The outbox of the client's session.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.member.outbox
    }

    /// The client as the subject of a log line.
    pub fn log_subject(&self) -> LogSubject<'_> {
        LogSubject::member(self.origin.address, &self.member)
    }

    /// The namespace accepted the client: counts it, and adds it to its shard, so that it can join
    /// rooms. Returns the wait where the shard's queue is full.
    pub fn connected(&self) -> Wait {
        {
            let mut phase = self.phase.lock();
            if *phase != Phase::Connecting {
                return None;
            }
            *phase = Phase::Connected;
        }
        self.gateway.metrics.connects_accepted.inc();
        client_log::connected(&self.member, self.origin.address);
        self.gateway.broker.connect(self.shard, self.member.clone())
    }

    /// Whether the client is in its namespace.
    pub fn is_connected(&self) -> bool {
        *self.phase.lock() == Phase::Connected
    }

    /// Takes a permit for an event of this many bytes.
    ///
    /// # Errors
    /// The limit that the client exceeds.
    pub fn may_send_event(&self, bytes: usize) -> Result<(), RateExceeded> {
        self.rates.take_event(bytes, &self.gateway.limits.config())
    }

    /// Takes a permit for an event of this many bytes to wait.
    ///
    /// # Errors
    /// The limit that is reached, which is logged and counted.
    pub fn may_wait(&self, bytes: usize) -> Result<Option<BodyPermit>, LimitReached> {
        self.gateway.limits.event(self.origin, bytes).inspect_err(|limit| {
            self.gateway.refused(limit.reason, self.log_subject(), &limit.explanation);
        })
    }

    /// Whether [`Client::may_join`] would permit a room.
    pub fn has_join_burst(&self) -> bool {
        self.rates.has_join(&self.gateway.limits.config())
    }

    /// Takes `rooms` permits of the burst for joins, which holds `limits.roomsPerClient` when the
    /// client connects and refills at `limits.eventsPerSecond`.
    pub fn may_join(&self, rooms: usize) -> bool {
        self.rates.take_joins(rooms, &self.gateway.limits.config())
    }

    /// The number of the shard that the client's session runs on.
    pub fn shard(&self) -> usize {
        self.shard
    }

    fn dismiss(&self, dismissal: Dismissal) {
        match (self.session_clients.upgrade(), dismissal) {
            (Some(clients), Dismissal::Session) => clients.dismiss(Disconnected::Dismissed),
            (Some(_), Dismissal::Namespace) => {
                if let Some(socket) = self.socket.upgrade() {
                    // A full or closed channel means that the session is ending anyway.
                    let _ = socket.disconnect();
                }
            }
            (None, _) => {}
        }
    }

    /// Spawns a tracked task on the client's shard.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.gateway.shards[self.shard].spawn(task);
    }

    /// The backend hears once that the client is gone from its namespace.
    pub fn report_disconnect(&self, reason: Disconnected) {
        if let Some(admin) = &self.gateway.admin {
            admin.departed(self.member.shown_id(), reason);
        }
        if let Some(reason) = self.webhooks.disconnect.gone(reason) {
            self.tell_backend(reason);
        }
    }

    /// Tells the backend that the client is gone, when [`ClientWebhooks::disconnect`] says so.
    pub fn tell_backend(&self, reason: Disconnected) {
        let member = (&self.member, self.namespace.params());
        disconnect::report(&self.gateway, self.shard, member, &self.subject.load(), reason);
    }

    /// The client is gone from its namespace: ends its memberships. May be called more than once.
    pub fn disconnected(&self) {
        self.expiry.lock().end();
        let before = std::mem::replace(&mut *self.phase.lock(), Phase::Disconnected);
        if before == Phase::Connected
            && let Some(wait) = self.gateway.broker.disconnect(self.shard, self.member.clone())
        {
            self.spawn(wait);
        }
    }

    /// Sets when the client's token expires: then the client gets `auth:expired` and its session
    /// is closed. Replaces what an earlier call set.
    pub fn set_expiry(&self, at: Option<SystemTime>) {
        let Some(timer) = self.expiry.lock().set(at) else { return };
        let (outbox, namespace) = (self.outbox().clone(), self.member.namespace.clone());
        let clients = self.session_clients.clone();
        self.spawn(async move {
            if !timer.expires().await {
                return;
            }
            let (text, _) = packet::encode_event(&namespace, None, "auth:expired", &[]);
            outbox.send(Arc::new(Encoded::message(&text, Vec::new())));
            match clients.upgrade() {
                Some(clients) => clients.dismiss(Disconnected::TokenExpired),
                None => outbox.close(Disconnected::TokenExpired, Ending::Finish),
            }
        });
    }
}

/// Dismisses a client, as long as it exists.
fn dismiss(client: Weak<Client>) -> Dismiss {
    Box::new(move |dismissal| {
        if let Some(client) = client.upgrade() {
            client.dismiss(dismissal);
        }
    })
}

/// All clients of one session.
pub struct SessionClients {
    outbox: Arc<Outbox>,
    origin: Origin,
    state: Mutex<State>,
}

struct State {
    /// Most sessions are in one namespace.
    clients: SmallVec<[Arc<Client>; 1]>,
    /// Clients that are gone with the session, for a reason that is not known yet.
    unreported: SmallVec<[Arc<Client>; 1]>,
    /// A member that this session had, for the line about the session's end.
    last: Option<Arc<Member>>,
    /// Since when the session has been in no namespace.
    empty_since: Option<Instant>,
    /// The session is over: no client is added any more.
    closed: bool,
    /// The protocol engine ended the session by itself.
    engine_failed: bool,
    connect_attempts: ConnectAttempts,
}

impl SessionClients {
    /// The clients of a new session: none.
    pub fn new(outbox: Arc<Outbox>, origin: Origin) -> Self {
        let now = Instant::now();
        let state = State {
            clients: SmallVec::new(),
            unreported: SmallVec::new(),
            last: None,
            empty_since: Some(now),
            closed: false,
            engine_failed: false,
            connect_attempts: ConnectAttempts::new(now),
        };
        SessionClients { outbox, origin, state: Mutex::new(state) }
    }

    /// Where the session's first request came from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The client in a namespace, also while it is being accepted.
    pub fn get(&self, namespace: &str) -> Option<Arc<Client>> {
        self.state.lock().clients.iter().find(|c| *c.member.namespace == *namespace).cloned()
    }

    /// The clients in all namespaces.
    pub fn all(&self) -> SmallVec<[Arc<Client>; 1]> {
        self.state.lock().clients.clone()
    }

    /// A member that the session has or had.
    pub fn any_member(&self) -> Option<Arc<Member>> {
        let state = self.state.lock();
        state.clients.first().map(|client| &client.member).or(state.last.as_ref()).cloned()
    }

    /// Whether the session may present a token now, for a namespace or to replace another one.
    pub fn may_present_token(&self) -> bool {
        self.state.lock().connect_attempts.may_present(Instant::now())
    }

    /// A namespace refused the client. True: the session is in none, and must end, because it was
    /// refused too often since it was in one.
    pub fn connect_refused(&self, gateway: &Gateway, namespace: &str) -> bool {
        let mut state = self.state.lock();
        let offered = gateway.config.namespaces.len();
        if !state.clients.is_empty() || !state.connect_attempts.refused(namespace, offered) {
            return false;
        }
        drop(state);
        let (error, subject) =
            ("too many connects were refused", LogSubject::address(self.origin.address));
        gateway.refused(Rejected::RefusedConnects, subject, &error);
        true
    }

    /// Adds a client that its namespace is about to accept. False: the session is over.
    pub fn add(&self, client: Arc<Client>) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        state.empty_since = None;
        state.connect_attempts.accepted();
        state.clients.push(client);
        true
    }

    /// Removes a client that left its namespace. Where the session is not ending, `reason` says why.
    pub fn remove(&self, client: &Client, reason: Disconnected) {
        {
            let mut state = self.state.lock();
            state.last = Some(client.member.clone());
            state.clients.retain(|c| c.member.key != client.member.key);
            if state.clients.is_empty() {
                state.empty_since = Some(Instant::now());
            }
        }
        client.disconnected();
        client.report_disconnect(self.outbox.ending().unwrap_or(reason));
    }

    /// The session is over: removes all clients and returns how many there were. `engine_failed`:
    /// the protocol engine ended it by itself, while its client was there.
    pub fn close(&self, engine_failed: bool) -> usize {
        let clients = {
            let mut state = self.state.lock();
            state.closed = true;
            state.engine_failed = engine_failed;
            if let Some(client) = state.clients.first() {
                state.last = Some(client.member.clone());
            }
            let clients = std::mem::take(&mut state.clients);
            state.unreported.extend(clients.iter().cloned());
            clients
        };
        clients.iter().for_each(|client| client.disconnected());
        if let Some(reason) = self.outbox.ending() {
            self.report_disconnects(reason);
        }
        clients.len()
    }

    /// It is known why the session ends: the backend hears of each client that is gone.
    pub fn report_disconnects(&self, reason: Disconnected) {
        let gone = std::mem::take(&mut self.state.lock().unreported);
        gone.iter().for_each(|client| client.report_disconnect(reason));
    }

    /// Whether the protocol engine ended the session by itself, while its client was there.
    pub fn engine_failed(&self) -> bool {
        self.state.lock().engine_failed
    }

    /// Whether the session has been in no namespace for this long.
    pub fn empty_for(&self, time: Duration) -> bool {
        self.state.lock().empty_since.is_some_and(|since| since.elapsed() >= time)
    }

    /// Sends DISCONNECT in every namespace, so that the client does not reconnect by itself, then
    /// closes the session.
    pub fn dismiss(&self, reason: Disconnected) {
        // Sending may end the outbox, whose log line asks for a member: the lock must be free.
        for client in self.all() {
            let text = packet::encode_disconnect(&client.member.namespace);
            self.outbox.send(Arc::new(Encoded::message(&text, Vec::new())));
        }
        self.outbox.close(reason, Ending::Finish);
    }
}
