//! The commands to Redis about rooms with hooks, and what becomes of them.

use rookery_ops::throttle::limited;

use super::RoomHookTask;
use super::done::{Done, RoomDone};
use crate::backplane::Backplane;
use crate::backplane::presence::PresenceError;
use crate::message::RoomKey;
use crate::rooms::hooks::room::{Command, Content, RecordWrite, Survey};
use crate::rooms::presence::occupant::OccupantKey;

impl RoomHookTask {
    /// Asks Redis.
    pub(super) fn begin(&mut self, key: RoomKey, command: Command) {
        let Some(backplane) = self.parts.backplane.clone() else { return };
        if let Command::Write(write) = &command {
            self.reserved += reserved(write);
        }
        self.under_way.push(Box::pin(async move {
            let done = carry_out(&backplane, &key, command).await;
            Done::Room(key, Box::new(done))
        }));
    }

    /// Deals with a command that ended.
    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Room(key, done) => {
                self.room_done(&key, *done);
                self.wake(&key);
            }
            Done::List(Ok(done)) => self.list_done(done),
            Done::List(Err(error)) => self.failed(&error),
            Done::Removed(Ok(removed)) => self.parts.metrics.presence.expired.inc_by(removed),
            Done::Removed(Err(error)) => self.failed(&error),
        }
    }

    fn room_done(&mut self, key: &RoomKey, done: RoomDone) {
        let failed = match done {
            RoomDone::Held(Ok(is_held)) => {
                self.with_room(key, |room, _| room.held(is_held));
                return;
            }
            RoomDone::Loaded(Ok(read)) => {
                self.with_room(key, |room, context| room.loaded(read, context));
                return;
            }
            RoomDone::Surveyed(Ok(survey)) => return self.surveyed(key, survey),
            RoomDone::Cleared(events, Ok(())) => {
                self.with_room(key, |room, context| room.cleared(&events, context.pod));
                return;
            }
            RoomDone::Written(write, written) => {
                self.reserved = self.reserved.saturating_sub(reserved(&write));
                match written {
                    Ok(other) => {
                        self.with_room(key, |room, context| room.written(write, other, context));
                        return self.send_events(key);
                    }
                    Err(error) => error,
                }
            }
            RoomDone::Held(Err(error))
            | RoomDone::Loaded(Err(error))
            | RoomDone::Surveyed(Err(error))
            | RoomDone::Cleared(_, Err(error)) => error,
        };
        self.failed(&failed);
        self.with_room(key, |room, context| room.failed(context.now));
    }

    /// Instances that are in the room are watched, and the occupants of those that are gone removed.
    fn surveyed(&mut self, key: &RoomKey, survey: Survey) {
        for (pod, occupants) in &survey.pods {
            if self.lists.saw(pod) {
                let occupants: Vec<OccupantKey> = occupants.occupants.keys().cloned().collect();
                self.remove_occupants(key.clone(), pod.clone(), occupants);
            }
        }
        self.with_room(key, |room, context| room.surveyed(survey, context));
        self.send_events(key);
    }

    fn remove_occupants(&mut self, key: RoomKey, pod: String, occupants: Vec<OccupantKey>) {
        let Some(backplane) = self.parts.backplane.clone() else { return };
        self.under_way.push(Box::pin(async move {
            Done::Removed(backplane.remove_presence(&key, &pod, &occupants).await)
        }));
    }

    pub(super) fn failed(&self, error: &PresenceError) {
        if matches!(error, PresenceError::Down) {
            return;
        }
        self.parts.metrics.presence.redis_errors.inc();
        limited!(self.errors, warn, %error, "Redis does not keep what the backend was told of a room; trying again");
    }
}

/// The events that a writing adds.
fn reserved(write: &RecordWrite) -> usize {
    match &write.content {
        Content::Change(change) => change.events.len(),
        Content::Whole(_) | Content::Sender => 0,
    }
}

async fn carry_out(backplane: &Backplane, key: &RoomKey, command: Command) -> RoomDone {
    let rooms = std::slice::from_ref(key);
    match command {
        Command::Hold => RoomDone::Held(backplane.hold_rooms(rooms).await.map(|()| true)),
        Command::Load(known) => RoomDone::Loaded(backplane.load_room_record(key, &known).await),
        Command::Survey(known) => {
            let alive = backplane.peers();
            RoomDone::Surveyed(backplane.survey_room(key, &known, &alive).await)
        }
        Command::Write(write) => {
            let written = backplane.write_room_record(key, &write).await;
            RoomDone::Written(*write, written)
        }
        Command::Clear { events, is_last } => {
            let cleared = backplane.clear_room_events(key, &events, is_last).await;
            RoomDone::Cleared(events, cleared)
        }
        Command::Release => {
            RoomDone::Held(backplane.release_rooms(None, rooms).await.map(|()| false))
        }
    }
}
