//! The end of a [`RoomHookTask`].

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep_until};

use super::RoomHookTask;

/// How long the backend's queue may take at the end: a little longer than it does.
const FINISH: Duration = Duration::from_millis(4_600);

impl RoomHookTask {
    /// This instance stops. What the backend still accepts is removed from Redis; the rest is sent by
    /// other instances, or by the next one. Without Redis nobody else knows: then everybody leaves.
    pub async fn finish(mut self) {
        let deadline = Instant::now() + FINISH;
        if self.parts.backplane.is_none() {
            self.end_all();
        }
        self.tell_ended = None;
        loop {
            tokio::select! {
                Some(done) = self.under_way.next(), if !self.under_way.is_empty() => self.done(done),
                ended = self.ended.recv() => match ended {
                    Some(ended) => self.event_ended(ended),
                    None => break,
                },
                () = sleep_until(deadline) => break,
            }
            self.advance();
        }
        while let Ok(Some(done)) = tokio::time::timeout_at(deadline, self.under_way.next()).await {
            self.done(done);
            self.advance();
        }
        if self.parts.backplane.is_none() {
            self.count_lost();
        }
    }

    fn end_all(&mut self) {
        self.hooks.vacated_delay = Duration::ZERO;
        for (key, followed) in &mut self.rooms {
            followed.room.end();
            if !std::mem::replace(&mut followed.is_ready, true) {
                self.ready.push_back(key.clone());
            }
        }
        self.advance();
    }

    /// Counts the events that found no space in the backend's queue.
    fn count_lost(&mut self) {
        let lost: usize = self
            .rooms
            .values_mut()
            .map(|followed| followed.room.take_unsent(usize::MAX).len())
            .sum();
        if lost > 0 {
            self.parts.metrics.backend.dropped_notifications.inc_by(lost as u64);
            tracing::warn!(
                notifications = lost,
                "stopped before the backend got all events of rooms"
            );
        }
    }
}
