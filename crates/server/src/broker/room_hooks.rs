//! What the backend is told of rooms with hooks: a part of the task that follows who is there.
//!
//! Of the instances with occupants in a room, the first one by name tells the backend. That only saves
//! work: whoever writes the room's record in Redis has decided, and the record changes with the events
//! in one step. An instance's rooms are in a list, by which another one sees to them when it is gone.

mod commands;
mod done;
mod lists;
mod stop;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use rookery_config::Hook;
use rookery_ops::throttle::Throttle;
use rookery_policy::{RoomHook, RoomHooks};
use tokio::sync::mpsc;

use super::BrokerParts;
use crate::backend::{Backend, Ended, Notification};
use crate::backplane::Backplane;
use crate::hashing::{HashMap, HashSet};
use crate::message::RoomKey;
use crate::rooms::hooks::event::PendingEvent;
use crate::rooms::hooks::record::MAX_CHANGES;
use crate::rooms::hooks::room::{Command, Context, HookedRoom, Step};
use crate::rooms::presence::occupant::OccupantKey;
use crate::rooms::presence::view::{RoomView, Transitions};
use done::Done;
use lists::Lists;

/// Commands to Redis that are under way at once.
const MAX_UNDER_WAY: usize = 64;

/// Gives what the backend is told of a room.
pub type HooksOf = Arc<dyn Fn(&str) -> RoomHooks + Send + Sync>;

/// What is needed to tell the backend of rooms.
#[derive(Clone)]
pub struct RoomHookParts {
    /// The backend.
    pub backend: Backend,
    /// Gives what it is told of a room.
    pub hooks_of: HooksOf,
    /// How long nobody must have been in a room before it is told as vacated.
    pub vacated_delay: Duration,
}

/// Tells the backend of rooms.
pub(super) struct RoomHookTask {
    parts: Arc<BrokerParts>,
    hooks: RoomHookParts,
    rooms: HashMap<RoomKey, Followed>,
    /// Rooms that may have something to do, each once.
    ready: VecDeque<RoomKey>,
    wakes: BTreeMap<(Instant, u64), RoomKey>,
    serial: u64,
    /// Rooms that wait until the backend's queue has space.
    starved: VecDeque<RoomKey>,
    /// Events in records that are being written, for which the backend's queue needs space.
    reserved: usize,
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
    lists: Lists,
    /// `None`: this instance stops, and gives no more events to the queue.
    tell_ended: Option<mpsc::Sender<EndedEvent>>,
    ended: mpsc::Receiver<EndedEvent>,
    errors: Throttle,
}

struct Followed {
    room: HookedRoom,
    is_ready: bool,
    is_starved: bool,
    wake: Option<(Instant, u64)>,
}

/// An event that the backend has, or that was given up.
struct EndedEvent {
    key: RoomKey,
    number: u64,
    hook: RoomHook,
    ended: Ended,
}

impl RoomHookTask {
    /// A task that tells nothing yet; `None`: there is no backend to be told.
    pub fn new(parts: &Arc<BrokerParts>) -> Option<Self> {
        let hooks = parts.room_hooks.clone()?;
        let (tell_ended, ended) = mpsc::channel(hooks.backend.free_for_rooms() + MAX_CHANGES);
        Some(RoomHookTask {
            parts: parts.clone(),
            hooks,
            rooms: HashMap::default(),
            ready: VecDeque::new(),
            wakes: BTreeMap::new(),
            serial: 0,
            starved: VecDeque::new(),
            reserved: 0,
            under_way: FuturesUnordered::new(),
            lists: Lists::new(Instant::now()),
            tell_ended: Some(tell_ended),
            ended,
            errors: Throttle::new(&parts.metrics.log_lines_suppressed),
        })
    }

    /// Who is in a room may have changed. `is_settled`: who is on other instances is known;
    /// `unconfirmed`: who came or went here and is not in Redis yet.
    pub fn observe(
        &mut self,
        key: &RoomKey,
        (view, changes): (&RoomView, &Transitions),
        (is_settled, unconfirmed): (bool, &HashSet<OccupantKey>),
    ) {
        let is_followed = self.rooms.contains_key(key);
        if !is_followed && (view.is_own_empty() || (self.hooks.hooks_of)(&key.room).is_empty()) {
            return;
        }
        let (pod, now) = (self.parts.rooms.pod().clone(), Instant::now());
        let is_settled = is_settled || self.parts.backplane.is_none();
        let room = &mut self.follow(key).room;
        room.observe((&*pod, view), changes, (is_settled, unconfirmed), now);
        self.wake(key);
    }

    /// Nobody is in a room on this instance any more, and Redis has that.
    pub fn left_here(&mut self, key: &RoomKey) {
        if let Some(followed) = self.rooms.get_mut(key) {
            followed.room.left_here();
            self.wake(key);
        }
    }

    /// A room is to be looked at again.
    pub fn check(&mut self, key: &RoomKey) {
        if let Some(followed) = self.rooms.get_mut(key) {
            followed.room.check();
            self.wake(key);
        }
    }

    /// Redis is connected, and may have lost everything.
    pub fn check_all(&mut self) {
        let keys: Vec<RoomKey> = self.rooms.keys().cloned().collect();
        keys.iter().for_each(|key| self.check(key));
        self.lists.must_announce();
    }

    /// When something is to be done that nothing else causes.
    pub fn next_due(&self) -> Option<Instant> {
        self.wakes.first_key_value().map(|((due, _), _)| *due)
    }

    /// Resolves when a command to Redis has ended, or the backend has an event; at once dealt with.
    pub async fn event(&mut self) {
        use futures_util::StreamExt as _;
        tokio::select! {
            Some(done) = self.under_way.next(), if !self.under_way.is_empty() => self.done(done),
            Some(ended) = self.ended.recv() => {
                self.event_ended(ended);
                // Those of one request end together, so that each room's are removed together.
                while let Ok(ended) = self.ended.try_recv() {
                    self.event_ended(ended);
                }
            }
        }
    }

    /// Does what can be done now; gives the rooms whose occupants are to be read again.
    pub fn advance(&mut self) -> Vec<RoomKey> {
        let now = Instant::now();
        while let Some(entry) = self.wakes.first_entry()
            && entry.key().0 <= now
        {
            let key = entry.remove();
            self.wake(&key);
        }
        self.feed();
        let mut doubtful = Vec::new();
        while self.under_way.len() < MAX_UNDER_WAY
            && let Some(key) = self.ready.pop_front()
        {
            self.advance_room(&key, &mut doubtful);
        }
        doubtful
    }

    /// Wakes as many rooms that wait for space in the backend's queue as it has space.
    fn feed(&mut self) {
        for _ in 0..self.space().min(self.starved.len()) {
            let Some(key) = self.starved.pop_front() else { return };
            if let Some(followed) = self.rooms.get_mut(&key) {
                followed.is_starved = false;
            }
            self.wake(&key);
        }
    }

    fn follow(&mut self, key: &RoomKey) -> &mut Followed {
        let now = Instant::now();
        let is_alone = self.parts.backplane.is_none();
        self.rooms.entry(key.clone()).or_insert_with(|| {
            let room = if is_alone { HookedRoom::alone(now) } else { HookedRoom::new(now) };
            Followed { room, is_ready: false, is_starved: false, wake: None }
        })
    }

    /// Something may be to be done about a room.
    fn wake(&mut self, key: &RoomKey) {
        let Some(followed) = self.rooms.get_mut(key) else { return };
        if !std::mem::replace(&mut followed.is_ready, true) {
            self.ready.push_back(key.clone());
        }
    }

    /// The backplane, where it is up.
    fn up(&self) -> Option<&Backplane> {
        self.parts.backplane.as_ref().filter(|backplane| backplane.is_up())
    }

    /// How many events the backend's queue can take, so that there is space for what becomes of them.
    fn free(&self) -> usize {
        self.hooks.backend.free_for_rooms().saturating_sub(self.ended.len())
    }

    /// How many events may be decided about now.
    fn space(&self) -> usize {
        self.free().saturating_sub(self.reserved).min(MAX_CHANGES)
    }

    fn advance_room(&mut self, key: &RoomKey, doubtful: &mut Vec<RoomKey>) {
        self.send_events(key);
        loop {
            let has_redis = self.parts.backplane.is_some();
            let is_down = has_redis && self.up().is_none();
            let step = match is_down {
                true => None,
                false => self.with_room(key, HookedRoom::next).flatten(),
            };
            let Some(step) = step else { break };
            match step {
                Step::AwaitSpace => {
                    self.starve(key);
                    break;
                }
                Step::Forget => drop(self.rooms.remove(key)),
                Step::LoadView => doubtful.push(key.clone()),
                Step::Command(Command::Write(write)) if !has_redis => {
                    self.with_room(key, |room, context| room.written(*write, None, context));
                    self.send_events(key);
                }
                Step::Command(command) => self.begin(key.clone(), command),
            }
        }
        self.sleep(key);
    }

    /// Something is done with a room, and what it depends on.
    fn with_room<T>(
        &mut self,
        key: &RoomKey,
        then: impl FnOnce(&mut HookedRoom, &Context) -> T,
    ) -> Option<T> {
        let space = self.space();
        let followed = self.rooms.get_mut(key)?;
        let backplane = self.parts.backplane.as_ref();
        let context = Context {
            key,
            pod: self.parts.rooms.pod(),
            hooks: (self.hooks.hooks_of)(&key.room),
            vacated_delay: self.hooks.vacated_delay,
            space,
            has_redis: backplane.is_some(),
            has_heard_all: backplane.is_none_or(Backplane::has_heard_all),
            gone: self.lists.gone(),
            now: Instant::now(),
            at: SystemTime::now(),
        };
        Some(then(&mut followed.room, &context))
    }

    /// A room is looked at again when it says so.
    fn sleep(&mut self, key: &RoomKey) {
        let Some(followed) = self.rooms.get_mut(key) else { return };
        followed.is_ready = false;
        if let Some(before) = followed.wake.take() {
            self.wakes.remove(&before);
        }
        if let Some(at) = followed.room.wake_at() {
            self.serial += 1;
            followed.wake = Some((at, self.serial));
            self.wakes.insert((at, self.serial), key.clone());
        }
    }

    /// Gives a room's events to the backend's queue, as many as it has space for.
    fn send_events(&mut self, key: &RoomKey) {
        let space = self.free();
        let Some(tell_ended) = &self.tell_ended else { return };
        let Some(followed) = self.rooms.get_mut(key) else { return };
        for (number, event) in followed.room.take_unsent(space) {
            let PendingEvent { id, hook, body } = event;
            let (ended, key) = (tell_ended.clone(), key.clone());
            let on_end = move |end| {
                // There is space for all that the backend's queue holds.
                let _ = ended.try_send(EndedEvent { key, number, hook, ended: end });
            };
            self.hooks.backend.notify(Notification {
                hook: Hook::Rooms,
                id,
                body,
                on_reply: None,
                on_end: Some(Box::new(on_end)),
            });
        }
        if followed.room.has_unsent() {
            self.starve(key);
        }
    }

    /// A room waits until the backend's queue has space.
    fn starve(&mut self, key: &RoomKey) {
        let Some(followed) = self.rooms.get_mut(key) else { return };
        if !std::mem::replace(&mut followed.is_starved, true) {
            self.starved.push_back(key.clone());
        }
    }

    fn event_ended(&mut self, event: EndedEvent) {
        let EndedEvent { key, number, hook, ended } = event;
        self.parts.metrics.backend.room_event(hook, ended == Ended::Accepted);
        if let Some(followed) = self.rooms.get_mut(&key) {
            followed.room.event_ended(number);
            self.wake(&key);
        }
    }
}
