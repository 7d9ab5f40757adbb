//! The [`ShardState`]: a shard's rooms and the publications that it is delivering.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use rookery_protocol::Room;
use rookery_protocol::encoded::Encoded;
use tokio::sync::oneshot;

use super::command::{Join, ShardCommand};
use super::membership_change::MembershipChange;
use super::rooms::ShardRooms;
use crate::connection::outbox::{Delivered, PacketBatch};
use crate::rooms::batch::{Arrival, Batch};
use crate::rooms::encoded_publication::EncodedPublication;
use crate::rooms::member::Member;
use crate::rooms::recipients::Recipient;
use crate::rooms::scheduler::BatchScheduler;
use crate::telemetry::latency::DeliveryRecorder;
use crate::telemetry::metrics::Outcome;

/// Deliveries of one batch before other batches are served.
pub(super) const CHUNK: usize = 256;

/// Deliveries before the sessions of the shard are served.
const TURN: usize = 2 * CHUNK;

/// Bytes that are delivered of one batch before other batches are served.
const CHUNK_BYTES: usize = 256 << 10;

/// Bytes that are delivered before the sessions of the shard are served.
const TURN_BYTES: usize = 2 * CHUNK_BYTES;

/// Joins that are answered with who is there before the sessions of the shard are served.
pub(super) const JOINS: usize = 4;

/// Bytes of such answers after which the sessions of the shard are served.
pub(super) const ANSWERED_BYTES: usize = 64 << 10;

/// A shard's rooms and the publications that it is delivering.
pub(super) struct ShardState {
    rooms: ShardRooms,
    recorder: Arc<DeliveryRecorder>,
    batches: BatchScheduler,
    /// Joins to be answered with who is there, a few each turn. A client waits for its own, so there are at
    /// most as many as sessions.
    joins: VecDeque<Box<Join>>,
    /// When the kernel took each packet of the run that is being delivered.
    written_at: Vec<Instant>,
}

impl ShardState {
    pub(super) fn new(rooms: ShardRooms, recorder: Arc<DeliveryRecorder>) -> Self {
        let written_at = Vec::with_capacity(CHUNK);
        let (batches, joins) = (BatchScheduler::default(), VecDeque::new());
        ShardState { rooms, recorder, batches, joins, written_at }
    }

    /// Whether there is nothing to do before the next command.
    pub(super) fn is_idle(&self) -> bool {
        self.backlog() == 0 && self.joins.is_empty()
    }

    /// Publications that are not delivered to all their recipients yet.
    pub(super) fn backlog(&self) -> usize {
        self.batches.backlog()
    }

    /// Deliveries of the publications that no delivery was begun of; `None` where others were.
    pub(super) fn collected_deliveries(&self) -> Option<usize> {
        self.batches.collected_deliveries(self.rooms.membership())
    }

    /// Carries out a command. A publication is delivered by [`ShardState::deliver`], a join that is answered
    /// with who is there made by [`ShardState::carry_out_joins`].
    pub(super) fn handle(&mut self, command: ShardCommand) {
        let command = match command {
            ShardCommand::Publish(publication, count) => return self.collect(publication, count),
            ShardCommand::Join(join) if join.carried_out.is_some() => {
                return self.joins.push_back(join);
            }
            command => command,
        };
        // What was published before a change of the membership is for the members before it.
        self.begin_ready();
        match command {
            ShardCommand::Connect(member) => self.rooms.add(member),
            ShardCommand::Disconnect(member) => self.rooms.remove(&member),
            ShardCommand::Join(join) => drop(self.join(*join)),
            ShardCommand::Leave { member, rooms, reply } => {
                self.rooms.leave(&member, &rooms);
                send(&member, reply(MembershipChange::Done, &[]));
            }
            ShardCommand::Presence(update) => {
                self.rooms.set_roster(&update.key, update.roster.as_ref());
                update.events.iter().for_each(|event| self.collect(event.clone(), None));
            }
            ShardCommand::Query(query) => query(&mut self.rooms),
            ShardCommand::Publish(..) => {}
        }
    }

    /// Carries out the joins that are answered with who is there, as many as one turn may.
    pub(super) fn carry_out_joins(&mut self) {
        let (mut joins, mut bytes) = (0, 0);
        while joins < JOINS
            && bytes < ANSWERED_BYTES
            && let Some(mut join) = self.joins.pop_front()
        {
            self.begin_ready();
            let carried_out = join.carried_out.take();
            bytes += self.join(*join).unwrap_or(0);
            joins += 1;
            // The client may be gone.
            let _ = carried_out.map(|carried_out| carried_out.send(()));
        }
    }

    /// Makes a member join rooms; gives the bytes of the answer, where there is one.
    fn join(&mut self, join: Join) -> Option<usize> {
        let Join { member, rooms, mut interests, leases, by_backend, reply, .. } = join;
        let change = if by_backend {
            self.rooms.assign(&member, &rooms, &mut interests)?
        } else {
            self.rooms.join(&member, &rooms, &mut interests)?
        };
        let rosters = match change {
            MembershipChange::Done => self.rooms.keep_leases(&member, &rooms, leases),
            MembershipChange::TooManyRooms => Vec::new(),
        };
        for joined in &rosters {
            self.batches.exclude_presence(&member, &joined.room);
        }
        let answer = reply(change, &rosters);
        let bytes = answer.as_ref().map(Encoded::size);
        send(&member, answer);
        bytes
    }

    fn collect(
        &mut self,
        publication: Arc<EncodedPublication>,
        count: Option<oneshot::Sender<usize>>,
    ) {
        let membership = self.rooms.membership();
        let exclusion = membership.exclusion(&publication.namespace, &publication.except);
        let arrival = Arrival { publication, count, exclusion };
        self.batches.collect(arrival.counted(membership));
    }

    /// Begins what may begin, and delivers for one turn.
    pub(super) fn deliver(&mut self) {
        self.begin_ready();
        let (mut deliveries, mut bytes) = (0, 0);
        while deliveries < TURN
            && bytes < TURN_BYTES
            && let Some(mut batch) = self.batches.take_next()
        {
            let delivered = self.deliver_chunk(&mut batch);
            deliveries += delivered;
            bytes += delivered * batch.size();
            self.batches.put_back(batch);
        }
    }

    fn begin_ready(&mut self) {
        let deliveries = self.batches.begin_ready(self.rooms.membership());
        self.recorder.addressed(deliveries as u64);
    }

    /// Serves the next recipients of a batch; gives how many.
    fn deliver_chunk(&mut self, batch: &mut Batch) -> usize {
        let start = batch.served();
        let most = (CHUNK_BYTES / batch.size().max(1)).clamp(1, CHUNK);
        let end = batch.recipients().len().min(start + most);
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
        let (mut gone, mut written, mut kept) = (0, 0, 0);
        let tags = || packets.packets().iter().filter_map(|packet| packet.tag.as_deref());
        let traced = || tags().any(|tag| tag.trace.is_some());
        let timed = self.recorder.is_due(recipients.len() * packets.packets().len()) || traced();
        self.written_at.clear();
        for recipient in recipients {
            if let Some(rooms) = still_in
                && !self.rooms.membership().is_in(&recipient.member, rooms)
            {
                // It left and was answered, or its session has ended.
                gone += 1;
                continue;
            }
            match recipient.outbox.deliver(packets) {
                Delivered::Written => {
                    written += 1;
                    if timed {
                        self.written_at.push(Instant::now());
                    }
                }
                Delivered::Kept => kept += 1,
                Delivered::Gone => gone += 1,
            }
        }
        self.recorder.written_together(tags(), written, &self.written_at);
        self.recorder.sent(packets.traffic().times(written as u64 + kept));
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
