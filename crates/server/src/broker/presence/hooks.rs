//! What the task that follows who is in rooms tells about those with hooks.

use std::time::Instant;

use super::PresenceTask;
use crate::backplane::Backplane;
use crate::broker::room_hooks::RoomHookTask;
use crate::message::{MemberId, RoomKey};

impl PresenceTask {
    /// Does what is to be done about rooms with hooks.
    pub(super) fn advance_hooks(&mut self) {
        let doubtful = self.hooks.as_mut().map(RoomHookTask::advance).unwrap_or_default();
        for key in &doubtful {
            if let Some(room) = self.rooms.get_mut(key) {
                room.must_load();
            }
            self.enqueue(key);
        }
    }

    /// Tells the members of a room, and whoever tells the backend, of who came and went.
    pub(super) async fn tell(&mut self, key: &RoomKey, early: &[MemberId]) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        let changes = room.tell(&self.parts, key, self.max, early).await;
        if let Some(hooks) = &mut self.hooks {
            let known = (room.is_settled(), room.unconfirmed());
            hooks.observe(key, (&room.view, &changes), known);
        }
    }

    /// Watches the instances whose rooms this one would have to see to.
    pub(super) fn watch_pods(&mut self, now: Instant) {
        let Some(hooks) = &mut self.hooks else { return };
        let alive = self.parts.backplane.as_ref().map(Backplane::peers).unwrap_or_default();
        hooks.tick(&alive, now);
        let seen = hooks.take_seen();
        alive.iter().chain(&seen).for_each(|pod| self.pods.saw(pod, now));
    }
}

/// Resolves when something about rooms with hooks was dealt with; never without them.
pub(super) async fn hook_event(hooks: &mut Option<RoomHookTask>) {
    match hooks {
        Some(hooks) => hooks.event().await,
        None => std::future::pending().await,
    }
}
