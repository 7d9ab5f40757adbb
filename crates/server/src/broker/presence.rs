//! The task that follows who is in rooms with presence or hooks: it tells the shards, writes to Redis who is
//! on this instance, and hears who is on others.
//!
//! Every instance decides by its own view what its members are told, so nobody has to be elected,
//! and a message that is lost is made up for by the next reading of the room.

mod hooks;
mod inbox;
mod pace;
mod pods;
mod room;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use rookery_ops::throttle::{Throttle, limited};
use tokio::sync::{oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::room_hooks::RoomHookTask;
use super::{Broker, BrokerParts};
use crate::backplane::Backplane;
use crate::backplane::presence::{PresenceError, PresenceWrite};
use crate::backplane::wire::presence::PresenceMessage;
use crate::hashing::HashMap;
use crate::message::RoomKey;
use crate::rooms::presence::registry::LocalChange;
use crate::rooms::presence::view::{Applied, PodOccupants};
use hooks::hook_event;
pub(super) use inbox::{Inbox, PeerNews};
use pace::Pace;
use pods::SeenPods;
use room::{Begun, RoomState, confirm};

/// How often other instances, and what is due, are looked at.
const TICK: Duration = Duration::from_millis(500);

/// Rooms that are written or read at once.
const MAX_UNDER_WAY: usize = 64;

/// Rooms whose local changes are taken at once.
const TAKEN: usize = 64;

/// Rooms that nobody here is in and that could not be written; beyond it, they are left to their
/// expiry in Redis.
const MAX_UNWRITTEN: usize = 1 << 16;

/// Follows rooms with presence or hooks.
struct PresenceTask {
    parts: Arc<BrokerParts>,
    max: usize,
    rooms: HashMap<RoomKey, RoomState>,
    /// Rooms to be written or read, each once.
    queue: std::collections::VecDeque<RoomKey>,
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
    pods: SeenPods,
    /// Tells the backend, where there is one that wants to know.
    hooks: Option<RoomHookTask>,
    /// The number of the last change that was written.
    version: u64,
    pace: Pace,
    errors: Throttle,
}

/// A command to Redis that ended.
enum Done {
    Written {
        write: Box<PresenceWrite>,
        version: u64,
        loaded: Result<HashMap<String, PodOccupants>, PresenceError>,
        waiting: Vec<oneshot::Sender<()>>,
    },
    /// Occupants of an instance that is gone.
    Removed(Result<u64, PresenceError>),
}

impl Broker {
    /// Follows rooms with presence or hooks until `stop`. Called once.
    pub async fn follow_presence(self, stop: CancellationToken) {
        let Some(inbox) = self.presence.take() else { return };
        let errors = Throttle::new(&self.parts.metrics.log_lines_suppressed);
        let leave_delay = self.parts.rooms.presence().leave_delay();
        let task = PresenceTask {
            parts: self.parts.clone(),
            max: self.parts.presence_max as usize,
            rooms: HashMap::default(),
            queue: Default::default(),
            under_way: FuturesUnordered::new(),
            pods: SeenPods::new(leave_delay),
            hooks: RoomHookTask::new(&self.parts),
            version: 0,
            pace: Pace::default(),
            errors,
        };
        task.run(inbox, stop).await;
    }
}

impl PresenceTask {
    async fn run(mut self, mut inbox: inbox::Receiver, stop: CancellationToken) {
        let registry = self.parts.rooms.presence().clone();
        let mut link = self.parts.backplane.as_ref().map(Backplane::follow_link);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = registry.next_due();
            let hooks_due = self.hooks.as_ref().and_then(RoomHookTask::next_due);
            tokio::select! {
                () = stop.cancelled() => break,
                () = hook_event(&mut self.hooks) => {}
                () = until(hooks_due) => {}
                Some(done) = self.under_way.next(), if !self.under_way.is_empty() => {
                    self.done(done).await;
                }
                is_up = changed(&mut link) => if is_up { self.connected() },
                Some(news) = inbox.recv() => self.heard(news).await,
                () = registry.changed(), if self.pace.due().is_none() => {
                    self.pace.changed(Instant::now());
                }
                () = until(self.pace.due()) => self.take_local().await,
                () = until(due) => self.take_local().await,
                _ = ticks.tick() => self.tick(&mut inbox).await,
            }
            self.advance_hooks();
            self.begin_queued();
        }
        if let Some(hooks) = self.hooks {
            hooks.finish().await;
        }
    }

    /// Takes what changed on this instance.
    async fn take_local(&mut self) {
        let registry = self.parts.rooms.presence().clone();
        loop {
            let changes = registry.changes(Instant::now(), TAKEN);
            if changes.is_empty() {
                break;
            }
            for change in changes {
                self.changed_here(change).await;
            }
        }
        self.pace.taken(Instant::now());
    }

    async fn changed_here(&mut self, change: LocalChange) {
        let is_up = self.up().is_some();
        let has_others = self.parts.backplane.is_some();
        let LocalChange { key, occupants, shards, early, waiting } = change;
        let room = self.rooms.entry(key.clone()).or_insert_with(|| RoomState::new(Instant::now()));
        room.set_local(occupants, shards, has_others);
        self.tell(&key, &early).await;
        match self.rooms.get_mut(&key).filter(|_| is_up) {
            Some(room) => {
                room.wait(waiting);
                self.enqueue(&key);
            }
            None => confirm(waiting),
        }
        self.forget_unused(&key);
    }

    /// Another instance told something.
    async fn heard(&mut self, news: PeerNews) {
        match news {
            PeerNews::Stops { pod } => self.pods.stops(pod, Instant::now()),
            PeerNews::Told { pod, presence } => self.told(&pod, presence).await,
        }
    }

    async fn told(&mut self, pod: &str, presence: PresenceMessage) {
        let (key, change) = presence.into_parts();
        let Some(room) = self.rooms.get_mut(&key) else { return };
        self.pods.saw(pod, Instant::now());
        let applied = change.map_or(Applied::Gap, |change| room.view.apply(pod, change));
        match applied {
            Applied::Known => {}
            Applied::Done => self.tell(&key, &[]).await,
            Applied::Gap => {
                room.must_load();
                self.enqueue(&key);
            }
        }
    }

    /// Redis is connected: everything is written again, as it may have lost it.
    fn connected(&mut self) {
        if let Some(hooks) = &mut self.hooks {
            hooks.check_all();
        }
        self.rooms.values_mut().for_each(RoomState::write_all);
        let keys: Vec<RoomKey> = self.rooms.keys().cloned().collect();
        keys.iter().for_each(|key| self.enqueue(key));
    }

    fn enqueue(&mut self, key: &RoomKey) {
        if let Some(room) = self.rooms.get_mut(key)
            && room.enqueue()
        {
            self.queue.push_back(key.clone());
        }
    }

    /// The backplane, where it is up.
    fn up(&self) -> Option<&Backplane> {
        self.parts.backplane.as_ref().filter(|backplane| backplane.is_up())
    }

    fn begin_queued(&mut self) {
        while self.under_way.len() < MAX_UNDER_WAY
            && let Some(key) = self.queue.pop_front()
        {
            let backplane = self.up().cloned();
            let Some(room) = self.rooms.get_mut(&key) else { continue };
            let Some(backplane) = backplane else {
                room.give_up();
                continue;
            };
            let Some(Begun { write, waiting }) = room.begin(&key, self.version + 1) else {
                self.forget_unused(&key);
                continue;
            };
            self.version += 1;
            let version = self.version;
            self.under_way.push(Box::pin(async move {
                let loaded = backplane.write_presence(&write).await;
                Done::Written { write: Box::new(write), version, loaded, waiting }
            }));
        }
    }

    async fn done(&mut self, done: Done) {
        match done {
            Done::Removed(Ok(removed)) => self.parts.metrics.presence.expired.inc_by(removed),
            Done::Removed(Err(error)) => self.failed(&error),
            Done::Written { write, version, loaded, waiting } => {
                let key = write.key.clone();
                match loaded {
                    Ok(loaded) => self.written(*write, version, loaded).await,
                    Err(error) => {
                        self.failed(&error);
                        if let Some(room) = self.rooms.get_mut(&key) {
                            room.failed(*write);
                        }
                    }
                }
                confirm(waiting);
                self.forget_unused(&key);
            }
        }
    }

    async fn written(
        &mut self,
        write: PresenceWrite,
        version: u64,
        loaded: HashMap<String, PodOccupants>,
    ) {
        let Some(backplane) = self.parts.backplane.clone() else { return };
        let Some(room) = self.rooms.get_mut(&write.key) else { return };
        let (key, is_read) = (write.key.clone(), write.load);
        if let Some(change) = room.written(write, version) {
            backplane.tell_presence(&key, Some(&change));
        }
        if is_read {
            loaded.keys().for_each(|pod| self.pods.saw(pod, Instant::now()));
            let peers = backplane.peers();
            let is_alive = |pod: &str| peers.iter().any(|peer| peer == pod);
            if room.loaded(loaded, backplane.pod(), backplane.has_heard_all(), is_alive) {
                // Whoever is missing writes itself again, or has nobody there.
                backplane.tell_presence(&key, None);
            }
        }
        self.tell(&key, &[]).await;
        if self.rooms.get(&key).is_some_and(RoomState::is_due) {
            self.enqueue(&key);
        }
    }

    fn failed(&self, error: &PresenceError) {
        if matches!(error, PresenceError::Down) {
            return;
        }
        self.parts.metrics.presence.redis_errors.inc();
        limited!(self.errors, warn, %error, "Redis does not keep who is in a room; trying again");
    }

    async fn tick(&mut self, inbox: &mut inbox::Receiver) {
        let now = Instant::now();
        self.parts.metrics.presence.rooms.set(i64::try_from(self.rooms.len()).unwrap_or(i64::MAX));
        let has_lost = inbox.has_lost();
        let mut due = Vec::new();
        for (key, room) in &mut self.rooms {
            if has_lost {
                room.must_load();
            }
            let is_refresh_due = room.is_refresh_due(now);
            if is_refresh_due && let Some(hooks) = &mut self.hooks {
                hooks.check(key);
            }
            if is_refresh_due || room.is_due() {
                due.push(key.clone());
            }
            room.tell_count(&self.parts, key, self.max).await;
        }
        self.watch_pods(now);
        if self.parts.backplane.is_some() {
            due.iter().for_each(|key| self.enqueue(key));
            self.remove_gone(now).await;
        }
        if self.up().is_none() && self.rooms.len() > MAX_UNWRITTEN {
            let hooks = &mut self.hooks;
            self.rooms.retain(|key, room| {
                if let Some(hooks) = hooks.as_mut().filter(|_| room.is_unoccupied()) {
                    hooks.left_here(key);
                }
                !room.is_unoccupied()
            });
        }
    }

    /// Removes the occupants of instances that are gone.
    async fn remove_gone(&mut self, now: Instant) {
        let Some(backplane) = self.up().filter(|backplane| backplane.has_heard_all()).cloned()
        else {
            return;
        };
        let alive = backplane.peers();
        for pod in self.pods.gone(&alive, now) {
            if let Some(hooks) = &mut self.hooks {
                hooks.gone(&pod, &alive);
            }
            let mut left = Vec::new();
            for (key, room) in &mut self.rooms {
                let occupants = room.view.remove_pod(&pod);
                if occupants.is_empty() {
                    continue;
                }
                let (backplane, of, pod) = (backplane.clone(), key.clone(), pod.clone());
                self.under_way.push(Box::pin(async move {
                    Done::Removed(backplane.remove_presence(&of, &pod, &occupants).await)
                }));
                left.push(key.clone());
            }
            for key in left {
                self.tell(&key, &[]).await;
            }
        }
    }

    fn forget_unused(&mut self, key: &RoomKey) {
        if self.rooms.get(key).is_some_and(RoomState::is_unused) {
            self.rooms.remove(key);
            if let Some(hooks) = &mut self.hooks {
                hooks.left_here(key);
            }
        }
    }
}

/// Resolves when the link to Redis changes, with whether it is up; never without one.
async fn changed(link: &mut Option<watch::Receiver<bool>>) -> bool {
    let Some(link) = link else { return std::future::pending().await };
    match link.changed().await {
        Ok(()) => *link.borrow_and_update(),
        Err(_) => std::future::pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) if due <= Instant::now() => {}
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
