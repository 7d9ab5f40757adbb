//! The lists of rooms by which an instance sees to those of another one that is gone.

use std::time::{Duration, Instant};

use super::RoomHookTask;
use super::done::{Done, ListDone};
use crate::backplane::Backplane;
use crate::backplane::presence::PresenceError;
use crate::hashing::HashSet;
use crate::message::RoomKey;

/// How often the instances with lists are looked at.
const LOOK: Duration = Duration::from_secs(30);

/// Rooms that are taken over in one step.
const TAKEN: usize = 256;

/// The most instances that are remembered as gone.
const MAX_GONE: usize = 10_000;

/// Which instances are gone, and when lists are looked at.
pub(super) struct Lists {
    look_at: Instant,
    gone: HashSet<String>,
    /// Instances that were seen in Redis alone, to be watched.
    seen: HashSet<String>,
}

impl Lists {
    /// None is gone.
    pub fn new(now: Instant) -> Self {
        Lists { look_at: now, gone: HashSet::default(), seen: HashSet::default() }
    }

    /// Instances that are gone.
    pub fn gone(&self) -> &HashSet<String> {
        &self.gone
    }

    /// This instance's list is announced again soon.
    pub fn must_announce(&mut self) {
        self.look_at = Instant::now();
    }

    /// An instance has something in Redis; whether it is gone.
    pub fn saw(&mut self, pod: &str) -> bool {
        let is_gone = self.gone.contains(pod);
        if !is_gone {
            self.seen.insert(pod.to_owned());
        }
        is_gone
    }
}

impl RoomHookTask {
    /// Instances that were seen in Redis since the last call.
    pub fn take_seen(&mut self) -> Vec<String> {
        self.lists.seen.drain().collect()
    }

    /// Looks at the lists where that is due. `alive` are the other instances that are.
    pub fn tick(&mut self, alive: &[String], now: Instant) {
        let rooms = i64::try_from(self.rooms.len()).unwrap_or(i64::MAX);
        self.parts.metrics.backend.rooms.set(rooms);
        for pod in alive {
            self.lists.gone.remove(pod);
        }
        let Some(backplane) = self.up().filter(|_| now >= self.lists.look_at).cloned() else {
            return;
        };
        self.lists.look_at = now + LOOK;
        self.under_way.push(Box::pin(async move {
            Done::List(backplane.announce_list().await.map(ListDone::Announced))
        }));
    }

    /// An instance is gone: where this one is the first of those that are alive, it sees to its rooms.
    pub fn gone(&mut self, pod: &str, alive: &[String]) {
        if self.lists.gone.len() < MAX_GONE {
            self.lists.gone.insert(pod.to_owned());
        }
        let own = self.parts.rooms.pod().clone();
        if alive.iter().all(|other| *own < **other) {
            self.take_over(pod.to_owned());
        }
    }

    fn take_over(&mut self, pod: String) {
        let Some(backplane) = self.up().cloned() else { return };
        self.under_way.push(Box::pin(async move {
            let taken = take_rooms(&backplane, &pod).await;
            Done::List(taken.map(|rooms| ListDone::Taken(pod, rooms)))
        }));
    }

    pub(super) fn list_done(&mut self, done: ListDone) {
        match done {
            ListDone::Announced(pods) => {
                let own = self.parts.rooms.pod().clone();
                let others = pods.into_iter().filter(|pod| **pod != *own);
                self.lists.seen.extend(others);
            }
            ListDone::Taken(_, rooms) if rooms.is_empty() => {}
            ListDone::Taken(pod, rooms) => {
                for key in &rooms {
                    self.follow(key).room.check();
                    self.wake(key);
                }
                self.take_over(pod);
            }
        }
    }
}

/// Moves some rooms of an instance that is gone to this one's list. A room is in one list at any
/// time, so that it is seen to also where this instance is killed meanwhile.
async fn take_rooms(backplane: &Backplane, pod: &str) -> Result<Vec<RoomKey>, PresenceError> {
    let rooms = backplane.held_rooms(pod, TAKEN).await?;
    if rooms.is_empty() {
        backplane.forget_list(pod).await?;
        return Ok(rooms);
    }
    backplane.hold_rooms(&rooms).await?;
    backplane.release_rooms(Some(pod), &rooms).await?;
    Ok(rooms)
}
