//! A [`Session`]: one Engine.IO session over whichever transport; and the [`Sessions`] of this
//! instance.

mod hooks;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::authenticator::Credentials;
use super::client::SessionClients;
use super::limits::{BodyPermit, Permit};
use super::log_throttles::LogSubject;
use super::namespaces::LeaseSlot;
use super::session_ids::SessionIds;
use super::state::Gateway;
use super::token_bucket::TokenBucket;
use crate::connection::outbox::{Accepted, Ending, Outbox};
use crate::hashing::HashMap;
use crate::telemetry::metrics::Disconnected;
use rookery_config::Transport;
use rookery_ops::throttle::limited;
use rookery_protocol::Revision;

/// Bytes that must wait for a client before it is disconnected to free memory.
const MIN_SHED: usize = 16 << 10;

/// A table of up to four times as many sessions does not shrink.
const MIN_CAPACITY: usize = 256;

/// One Engine.IO session.
pub struct Session {
    /// By what requests find the session, and what its members are called.
    pub ids: SessionIds,
    /// Everything that is to be sent to the client, in order.
    pub outbox: Arc<Outbox>,
    /// The number of the shard that the session runs on for all its life.
    pub shard: usize,
    /// The tokens that the first request carried.
    pub credentials: Option<Box<Credentials>>,
    /// The client's address.
    pub address: IpAddr,
    /// Whether the client has sent a packet.
    has_spoken: AtomicBool,
    /// Whether a POST is in progress.
    pub posting: AtomicBool,
    /// Whether an upgrade to a WebSocket is under way.
    pub upgrading: AtomicBool,
    /// The clients in the session's namespaces.
    pub clients: Arc<SessionClients>,
    /// Of the namespace of a pattern that the client asks for, until it is in.
    pub asked: LeaseSlot,
    sessions: Arc<Sessions>,
    /// When the session was opened.
    pub opened: Instant,
    /// `None` once the session has ended.
    pub(super) transport: Mutex<Option<Transport>>,
    /// Whether the session has connected to a namespace; changed under the lock of `transport`.
    is_counted: AtomicBool,
    permit: Mutex<Option<Permit>>,
    /// Bytes that compressed messages of the client may still stand for beyond those that were sent.
    pub(super) inflatable: Mutex<Option<Box<TokenBucket>>>,
    /// Permits what is held of the client's messages, where that is much.
    held: Mutex<Option<Box<BodyPermit>>>,
}

/// What a session is opened with.
pub struct NewSession {
    /// The number of the shard that accepted the connection.
    pub shard: usize,
    /// The Engine.IO revision that the client speaks.
    pub revision: Revision,
    /// What the client takes on its WebSocket, if it starts with one.
    pub accepted: Accepted,
    /// The transport that the session starts with.
    pub transport: Transport,
    /// The tokens that the request carried.
    pub credentials: Option<Box<Credentials>>,
    /// The session's permit under the limits.
    pub permit: Permit,
}

impl Session {
    /// The gateway that the session belongs to.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.sessions.gateway
    }

    /// The session's client as the subject of a log line.
    pub fn log_subject(&self) -> LogSubject<'_> {
        LogSubject::address(self.address)
    }

    /// Records that the session has moved from polling to a WebSocket.
    pub fn upgraded(&self) {
        let mut transport = self.transport.lock();
        if *transport == Some(Transport::Polling) {
            *transport = Some(Transport::Websocket);
            if self.is_counted.load(Ordering::Relaxed) {
                let metrics = &self.gateway().metrics;
                metrics.connections(Transport::Polling).dec();
                metrics.connections(Transport::Websocket).inc();
            }
            tracing::debug!(client = %self.address, "session upgraded to WebSocket");
        }
    }

    /// Counts the session among the connections, from its first namespace on.
    fn count(&self) {
        let transport = self.transport.lock();
        if let Some(transport) = *transport
            && !self.is_counted.swap(true, Ordering::Relaxed)
        {
            self.gateway().metrics.connections(transport).inc();
            if let Some(permit) = &mut *self.permit.lock() {
                permit.connect();
            }
        }
    }

    /// Whether the session has connected to a namespace.
    pub fn is_counted(&self) -> bool {
        self.is_counted.load(Ordering::Relaxed)
    }

    /// Whether the session is to be closed, because its client has sent nothing for
    /// `first_packet`, or has been in no namespace for `timeout`.
    pub fn is_unused(&self, first_packet: Duration, timeout: Duration) -> bool {
        let is_silent = !self.has_spoken.load(Ordering::Relaxed);
        self.clients.empty_for(if is_silent { first_packet.min(timeout) } else { timeout })
    }

    /// A client that reads too slowly concerns the operator; any other end is the client's own.
    fn log_end(&self, reason: Disconnected, transport: Transport, unsent: usize) {
        let (client, seconds) = (self.address, self.opened.elapsed().as_secs_f64());
        let (reason_label, transport) = (reason.label(), transport.label());
        if reason != Disconnected::Slow {
            let reason = reason_label;
            tracing::debug!(%client, transport, reason, seconds, "session closed");
            return;
        }
        let member = self.clients.any_member();
        let member = member.as_ref();
        limited!(
            self.gateway().log_throttles.slow_clients,
            warn,
            %client,
            transport,
            namespace = member.map(|m| &*m.namespace),
            member = member.map(|m| &*m.id),
            user = member.and_then(|m| m.user.as_deref()),
            bytes = unsent,
            seconds,
            "disconnected a slow client"
        );
    }
}

impl Session {
    /// The outbox has closed: nothing can reach the client any more.
    fn closed(&self, reason: Disconnected, unsent: usize) {
        self.sessions.remove(&self.ids.secret);
        let mut open = self.transport.lock();
        if let Some(transport) = open.take() {
            let metrics = &self.gateway().metrics;
            if self.is_counted.load(Ordering::Relaxed) {
                metrics.connections(transport).dec();
            }
            drop(open);
            metrics.disconnected(reason);
            self.log_end(reason, transport, unsent);
        }
        self.clients.report_disconnects(reason);
        self.permit.lock().take();
    }
}

/// The open sessions of this instance, by their ids.
pub struct Sessions {
    gateway: Arc<Gateway>,
    by_sid: Mutex<HashMap<Arc<str>, Arc<Session>>>,
}

impl Sessions {
    /// The sessions of a gateway: none yet.
    pub fn new(gateway: Arc<Gateway>) -> Arc<Self> {
        Arc::new(Sessions { gateway, by_sid: Mutex::default() })
    }

    /// The gateway that the sessions belong to.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Opens a session. It removes itself when it ends.
    pub fn open(self: &Arc<Self>, new: NewSession) -> Arc<Session> {
        let NewSession { shard, revision, accepted, transport, credentials, permit } = new;
        let origin = permit.origin();
        let address = origin.address;
        let outbox = Outbox::new(revision, self.gateway.shards[shard].outbox_context.clone());
        outbox.set_accepted(accepted);
        let session = Arc::new(Session {
            ids: SessionIds::random(revision, transport, self.gateway.broker.pod()),
            clients: Arc::new(SessionClients::new(outbox.clone(), origin)),
            outbox,
            asked: LeaseSlot::default(),
            shard,
            credentials,
            address,
            has_spoken: AtomicBool::new(false),
            posting: AtomicBool::new(false),
            upgrading: AtomicBool::new(false),
            sessions: self.clone(),
            opened: Instant::now(),
            transport: Mutex::new(Some(transport)),
            is_counted: AtomicBool::new(false),
            permit: Mutex::new(Some(permit)),
            inflatable: Mutex::new(None),
            held: Mutex::new(None),
        });
        let weak: Weak<Session> = Arc::downgrade(&session);
        session.outbox.on_close(move |reason, unsent| {
            if let Some(session) = weak.upgrade() {
                session.closed(reason, unsent);
            }
        });
        self.by_sid.lock().insert(session.ids.secret.clone(), session.clone());
        tracing::debug!(client = %address, transport = transport.label(), "session opened");
        session
    }

    /// Most of the table's memory is given back once most sessions have ended.
    fn remove(&self, sid: &str) {
        let mut by_sid = self.by_sid.lock();
        by_sid.remove(sid);
        if by_sid.capacity() > 4 * by_sid.len().max(MIN_CAPACITY) {
            let most = 2 * by_sid.len();
            by_sid.shrink_to(most);
        }
    }

    /// The session with this id.
    pub fn get(&self, sid: &str) -> Option<Arc<Session>> {
        self.by_sid.lock().get(sid).cloned()
    }

    /// The number of open sessions.
    pub fn len(&self) -> usize {
        self.by_sid.lock().len()
    }

    /// Whether no session is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All open sessions, in no order.
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.by_sid.lock().values().cloned().collect()
    }

    /// Disconnects the clients for which the most waits, until `bytes` of it are freed. Clients for
    /// which less than [`MIN_SHED`] waits stay. Returns how many were disconnected.
    pub fn shed_largest(&self, bytes: u64) -> usize {
        let queued = |session: Arc<Session>| (session.outbox.queued_bytes(), session);
        let mut largest: Vec<_> = self.all().into_iter().map(queued).collect();
        largest.retain(|(queued, _)| *queued >= MIN_SHED);
        largest.sort_unstable_by_key(|(queued, _)| std::cmp::Reverse(*queued));
        let (mut freed, mut shed) = (0, 0);
        for (queued, session) in largest {
            if freed >= bytes {
                break;
            }
            session.outbox.close(Disconnected::Memory, Ending::Abort);
            freed += queued as u64;
            shed += 1;
        }
        shed
    }
}
