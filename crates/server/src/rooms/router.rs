//! The [`Router`]: decides where a publication goes, and reaches every shard's members.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use tokio::sync::{mpsc, oneshot};

use super::LocalMembers;
use super::envelope::Envelope;
use super::index::Index;
use super::member::Member;
use super::shard::{Message, Occupation, Rooms};
use super::waits::Place;
use crate::broker::Publisher;
use crate::message::Publication;
use crate::message::member_id::{ID_LENGTH, POD_LENGTH};
use crate::message::{MemberInfo, PublishError, Receipt, Scope, Selector};
use crate::telemetry::metrics::{Metrics, Rejected};
use crate::telemetry::trace::Tracer;
use rookery_protocol::Room;

/// The other instances, as the router reaches them.
pub trait Remote: Occupation {
    /// Whether they can be reached now.
    fn is_up(&self) -> bool;

    /// Whether this is another pod's name, the first 8 characters of its members' ids.
    fn is_pod(&self, name: &str) -> bool;

    /// Hands a publication over without waiting; false: it will not reach them.
    fn publish(&self, publication: &Publication) -> bool;

    /// Resolves when what others publish to the room is heard here: at once where it is already
    /// or Redis is away, at the latest after a second. `None`: it is heard already. The
    /// subscription is then kept long enough for a member to join.
    fn subscribed(&self, namespace: &Arc<str>, room: &Room) -> Option<BoxFuture<'static, ()>>;
}

/// Gives the latency class of a room.
pub type Classify = Arc<dyn Fn(&str) -> Arc<str> + Send + Sync>;

/// Decides where publications go. Cloning is shallow.
#[derive(Clone)]
pub struct Router {
    inner: Arc<Inner>,
}

struct Inner {
    shards: Vec<mpsc::Sender<Message>>,
    index: Arc<Index>,
    classify: Classify,
    remote: OnceLock<Arc<dyn Remote>>,
    refuse_when_down: bool,
    metrics: Arc<Metrics>,
    tracer: Tracer,
}

/// A publication that did not fit into a shard's queue at once.
pub struct Busy(Box<Publication>);

/// Why a client's publication was not taken at once.
pub enum NotNow {
    /// A queue is full: [`Router::publish`] waits for it.
    Busy(Busy),
    /// It is refused.
    Refused(PublishError),
}

impl Busy {
    /// The publication, to wait with.
    pub fn into_publication(self) -> Publication {
        *self.0
    }
}

impl Router {
    /// Routes to these shards. With `refuse_when_down`, publications are refused while the other
    /// instances cannot be reached.
    pub fn new(
        shards: Vec<mpsc::Sender<Message>>,
        index: Arc<Index>,
        classify: Classify,
        refuse_when_down: bool,
        metrics: Arc<Metrics>,
        tracer: Tracer,
    ) -> Self {
        let remote = OnceLock::new();
        let inner = Inner { shards, index, classify, remote, refuse_when_down, metrics, tracer };
        Router { inner: Arc::new(inner) }
    }

    /// Connects the other instances; once, before the first publication.
    pub fn connect(&self, remote: Arc<dyn Remote>) {
        let _ = self.inner.remote.set(remote);
    }

    /// The other instances.
    pub fn remote(&self) -> Option<&Arc<dyn Remote>> {
        self.inner.remote.get()
    }

    /// Whether a room's name is, or may be, a member's public id: what is sent there is for that
    /// member alone, so nobody else may join it.
    pub fn is_private(&self, room: &str) -> bool {
        self.inner.index.names_a_member(room)
            || room.len() == ID_LENGTH
                && room.is_char_boundary(POD_LENGTH)
                && self.inner.remote.get().is_some_and(|r| r.is_pod(&room[..POD_LENGTH]))
    }

    /// The queue of a shard.
    pub fn shard(&self, shard: usize) -> &mpsc::Sender<Message> {
        &self.inner.shards[shard]
    }

    /// Messages that wait for the shards.
    pub fn waiting(&self) -> usize {
        self.inner.shards.iter().map(|queue| queue.max_capacity() - queue.capacity()).sum()
    }

    /// Publishes without waiting, for a client's event.
    ///
    /// # Errors
    /// When a shard's queue is full, or it is refused; nothing was delivered then.
    pub fn publish_now(&self, mut publication: Publication) -> Result<(), NotNow> {
        self.admit().map_err(NotNow::Refused)?;
        let Some(permits) = self.reserve(&publication) else {
            return Err(NotNow::Busy(Busy(Box::new(publication))));
        };
        self.inner.metrics.published(publication.source);
        let span = self.inner.tracer.publish(&mut publication);
        let scope = self.send_out(&publication);
        self.hand_over(permits, Arc::new(publication));
        span.accepted(scope, None);
        Ok(())
    }

    /// A place in the queue of every shard that it goes to; `None` where one is full.
    fn reserve(&self, publication: &Publication) -> Option<Vec<mpsc::Permit<'_, Message>>> {
        let targets = bits(self.inner.index.shards(publication));
        targets.map(|shard| self.inner.shards[shard].try_reserve().ok()).collect()
    }

    fn hand_over(&self, places: Vec<mpsc::Permit<'_, Message>>, publication: Arc<Publication>) {
        if places.is_empty() {
            return;
        }
        let envelope = self.seal(publication);
        for place in places {
            place.send(Message::Publish(envelope.clone(), None));
        }
    }

    fn admit(&self) -> Result<(), PublishError> {
        match self.inner.remote.get() {
            Some(remote) if self.inner.refuse_when_down && !remote.is_up() => {
                Err(PublishError::RedisDown)
            }
            _ => Ok(()),
        }
    }

    /// Hands it to the other instances where it is theirs too.
    fn send_out(&self, publication: &Publication) -> Scope {
        match self.inner.remote.get() {
            Some(remote)
                if publication.source.crosses_instances() && remote.publish(publication) =>
            {
                Scope::Cluster
            }
            _ => Scope::Local,
        }
    }

    fn seal(&self, publication: Arc<Publication>) -> Arc<Envelope> {
        let trace = self.inner.tracer.deliver(&publication);
        Arc::new(Envelope::seal(publication, |room| (self.inner.classify)(room), trace))
    }

    async fn deliver_here(&self, publication: Arc<Publication>) -> usize {
        let targets = self.inner.index.shards(&publication);
        if targets == 0 {
            return 0;
        }
        let envelope = self.seal(publication);
        let mut counts = Vec::new();
        for shard in bits(targets) {
            let (count, counted) = oneshot::channel();
            // A closed queue means that the process is stopping: its members are gone.
            let message = Message::Publish(envelope.clone(), Some(count));
            if self.inner.shards[shard].send(message).await.is_ok() {
                counts.push(counted);
            }
        }
        join_all(counts).await.into_iter().map(Result::unwrap_or_default).sum()
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl Fn(&mut Rooms) -> T + Clone + Send + 'static,
    ) -> Vec<T> {
        let answers = self.inner.shards.iter().map(|shard| {
            let question = question.clone();
            async move {
                let (answer, answered) = oneshot::channel();
                let ask = Message::Ask(Box::new(move |rooms| {
                    let _ = answer.send(question(rooms));
                }));
                shard.send(ask).await.ok()?;
                answered.await.ok()
            }
        });
        join_all(answers).await.into_iter().flatten().collect()
    }

    async fn for_each(
        &self,
        namespace: &str,
        of: &Selector,
        order: impl Fn(&mut Rooms, &Arc<Member>) -> bool + Clone + Send + 'static,
    ) -> usize {
        let (namespace, of) = (namespace.to_owned(), of.clone());
        let matched = self.ask(move |rooms| {
            let members = rooms.membership().select(&namespace, &of);
            members.iter().filter(|member| order(rooms, member)).count()
        });
        matched.await.into_iter().sum()
    }

    async fn await_subscriptions(&self, namespace: &str, rooms: &[Room]) {
        let Some(remote) = self.inner.remote.get() else { return };
        let namespace: Arc<str> = namespace.into();
        let pending = rooms.iter().filter_map(|room| remote.subscribed(&namespace, room));
        join_all(pending.collect::<Vec<_>>()).await;
    }
}

fn bits(mask: u64) -> impl Iterator<Item = usize> {
    (0..u64::BITS as usize).filter(move |bit| mask & (1 << bit) != 0)
}

impl Publisher for Router {
    fn publish(
        &self,
        mut publication: Publication,
    ) -> BoxFuture<'_, Result<Receipt, PublishError>> {
        async move {
            let span = self.inner.tracer.publish(&mut publication);
            if let Err(error) = self.admit() {
                span.refused(&error);
                return Err(error);
            }
            self.inner.metrics.published(publication.source);
            let scope = self.send_out(&publication);
            let members = self.deliver_here(Arc::new(publication)).await;
            span.accepted(scope, Some(members));
            Ok(Receipt { scope, members })
        }
        .boxed()
    }
}

impl LocalMembers for Router {
    fn deliver(&self, publication: Arc<Publication>) -> BoxFuture<'_, usize> {
        self.inner.metrics.published(publication.source);
        self.deliver_here(publication).boxed()
    }

    fn try_deliver(&self, publication: Arc<Publication>) -> bool {
        let Some(permits) = self.reserve(&publication) else { return false };
        self.inner.metrics.published(publication.source);
        self.hand_over(permits, publication);
        true
    }

    fn members<'a>(
        &'a self,
        namespace: &'a str,
        of: &'a Selector,
    ) -> BoxFuture<'a, Vec<MemberInfo>> {
        let (namespace, of) = (namespace.to_owned(), of.clone());
        let members = self.ask(move |rooms| {
            let membership = rooms.membership();
            let selected = membership.select(&namespace, &of);
            selected.iter().map(|member| membership.info(member)).collect::<Vec<_>>()
        });
        async move { members.await.into_iter().flatten().collect() }.boxed()
    }

    fn rooms<'a>(
        &'a self,
        namespace: &'a str,
        prefix: &'a str,
    ) -> BoxFuture<'a, BTreeMap<Room, usize>> {
        let (namespace, prefix) = (namespace.to_owned(), prefix.to_owned());
        let rooms = self.ask(move |rooms| rooms.membership().rooms(&namespace, &prefix));
        async move {
            let mut merged = BTreeMap::new();
            for (room, members) in rooms.await.into_iter().flatten() {
                *merged.entry(room).or_default() += members;
            }
            merged
        }
        .boxed()
    }

    fn crowded<'a>(
        &'a self,
        namespaces: &'a [Arc<str>],
        most: usize,
    ) -> BoxFuture<'a, Vec<(Place, usize)>> {
        let namespaces = namespaces.to_vec();
        let crowded = self.ask(move |rooms| rooms.membership().crowded(&namespaces, most));
        async move {
            let mut merged: HashMap<Place, usize> = HashMap::new();
            for (place, members) in crowded.await.into_iter().flatten() {
                *merged.entry(place).or_default() += members;
            }
            merged.into_iter().collect()
        }
        .boxed()
    }

    fn occupancy(&self, places: Arc<[Place]>) -> BoxFuture<'_, Vec<usize>> {
        let mut merged = vec![0; places.len()];
        let counted = self.ask(move |rooms| {
            let membership = rooms.membership();
            places.iter().map(|place| membership.occupancy(place)).collect::<Vec<_>>()
        });
        async move {
            for members in counted.await {
                merged.iter_mut().zip(members).for_each(|(sum, members)| *sum += members);
            }
            merged
        }
        .boxed()
    }

    fn join<'a>(
        &'a self,
        namespace: &'a str,
        of: &'a Selector,
        rooms: &'a [Room],
    ) -> BoxFuture<'a, usize> {
        async move {
            self.await_subscriptions(namespace, rooms).await;
            let joined = rooms.to_vec();
            let metrics = self.inner.metrics.clone();
            let join = move |rooms: &mut Rooms, member: &Arc<Member>| {
                let is_in = rooms.join(member, &joined);
                if !is_in {
                    metrics.rejected(Rejected::Rooms);
                }
                is_in
            };
            self.for_each(namespace, of, join).await
        }
        .boxed()
    }

    fn leave<'a>(
        &'a self,
        namespace: &'a str,
        of: &'a Selector,
        rooms: &'a [Room],
    ) -> BoxFuture<'a, usize> {
        let left = rooms.to_vec();
        let leave = move |rooms: &mut Rooms, member: &Arc<Member>| {
            rooms.leave(member, &left);
            true
        };
        async move { self.for_each(namespace, of, leave).await }.boxed()
    }

    fn disconnect<'a>(
        &'a self,
        namespace: &'a str,
        of: &'a Selector,
        close: bool,
    ) -> BoxFuture<'a, usize> {
        let dismiss = move |_: &mut Rooms, member: &Arc<Member>| {
            if let Some(client) = member.client.upgrade() {
                client.dismiss(close);
            }
            true
        };
        async move { self.for_each(namespace, of, dismiss).await }.boxed()
    }
}
