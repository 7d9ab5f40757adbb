//! The swarm's publications: who sends them, and when.

use std::time::Instant;

use anyhow::{Context, bail};
use mio::Token;

use super::{Swarm, interest};
use crate::bench::Pace;
use crate::bench::frames;
use crate::bench::load::{Clock, room_name};
use crate::bench::peer::Phase;

impl Swarm {
    /// The first publications.
    pub(super) fn begin(&mut self) -> anyhow::Result<()> {
        self.clock = Some(match self.pace {
            Some(Pace::Rate(rate)) => Clock::new(rate),
            _ => Clock::new(1.0),
        });
        if let Some(Pace::InFlight(_)) = self.pace {
            for room in 0..self.rooms {
                self.publish_in_flight(room)?;
            }
        }
        Ok(())
    }

    pub(super) fn publish_on_time(&mut self, now: Instant) -> anyhow::Result<Instant> {
        while let Some(position) = self.clock.as_mut().and_then(|clock| clock.take(now)) {
            self.publish((position % self.rooms as u64) as usize, 1)?;
        }
        Ok(self.clock.as_ref().map_or(now, Clock::next))
    }

    pub(super) fn publish_in_flight(&mut self, room: usize) -> anyhow::Result<()> {
        match self.pace {
            Some(Pace::InFlight(count)) => self.publish(room, count),
            _ => Ok(()),
        }
    }

    fn publish(&mut self, room: usize, count: usize) -> anyhow::Result<()> {
        let now = Instant::now();
        if !self.publishers.is_empty() {
            return self.publish_by_api(room, count, now);
        }
        let publisher = self.live_publisher(room)?;
        let mut out = std::mem::take(&mut self.scratch);
        let mut text = Vec::new();
        out.clear();
        for _ in 0..count {
            text.clear();
            self.load.publish(room, now, &mut text);
            frames::write(&mut out, frames::TEXT, &text);
        }
        let sent = self.peers[publisher].send(&out);
        self.scratch = out;
        match sent {
            Ok(waits) => self.watch(publisher, waits),
            Err(error) => self.lose(publisher, error),
        }
    }

    fn publish_by_api(&mut self, room: usize, count: usize, now: Instant) -> anyhow::Result<()> {
        for _ in 0..count {
            self.scratch.clear();
            self.load.publish(room, now, &mut self.scratch);
            let index = self.next_publisher;
            self.next_publisher = (index + 1) % self.publishers.len();
            let publisher = &mut self.publishers[index];
            let waits = publisher.send(&self.scratch).context("the HTTP API is gone")?;
            let token = Token(self.clients + index);
            self.poll.registry().reregister(&mut publisher.stream, token, interest(waits))?;
        }
        Ok(())
    }

    /// The next member of a room that is still connected.
    fn live_publisher(&mut self, room: usize) -> anyhow::Result<usize> {
        for _ in 0..self.clients {
            let publisher = self.load.publisher(room);
            if self.peers[publisher].phase == Phase::Ready {
                return Ok(publisher);
            }
        }
        bail!("no member of {} is connected any more", room_name(&self.room_prefix, room))
    }
}
