//! A [`Shard`]: owner of some sessions' rooms; everything that changes or uses them is a command
//! in its queue.

mod rooms;

use std::sync::Arc;
use std::time::Instant;

use rookery_protocol::Room;
use rookery_protocol::encoded::Encoded;
use tokio::sync::{mpsc, oneshot};

use super::batch::{Arrival, Batch};
use super::encoded_publication::EncodedPublication;
use super::interest::Interest;
use super::member::Member;
use super::recipients::Recipient;
use super::scheduler::BatchScheduler;
use crate::connection::outbox::{Delivered, PacketBatch};
use crate::telemetry::latency::DeliveryRecorder;
use crate::telemetry::metrics::Outcome;
pub use rooms::ShardRooms;

/// Commands that may wait for a shard; publishers wait beyond it.
pub const QUEUE: usize = 16 << 10;

/// Commands taken at once; the publications among them become batches.
const TAKEN: usize = 1024;

/// Publications being delivered beyond which nothing more is taken from the queue.
const BACKLOG: usize = 4 * TAKEN;

/// Deliveries of one batch before other batches are served.
const CHUNK: usize = 512;

/// Deliveries before the sessions of the shard are served.
const TURN: usize = 2 * CHUNK;

/// What a join or leave came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipChange {
    /// It is made.
    Done,
    /// The member would be in more rooms than `limits.roomsPerClient`; nothing changed.
    TooManyRooms,
}

/// Makes the answer to a join or leave. It is written to the member's outbox in the step that
/// changes the membership; `None`: there is no answer.
pub type Reply = Box<dyn FnOnce(MembershipChange) -> Option<Encoded> + Send>;

/// What a shard is told.
pub enum ShardCommand {
    /// A client is connected to a namespace.
    Connect(Arc<Member>),
    /// It is disconnected from it.
    Disconnect(Arc<Member>),
    /// It joins rooms, all or none.
    Join {
        /// The member that joins.
        member: Arc<Member>,
        /// The rooms that it joins.
        rooms: Vec<Room>,
        /// An interest in each room, where there are other instances.
        interests: Vec<Option<Interest>>,
        /// Makes the answer.
        reply: Reply,
    },
    /// It leaves rooms.
    Leave {
        /// The member that leaves.
        member: Arc<Member>,
        /// The rooms that it leaves.
        rooms: Vec<Room>,
        /// Makes the answer.
        reply: Reply,
    },
    /// A publication; the number of recipients goes to whoever waits for it.
    Publish(Arc<EncodedPublication>, Option<oneshot::Sender<usize>>),
    /// A question or order of the HTTP API or of another instance.
    Query(Box<dyn FnOnce(&mut ShardRooms) + Send>),
}

/// Owner of the rooms of the sessions of one core.
pub struct Shard {
    rooms: ShardRooms,
    recorder: Arc<DeliveryRecorder>,
    queue: mpsc::Receiver<ShardCommand>,
    batches: BatchScheduler,
    /// When the kernel took each packet of the run that is being delivered.
    written_at: Vec<Instant>,
}

impl Shard {
    /// A shard that reads `queue`.
    pub fn new(
        rooms: ShardRooms,
        recorder: Arc<DeliveryRecorder>,
        queue: mpsc::Receiver<ShardCommand>,
    ) -> Self {
        Shard {
            rooms,
            recorder,
            queue,
            batches: BatchScheduler::default(),
            written_at: Vec::with_capacity(CHUNK),
        }
    }

    /// Works until the queue is closed and empty.
    pub async fn run(mut self) {
        let mut commands = Vec::with_capacity(TAKEN);
        loop {
            if self.batches.backlog() == 0 {
                if self.queue.recv_many(&mut commands, TAKEN).await == 0 {
                    return;
                }
            } else if self.batches.backlog() < BACKLOG {
                while commands.len() < TAKEN
                    && let Ok(command) = self.queue.try_recv()
                {
                    commands.push(command);
                }
            }
            for command in commands.drain(..) {
                self.handle(command);
            }
            self.batches.begin_ready(self.rooms.membership());
            self.deliver();
            tokio::task::yield_now().await;
        }
    }

    fn handle(&mut self, command: ShardCommand) {
        if let ShardCommand::Publish(publication, count) = command {
            let membership = self.rooms.membership();
            let exclusion = membership.exclusion(&publication.namespace, &publication.except);
            let arrival = Arrival { publication, count, exclusion };
            return self.batches.collect(arrival.counted(membership));
        }
        // What was published before a change of the membership is for the members before it.
        self.batches.begin_ready(self.rooms.membership());
        match command {
            ShardCommand::Connect(member) => self.rooms.add(member),
            ShardCommand::Disconnect(member) => self.rooms.remove(&member),
            ShardCommand::Join { member, rooms, mut interests, reply } => {
                if let Some(change) = self.rooms.join(&member, &rooms, &mut interests) {
                    send(&member, reply(change));
                }
            }
            ShardCommand::Leave { member, rooms, reply } => {
                self.rooms.leave(&member, &rooms);
                send(&member, reply(MembershipChange::Done));
            }
            ShardCommand::Query(query) => query(&mut self.rooms),
            ShardCommand::Publish(..) => {}
        }
    }

    fn deliver(&mut self) {
        let mut delivered = 0;
        while delivered < TURN
            && let Some(mut batch) = self.batches.take_next()
        {
            delivered += self.deliver_chunk(&mut batch);
            self.batches.put_back(batch);
        }
    }

    /// Serves the next recipients of a batch; gives how many.
    fn deliver_chunk(&mut self, batch: &mut Batch) -> usize {
        let start = batch.served();
        let end = batch.recipients().len().min(start + CHUNK);
        let EncodedPublication { namespace, rooms, .. } = &**batch.first();
        // Also before the first chunk: a leave may have been answered since the batch began.
        let changed = self.rooms.membership().changed(namespace, rooms, batch.recipients());
        let mut at = start;
        while at < end {
            let run = at..batch.run_end(at, end);
            if let Some(packets) = batch.packets(at) {
                let still_in = changed.then_some(&batch.first().rooms[..]);
                let recipients = &batch.recipients().list()[run.clone()];
                self.deliver_run(&packets, recipients, still_in);
            }
            at = run.end;
        }
        batch.set_served(end);
        end - start
    }

    /// Delivers the same packets to neighbours in a list of recipients; with `still_in` only to
    /// those that are still in one of these rooms.
    fn deliver_run(
        &mut self,
        packets: &PacketBatch,
        recipients: &[Recipient],
        still_in: Option<&[Room]>,
    ) {
        let (mut gone, mut written) = (0, 0);
        let tags = || packets.packets().iter().filter_map(|packet| packet.tag.as_deref());
        let traced = || tags().any(|tag| tag.trace.is_some());
        let timed = self.recorder.is_due(recipients.len() * packets.packets().len()) || traced();
        self.written_at.clear();
        for recipient in recipients {
            if let Some(rooms) = still_in
                && !self.rooms.membership().is_in(&recipient.member, rooms)
            {
                // It left and was answered, or it is gone.
                gone += u64::from(recipient.outbox.ending().is_some());
                continue;
            }
            match recipient.outbox.deliver(packets) {
                Delivered::Written => {
                    written += 1;
                    if timed {
                        self.written_at.push(Instant::now());
                    }
                }
                Delivered::Kept => {}
                Delivered::Gone => gone += 1,
            }
        }
        self.recorder.written_together(tags(), written, &self.written_at);
        if gone > 0 {
            tags().for_each(|tag| tag.lost(gone));
            self.recorder.dropped(Outcome::Gone, gone * packets.packets().len() as u64);
        }
    }
}

fn send(member: &Member, packet: Option<Encoded>) {
    if let Some(packet) = packet {
        member.outbox.send(Arc::new(packet));
    }
}

#[cfg(test)]
mod tests;
