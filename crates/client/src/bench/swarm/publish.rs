//! The swarm's publications: who sends them, and when.

use std::time::Instant;

use anyhow::{Context, bail};
use mio::Token;

use super::{Swarm, interest};
use crate::bench::connection::Phase;
use crate::bench::frames;
use crate::bench::plan::Pace;
use crate::bench::publications::room_name;
use crate::bench::rate_clock::RateClock;

impl Swarm {
    /// Starts the clock and sends the first publications.
    pub(super) fn begin_publishing(&mut self) -> anyhow::Result<()> {
        self.clock = Some(match self.pace {
            Some(Pace::Rate(rate)) => RateClock::new(rate),
            _ => RateClock::new(1.0),
        });
        if let Some(Pace::InFlight(_)) = self.pace {
            for room in 0..self.rooms {
                self.publish_in_flight(room)?;
            }
        }
        Ok(())
    }

    /// Sends the publications that are due, and returns when the next one is.
    pub(super) fn publish_due(&mut self, now: Instant) -> anyhow::Result<Instant> {
        while let Some(step) = self.clock.as_mut().and_then(|clock| clock.take_due(now)) {
            self.publish((step % self.rooms as u64) as usize, 1)?;
        }
        Ok(self.clock.as_ref().map_or(now, RateClock::next_due))
    }

    /// Fills `room` with publications, where the pace is a number of publications in flight.
    pub(super) fn publish_in_flight(&mut self, room: usize) -> anyhow::Result<()> {
        match self.pace {
            Some(Pace::InFlight(count)) => self.publish(room, count),
            _ => Ok(()),
        }
    }

    fn publish(&mut self, room: usize, count: usize) -> anyhow::Result<()> {
        let now = Instant::now();
        if !self.api_connections.is_empty() {
            return self.publish_through_api(room, count, now);
        }
        let publisher = self.next_publisher(room)?;
        let mut out = std::mem::take(&mut self.write_buffer);
        let mut text = Vec::new();
        out.clear();
        for _ in 0..count {
            text.clear();
            self.publications.publish(room, now, &mut text);
            frames::write(&mut out, frames::TEXT, &text);
        }
        let sent = self.connections[publisher].send(&out);
        self.write_buffer = out;
        match sent {
            Ok(unsent) => Ok(self.watch_writable(publisher, unsent)?),
            Err(error) => self.lose(publisher, error),
        }
    }

    fn publish_through_api(
        &mut self,
        room: usize,
        count: usize,
        now: Instant,
    ) -> anyhow::Result<()> {
        for _ in 0..count {
            self.write_buffer.clear();
            self.publications.publish(room, now, &mut self.write_buffer);
            let index = self.next_api_connection;
            self.next_api_connection = (index + 1) % self.api_connections.len();
            let connection = &mut self.api_connections[index];
            let sent = connection.send(&self.write_buffer);
            let unsent = sent.context("the connection to the HTTP API was lost")?;
            let token = Token(self.clients + index);
            self.poll.registry().reregister(&mut connection.stream, token, interest(unsent))?;
        }
        Ok(())
    }

    /// The publisher of `room`, or the next of its members that is still connected.
    fn next_publisher(&mut self, room: usize) -> anyhow::Result<usize> {
        let publishers = self.clients - self.members;
        if publishers > 0 {
            return Ok(self.members + room % publishers);
        }
        for _ in 0..self.clients {
            let publisher = self.publications.next_publisher(room);
            if self.connections[publisher].phase == Phase::Joined {
                return Ok(publisher);
            }
        }
        bail!("no member of {} is still connected", room_name(&self.room_prefix, room))
    }
}
