//! The [`RoomState`] of a room with presence or hooks: what is known, told, written and to be read of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rookery_protocol::Data;
use smallvec::smallvec;
use tokio::sync::oneshot;

use crate::backplane::presence::PresenceWrite;
use crate::broker::BrokerParts;
use crate::hashing::{HashMap, HashSet};
use crate::message::{MemberId, PodId, Publication, RoomKey, Source};
use crate::rooms::index::ShardSet;
use crate::rooms::presence::occupant::{Occupant, OccupantKey};
use crate::rooms::presence::view::{PodChange, PodOccupants, RoomView, Transitions};

/// How often a room is written and read again, which makes up for whatever was lost.
const REFRESH: Duration = Duration::from_secs(60);

/// After how long a room is read again in which an instance is missing that is alive.
const DOUBT: Duration = Duration::from_secs(3);

/// A room that somebody here is in, or was until a moment ago.
pub(super) struct RoomState {
    /// Who is there.
    pub view: RoomView,
    /// The shards with members of the room that are told who is there.
    shards: ShardSet,
    /// The shards that hold its roster.
    holding: ShardSet,
    /// Occupants here that changed since they were written.
    unwritten: HashSet<OccupantKey>,
    /// The same, with those that are being written.
    unconfirmed: HashSet<OccupantKey>,
    /// The number of the last change that was told; 0: nobody is told to be here.
    version: u64,
    /// Joins that wait.
    waiting: Vec<oneshot::Sender<()>>,
    is_loaded: bool,
    must_load: bool,
    is_loading: bool,
    is_queued: bool,
    is_under_way: bool,
    refresh_at: Instant,
    /// Instances that are alive and were missing when the room was read.
    doubted: HashSet<String>,
    /// The number that was told last of a room with too many to name.
    told_count: usize,
}

/// A writing that begins.
pub(super) struct Begun {
    /// What is written.
    pub write: PresenceWrite,
    /// Joins that wait for it.
    pub waiting: Vec<oneshot::Sender<()>>,
}

impl RoomState {
    /// A room that nobody is in.
    pub fn new(now: Instant) -> Self {
        RoomState {
            view: RoomView::default(),
            shards: ShardSet::default(),
            holding: ShardSet::default(),
            unwritten: HashSet::default(),
            unconfirmed: HashSet::default(),
            version: 0,
            waiting: Vec::new(),
            is_loaded: false,
            must_load: false,
            is_loading: false,
            is_queued: false,
            is_under_way: false,
            refresh_at: now + REFRESH,
            doubted: HashSet::default(),
            told_count: 0,
        }
    }

    /// Occupants here changed; `is_written`: they are to be written.
    pub fn set_local(
        &mut self,
        occupants: Vec<(OccupantKey, Option<Arc<Occupant>>)>,
        shards: ShardSet,
        is_written: bool,
    ) {
        self.shards = shards;
        for (key, occupant) in occupants {
            if is_written {
                self.unwritten.insert(key.clone());
                self.unconfirmed.insert(key.clone());
            }
            self.view.set_own(key, occupant);
        }
    }

    /// Joins wait until the room is written, and read for the first time.
    pub fn wait(&mut self, waiting: Vec<oneshot::Sender<()>>) {
        self.waiting.extend(waiting);
    }

    /// Redis is not connected: nobody waits for it.
    pub fn give_up(&mut self) {
        self.is_queued = false;
        confirm(std::mem::take(&mut self.waiting));
    }

    /// The room is to be read again.
    pub fn must_load(&mut self) {
        self.must_load = true;
    }

    /// Everything is to be written and read again.
    pub fn write_all(&mut self) {
        self.unwritten.extend(self.view.own_keys().cloned());
        self.must_load = true;
    }

    /// Marks the room as queued; false where it is already.
    pub fn enqueue(&mut self) -> bool {
        !self.is_under_way && !std::mem::replace(&mut self.is_queued, true)
    }

    /// Whether something is to be written or read, or a join waits.
    pub fn is_due(&self) -> bool {
        let is_unread = self.must_load || !self.is_loaded;
        let is_waited_for = !self.waiting.is_empty();
        is_waited_for || !self.unwritten.is_empty() || (self.has_occupants() && is_unread)
    }

    /// Whether the room is to be written and read again; true once.
    pub fn is_refresh_due(&mut self, now: Instant) -> bool {
        let is_due = self.has_occupants() && now >= self.refresh_at;
        if is_due {
            self.refresh_at = now + REFRESH;
            self.must_load = true;
        }
        is_due
    }

    /// Whether the occupants of other instances are known.
    pub fn is_settled(&self) -> bool {
        self.is_loaded && !self.must_load && !self.is_loading
    }

    /// Occupants here that changed and that Redis may not have yet.
    pub fn unconfirmed(&self) -> &HashSet<OccupantKey> {
        &self.unconfirmed
    }

    /// Whether nobody is here.
    pub fn is_unoccupied(&self) -> bool {
        !self.has_occupants()
    }

    /// Whether nothing is to be done any more.
    pub fn is_unused(&self) -> bool {
        self.is_unoccupied()
            && self.unwritten.is_empty()
            && !self.is_under_way
            && self.waiting.is_empty()
            && self.holding.is_empty()
    }

    fn has_occupants(&self) -> bool {
        !self.shards.is_empty() || !self.view.is_own_empty()
    }

    /// Begins to write and read what is due, as the change of this number; `None`: nothing is.
    pub fn begin(&mut self, key: &RoomKey, version: u64) -> Option<Begun> {
        self.is_queued = false;
        let load = self.has_occupants() && (self.must_load || !self.is_loaded);
        if self.unwritten.is_empty() && !load {
            self.give_up();
            return None;
        }
        self.must_load = false;
        self.is_loading = load;
        self.is_under_way = true;
        let (mut set, mut remove) = (Vec::new(), Vec::new());
        for key in std::mem::take(&mut self.unwritten) {
            match self.view.own(&key) {
                Some(occupant) => set.push(occupant.clone()),
                None => remove.push(key),
            }
        }
        let is_changed = !set.is_empty() || !remove.is_empty();
        let number = if is_changed { version } else { self.version };
        let version = (!self.view.is_own_empty()).then_some(number);
        let waiting = std::mem::take(&mut self.waiting);
        Some(Begun {
            write: PresenceWrite { key: key.clone(), set, remove, version, load },
            waiting,
        })
    }

    /// It is written, as the change of this number; gives what the others are told.
    pub fn written(&mut self, write: PresenceWrite, version: u64) -> Option<PodChange> {
        self.is_under_way = false;
        self.is_loading = false;
        self.is_loaded |= write.load;
        let removed = write.remove.iter();
        for key in write.set.iter().map(|occupant| &occupant.key).chain(removed) {
            if !self.unwritten.contains(key) {
                self.unconfirmed.remove(key);
            }
        }
        if write.set.is_empty() && write.remove.is_empty() {
            return None;
        }
        let joined = write.set.iter().map(|occupant| Occupant::clone(occupant)).collect();
        let change = PodChange { previous: self.version, version, joined, left: write.remove };
        self.version = write.version.unwrap_or(0);
        Some(change)
    }

    /// It could not be written or read, and is tried again.
    pub fn failed(&mut self, write: PresenceWrite) {
        self.is_under_way = false;
        self.is_loading = false;
        self.must_load |= write.load;
        self.unwritten.extend(write.remove);
        self.unwritten.extend(write.set.iter().map(|occupant| occupant.key.clone()));
    }

    /// The room was read. True: an instance is missing that `is_alive`, and it is to be read again
    /// soon. Where not every instance `is_heard` yet, none is missed.
    pub fn loaded(
        &mut self,
        mut loaded: HashMap<String, PodOccupants>,
        own: &PodId,
        is_heard: bool,
        is_alive: impl Fn(&str) -> bool,
    ) -> bool {
        self.check_own(loaded.remove(&**own).unwrap_or_default());
        let missing = self.view.pods().filter(|pod| !loaded.contains_key(*pod));
        let missing: HashSet<String> =
            missing.filter(|pod| is_alive(pod)).map(str::to_owned).collect();
        self.doubted.retain(|pod| missing.contains(pod));
        let doubted = &self.doubted;
        self.view
            .load(loaded, |pod| !is_heard || (missing.contains(pod) && !doubted.contains(pod)));
        let is_missed = missing.iter().any(|pod| !self.doubted.contains(pod));
        if is_missed {
            self.refresh_at = self.refresh_at.min(Instant::now() + DOUBT);
        }
        if is_heard {
            self.doubted = missing;
        }
        is_heard && is_missed
    }

    /// Compares what Redis has of this instance with what it should have.
    fn check_own(&mut self, stored: PodOccupants) {
        let stale = stored.occupants.keys().filter(|key| self.view.own(key).is_none());
        let lost = self.view.own_keys().filter(|key| !stored.occupants.contains_key(*key));
        let wrong: Vec<OccupantKey> = stale.chain(lost).cloned().collect();
        self.unwritten.extend(wrong);
    }

    /// Tells the shards who is there, and the members who came and went; not its own `early` members.
    /// Gives who came and went.
    pub async fn tell(
        &mut self,
        parts: &BrokerParts,
        key: &RoomKey,
        max: usize,
        early: &[MemberId],
    ) -> Transitions {
        let before = self.view.count();
        let transitions = self.view.transitions();
        let to = (self.shards, self.holding.without(self.shards));
        let is_same = transitions == Transitions::default();
        if is_same && to.1.is_empty() && self.shards.without(self.holding).is_empty() {
            return transitions;
        }
        self.holding = self.shards;
        let roster = self.view.roster(max);
        let mut events = Vec::new();
        if !self.shards.is_empty() && before.max(roster.count) <= max {
            let Transitions { joined, left, .. } = &transitions;
            let counted = |event, of: &Occupant, except: &[MemberId]| {
                publication(key, event, occupant_data(key, of), except)
            };
            events.extend(left.iter().map(|of| counted(LEAVE, of, &[])));
            events.extend(joined.iter().map(|of| counted(JOIN, of, early)));
            parts.metrics.presence.leaves.inc_by(left.len() as u64);
            parts.metrics.presence.joins.inc_by(joined.len() as u64);
        }
        events.iter().for_each(|event| parts.metrics.published(event.source));
        parts.rooms.set_roster(key, to, roster, events).await;
        transitions
    }

    /// Tells the members the number, where there are too many to name and it changed.
    pub async fn tell_count(&mut self, parts: &BrokerParts, key: &RoomKey, max: usize) {
        let count = self.view.count();
        if count <= max || count == self.told_count || self.shards.is_empty() {
            return;
        }
        self.told_count = count;
        let data = vec![
            ("room".into(), Data::from(&*key.room)),
            ("count".into(), Data::Number(count.into())),
        ];
        let event = publication(key, COUNT, Data::Object(data), &[]);
        parts.metrics.published(event.source);
        let to = (self.shards, ShardSet::default());
        parts.rooms.set_roster(key, to, self.view.roster(max), vec![event]).await;
    }
}

/// Lets joins go on.
pub(super) fn confirm(waiting: Vec<oneshot::Sender<()>>) {
    for join in waiting {
        // It may have been given up.
        let _ = join.send(());
    }
}

/// The event of an occupant that came: `{room, user or id, info}`.
const JOIN: &str = "presence:join";

/// The event of an occupant that went: the same.
const LEAVE: &str = "presence:leave";

/// The event of a room with too many occupants to name: `{room, count}`.
const COUNT: &str = "presence:count";

fn occupant_data(key: &RoomKey, occupant: &Occupant) -> Data {
    let mut fields = vec![("room".into(), Data::from(&*key.room))];
    if let Data::Object(own) = occupant.to_data() {
        fields.extend(own);
    }
    Data::Object(fields)
}

fn publication(key: &RoomKey, event: &str, data: Data, except: &[MemberId]) -> Publication {
    Publication {
        id: event.into(),
        namespace: key.namespace.clone(),
        rooms: smallvec![key.room.clone()],
        except: except.iter().map(|id| id.room().clone()).collect(),
        event: event.to_owned(),
        args: smallvec![data],
        volatile: false,
        compress: true,
        source: Source::Presence,
        address: None,
        accepted: Instant::now(),
        traceparent: None,
    }
}
