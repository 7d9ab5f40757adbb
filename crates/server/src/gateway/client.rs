//! A [`Client`]: one session in one namespace, and the order of its events.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use socketioxide::socket::Socket;
use tokio_util::sync::CancellationToken;

use super::Gateway;
use super::limits::Bucket;
use super::session::Session;
use crate::connection::outbox::{Ending, Outbox};
use crate::message::member_id::{ID_LENGTH, POD_LENGTH, next_number, random_id};
use crate::rooms::member::{Dismiss, Member};
use crate::rooms::shard::Message;
use crate::telemetry::metrics::Disconnected;
use rookery_policy::Subject;
use rookery_protocol::encoded::Encoded;
use rookery_protocol::{Data, packet};

/// Events of one client that may wait for an earlier one.
const WAITING: usize = 256;

/// An event as the client sent it.
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its arguments.
    pub args: Vec<Data>,
    /// The id of the acknowledgement that the client wants.
    pub ack: Option<u64>,
}

/// One session in one namespace.
pub struct Client {
    /// The fan-out's view of it.
    pub member: Arc<Member>,
    /// Its session.
    pub session: Weak<Session>,
    /// Its user and claims; a refresh replaces them.
    pub subject: ArcSwap<Subject>,
    gateway: Arc<Gateway>,
    shard: usize,
    lane: Mutex<Lane>,
    bucket: Mutex<Bucket>,
    expiry: Mutex<Expiry>,
    socket: Weak<Socket>,
}

/// What happens at the end of a client's token.
#[derive(Default)]
struct Expiry {
    /// Cancelled when the token's end is another one, or the client is gone.
    timer: Option<CancellationToken>,
    departed: bool,
}

/// One client's events are handled in the order in which they were sent.
struct Lane {
    waiting: VecDeque<Event>,
    /// An event is being handled whose end must be waited for.
    busy: bool,
}

impl Dismiss for Client {
    fn dismiss(&self, close: bool) {
        self.end(close, Disconnected::Dismissed);
    }
}

impl Client {
    /// A client that its namespace is about to accept, with the engine's view of it.
    pub fn new(
        session: &Arc<Session>,
        namespace: Arc<str>,
        subject: Arc<Subject>,
        socket: &Arc<Socket>,
    ) -> Arc<Self> {
        let gateway = session.gateway().clone();
        let rate = gateway.limits.config().events_per_second;
        Arc::new_cyclic(|this: &Weak<Client>| Client {
            member: Arc::new(Member {
                id: format!("{}{}", gateway.pod, random_id(ID_LENGTH - POD_LENGTH)).into(),
                namespace,
                user: subject.user().map(Into::into),
                connected_at: SystemTime::now(),
                outbox: session.outbox.clone(),
                client: this.clone(),
                key: next_number(),
            }),
            session: Arc::downgrade(session),
            subject: ArcSwap::new(subject),
            gateway,
            shard: session.shard,
            lane: Mutex::new(Lane { waiting: VecDeque::new(), busy: true }),
            bucket: Mutex::new(Bucket::full(rate, Instant::now())),
            expiry: Mutex::default(),
            socket: Arc::downgrade(socket),
        })
    }

    /// The gateway.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// What is for it.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.member.outbox
    }

    /// The namespace has accepted it: it becomes a member, and its events are handled.
    pub fn arrive(self: &Arc<Self>) {
        self.gateway.metrics.connects_accepted.inc();
        tracing::debug!(
            member = &*self.member.id,
            namespace = &*self.member.namespace,
            user = self.member.user.as_deref(),
            client = self.session.upgrade().map(|session| tracing::field::display(session.address)),
            "a client connected"
        );
        let arrived = self.tell(Message::Arrive(self.member.clone()));
        let early = {
            let mut lane = self.lane.lock();
            lane.busy = false;
            !lane.waiting.is_empty()
        };
        if early || arrived.is_some() {
            self.wait(arrived.unwrap_or_else(|| Box::pin(std::future::ready(()))));
        }
    }

    /// Tells the log that it is gone, and why.
    pub fn tell_of_end(&self, reason: &dyn std::fmt::Display) {
        let connected = self.member.connected_at.elapsed().unwrap_or_default();
        tracing::debug!(
            member = &*self.member.id,
            namespace = &*self.member.namespace,
            user = self.member.user.as_deref(),
            %reason,
            seconds = connected.as_secs_f64(),
            "a client is gone"
        );
    }

    /// It is gone from its namespace.
    pub fn depart(&self) {
        self.expiry.lock().departed = true;
        self.set_expiry(None);
        let depart = self.tell(Message::Depart(self.member.clone()));
        if let Some(depart) = depart {
            let seat = &self.gateway.shards[self.shard];
            seat.around.tracker.spawn_on(depart, &seat.runtime);
        }
    }

    /// Takes an event. The caller takes them in the order in which they came.
    pub fn receive(self: &Arc<Self>, event: Event) {
        if !self.bucket.lock().take(self.gateway.limits.config().events_per_second, Instant::now())
        {
            return super::events::over_rate(self, event);
        }
        {
            let mut lane = self.lane.lock();
            if lane.busy {
                if lane.waiting.len() < WAITING {
                    lane.waiting.push_back(event);
                } else {
                    drop(lane);
                    super::events::over_rate(self, event);
                }
                return;
            }
        }
        if let Some(wait) = super::events::handle(self, event) {
            self.wait(wait);
        }
    }

    /// Handles what comes meanwhile after `first` has ended.
    fn wait(self: &Arc<Self>, first: BoxFuture<'static, ()>) {
        self.lane.lock().busy = true;
        let client = self.clone();
        let handled = async move {
            let mut next = Some(first);
            loop {
                if let Some(wait) = next.take() {
                    wait.await;
                }
                let event = {
                    let mut lane = client.lane.lock();
                    let Some(event) = lane.waiting.pop_front() else {
                        lane.busy = false;
                        return;
                    };
                    event
                };
                next = super::events::handle(&client, event);
            }
        };
        let seat = &self.gateway.shards[self.shard];
        seat.around.tracker.spawn_on(handled, &seat.runtime);
    }

    /// Puts a message into the shard's queue; gives the wait where that is full.
    pub fn tell(&self, message: Message) -> Option<BoxFuture<'static, ()>> {
        let queue = self.gateway.router.shard(self.shard);
        match queue.try_send(message) {
            Ok(()) => None,
            Err(tokio::sync::mpsc::error::TrySendError::Full(message)) => {
                let queue = queue.clone();
                Some(Box::pin(async move {
                    // A closed queue means that the process stops.
                    let _ = queue.send(message).await;
                }))
            }
            Err(tokio::sync::mpsc::error::TrySendError::Closed(_)) => None,
        }
    }

    /// Sends DISCONNECT, so that the client stays away; with `close` the transport ends too.
    fn end(&self, close: bool, reason: Disconnected) {
        match self.session.upgrade() {
            Some(session) if close => session.dismiss(reason),
            Some(_) => {
                if let Some(socket) = self.socket.upgrade() {
                    // A full or closed channel means that the session is ending anyway.
                    let _ = socket.disconnect();
                }
            }
            None => {}
        }
    }

    /// Sends an event that is no delivery.
    pub fn emit(&self, event: &str, args: &[Data]) {
        let (text, attachments) = packet::encode_event(&self.member.namespace, None, event, args);
        self.outbox().send(Arc::new(Encoded::message(&text, attachments)));
    }

    /// When its token expires, the client is told and dismissed. A later call replaces an
    /// earlier one.
    pub fn set_expiry(&self, at: Option<SystemTime>) {
        let mut expiry = self.expiry.lock();
        if let Some(timer) = expiry.timer.take() {
            timer.cancel();
        }
        let Some(at) = at.filter(|_| !expiry.departed) else { return };
        let timer = CancellationToken::new();
        expiry.timer = Some(timer.clone());
        let (outbox, namespace) = (self.outbox().clone(), self.member.namespace.clone());
        let session = self.session.clone();
        let expire = async move {
            sleep_until(at).await;
            let (text, _) = packet::encode_event(&namespace, None, "auth:expired", &[]);
            outbox.send(Arc::new(Encoded::message(&text, Vec::new())));
            match session.upgrade() {
                Some(session) => session.dismiss(Disconnected::TokenExpired),
                None => outbox.close(Disconnected::TokenExpired, Ending::Finish),
            }
        };
        let seat = &self.gateway.shards[self.shard];
        let timed = async move {
            tokio::select! {
                () = timer.cancelled() => {}
                () = expire => {}
            }
        };
        seat.around.tracker.spawn_on(timed, &seat.runtime);
    }
}

/// Waits for a moment of the wall clock, looking at it again at least once a minute, because it
/// may be set.
async fn sleep_until(at: SystemTime) {
    while let Ok(left) = at.duration_since(SystemTime::now()) {
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(std::time::Duration::from_secs(60))).await;
    }
}
