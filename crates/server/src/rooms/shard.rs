//! A [`Shard`]: owner of some sessions' rooms; everything that changes or uses them is a message
//! in its queue.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::batch::{Batches, Job};
use super::envelope::Envelope;
use super::index::Index;
use super::member::Member;
use super::membership::{Joined, Membership};
use crate::connection::outbox::Delivered;
use crate::telemetry::latency::DeliveryRecorder;
use crate::telemetry::metrics::Outcome;
use rookery_protocol::Room;
use rookery_protocol::encoded::Encoded;

/// Messages that may wait for a shard; publishers wait beyond it.
pub const QUEUE: usize = 16 << 10;

/// Messages taken at once, which become one batch.
const BATCH: usize = 1024;

/// Publications being worked off beyond which nothing more is taken from the queue.
const BACKLOG: usize = 4 * BATCH;

/// Deliveries of one target in one turn.
const CHUNK: usize = 512;

/// Deliveries before the sessions of the shard have their turn.
const TURN: usize = 2 * CHUNK;

/// The answer to a join or leave, written in the step that changes the membership.
pub trait Answer: Send {
    /// The change is made; what the client gets.
    fn done(self: Box<Self>) -> Option<Encoded>;

    /// The client would be in too many rooms; what it gets.
    fn too_many_rooms(self: Box<Self>) -> Option<Encoded>;
}

/// What a shard is told.
pub enum Message {
    /// A client is connected to a namespace.
    Arrive(Arc<Member>),
    /// It is gone.
    Depart(Arc<Member>),
    /// It joins rooms, all or none.
    Join(Arc<Member>, Vec<Room>, Box<dyn Answer>),
    /// It leaves rooms.
    Leave(Arc<Member>, Vec<Room>, Box<dyn Answer>),
    /// A publication; the number of recipients goes to whoever waits for it.
    Publish(Arc<Envelope>, Option<oneshot::Sender<usize>>),
    /// A question or command of the HTTP API or of another instance.
    Ask(Box<dyn FnOnce(&mut Rooms) + Send>),
}

/// Hears when a room becomes occupied on this pod, or vacated: the Redis subscriptions.
pub trait Occupation: Send + Sync {
    /// The pod has its first member of the room.
    fn occupied(&self, namespace: &Arc<str>, room: &Room);

    /// The pod's last member of the room left.
    fn vacated(&self, namespace: &Arc<str>, room: &Room);
}

/// The membership of a shard, and who has to hear of its changes.
pub struct Rooms {
    shard: usize,
    membership: Membership,
    index: Arc<Index>,
    occupation: Arc<dyn Occupation>,
    limit: Arc<std::sync::atomic::AtomicUsize>,
}

/// Owner of the rooms of the sessions of one core.
pub struct Shard {
    rooms: Rooms,
    recorder: Arc<DeliveryRecorder>,
    queue: mpsc::Receiver<Message>,
    batches: Batches,
    times: Vec<Instant>,
}

impl Rooms {
    /// No members yet. `limit` is how many rooms one member may be in.
    pub fn new(
        shard: usize,
        index: Arc<Index>,
        occupation: Arc<dyn Occupation>,
        limit: Arc<std::sync::atomic::AtomicUsize>,
    ) -> Self {
        Rooms { shard, membership: Membership::default(), index, occupation, limit }
    }

    /// The membership, to read.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Adds a member to rooms, within `limits.roomsPerClient`; false: it was too many.
    pub fn join(&mut self, member: &Member, rooms: &[Room]) -> bool {
        let limit = self.limit.load(std::sync::atomic::Ordering::Relaxed);
        match self.membership.join(member, rooms, limit) {
            Joined::In(occupied) => {
                for room in rooms {
                    let (namespace, user) = (&*member.namespace, member.user.as_deref());
                    debug!(member = &*member.id, namespace, user, room = &**room, "joined a room");
                }
                for room in occupied {
                    if self.index.occupied(&member.namespace, &room, self.shard) {
                        self.occupation.occupied(&member.namespace, &room);
                    }
                }
                true
            }
            Joined::TooMany => false,
            Joined::Gone => true,
        }
    }

    /// Removes a member from rooms.
    pub fn leave(&mut self, member: &Member, rooms: &[Room]) {
        let vacated = self.membership.leave(member, rooms);
        for room in rooms {
            let (namespace, user) = (&*member.namespace, member.user.as_deref());
            debug!(member = &*member.id, namespace, user, room = &**room, "left a room");
        }
        self.vacate(&member.namespace, vacated);
    }

    fn depart(&mut self, member: &Member) {
        let vacated = self.membership.depart(member);
        self.vacate(&member.namespace, vacated);
    }

    fn vacate(&self, namespace: &Arc<str>, rooms: Vec<Room>) {
        for room in rooms {
            if self.index.vacated(namespace, &room, self.shard) {
                self.occupation.vacated(namespace, &room);
            }
        }
    }
}

impl Shard {
    /// A shard that reads `queue`.
    pub fn new(
        rooms: Rooms,
        recorder: Arc<DeliveryRecorder>,
        queue: mpsc::Receiver<Message>,
    ) -> Self {
        Shard {
            rooms,
            recorder,
            queue,
            batches: Batches::default(),
            times: Vec::with_capacity(CHUNK),
        }
    }

    /// Works until the queue is closed and empty.
    pub async fn run(mut self) {
        let mut inbox = Vec::with_capacity(BATCH);
        loop {
            if self.batches.backlog() == 0 {
                if self.queue.recv_many(&mut inbox, BATCH).await == 0 {
                    return;
                }
            } else if self.batches.backlog() < BACKLOG {
                while inbox.len() < BATCH
                    && let Ok(message) = self.queue.try_recv()
                {
                    inbox.push(message);
                }
            }
            for message in inbox.drain(..) {
                self.take(message);
            }
            self.start_jobs();
            self.turn();
            tokio::task::yield_now().await;
        }
    }

    fn take(&mut self, message: Message) {
        if let Message::Publish(envelope, count) = message {
            if let Some(count) = count {
                let p = &envelope.publication;
                let recipients =
                    self.rooms.membership.recipients(&p.namespace, &p.rooms, &p.except);
                let _ = count.send(recipients.members.len());
            }
            self.batches.collect(envelope);
            return;
        }
        // What was published before a change of the membership is for the members before it.
        self.start_jobs();
        match message {
            Message::Arrive(member) => self.rooms.membership.arrive(member),
            Message::Depart(member) => self.rooms.depart(&member),
            Message::Join(member, rooms, answer) => {
                let packet = match self.rooms.join(&member, &rooms) {
                    true => answer.done(),
                    false => answer.too_many_rooms(),
                };
                send(&member, packet);
            }
            Message::Leave(member, rooms, answer) => {
                self.rooms.leave(&member, &rooms);
                send(&member, answer.done());
            }
            Message::Ask(ask) => ask(&mut self.rooms),
            Message::Publish(..) => {}
        }
    }

    fn start_jobs(&mut self) {
        for group in self.batches.ready() {
            let p = &group.first().publication;
            let recipients = self.rooms.membership.recipients(&p.namespace, &p.rooms, &p.except);
            self.batches.begin(group, recipients);
        }
    }

    fn turn(&mut self) {
        let mut delivered = 0;
        while delivered < TURN
            && let Some(mut job) = self.batches.take_turn()
        {
            delivered += self.chunk(&mut job);
            self.batches.put_back(job);
        }
    }

    /// Serves the next recipients of a job; gives how many.
    fn chunk(&mut self, job: &mut Job) -> usize {
        let p = job.first().publication.clone();
        let end = job.recipients.members.len().min(job.served + CHUNK);
        // Also before the first chunk: a leave may have been answered since the job began.
        let check = self.rooms.membership.changed(&p.namespace, &p.rooms, &job.recipients);
        let members = job.recipients.members.clone();
        let start = job.served;
        let mut at = start;
        while at < end {
            let bundle = job.bundle(at);
            let position = job.recipients.rooms.get(at).copied();
            let (mut gone, mut written) = (0, 0);
            let tags = || bundle.packets().iter().filter_map(|packet| packet.tag.as_ref());
            let traced = || tags().any(|tag| tag.trace.is_some());
            let timed = self.recorder.is_due((end - at) * bundle.packets().len()) || traced();
            self.times.clear();
            while at < end && job.recipients.rooms.get(at).copied() == position {
                let seat = &members[at];
                at += 1;
                if check && !self.rooms.membership.is_in(&seat.member, &p.rooms) {
                    // It left and was answered, or it is gone.
                    gone += u64::from(seat.outbox.ending().is_some());
                    continue;
                }
                match seat.outbox.deliver(&bundle) {
                    Delivered::Written => {
                        written += 1;
                        if timed {
                            self.times.push(Instant::now());
                        }
                    }
                    Delivered::Kept => {}
                    Delivered::Gone => gone += 1,
                }
            }
            for tag in tags() {
                self.recorder.written(tag, written, &self.times);
                tag.lost(gone);
            }
            if gone > 0 {
                self.recorder.dropped(Outcome::Gone, gone * bundle.packets().len() as u64);
            }
        }
        job.served = end;
        end - start
    }
}

fn send(member: &Member, packet: Option<Encoded>) {
    if let Some(packet) = packet {
        member.outbox.send(Arc::new(packet));
    }
}

#[cfg(test)]
mod tests;
