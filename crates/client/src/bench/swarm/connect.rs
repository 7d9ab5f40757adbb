//! How the swarm's clients connect, and where.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mio::net::TcpStream;
use mio::{Interest, Token};

use super::{STALL_TIMEOUT, Swarm};
use crate::bench::connection::Connection;
use crate::bench::publications;
use crate::bench::rate_clock::RateClock;

/// The most clients that may be connecting at once.
const MAX_CONNECTING: usize = 128;

/// How often progress is reported while clients connect.
const TICK: Duration = Duration::from_millis(100);

impl Swarm {
    /// Connects every client and joins it to its room; `progress` gets the number that joined.
    ///
    /// # Errors
    /// When a client is refused or lost, or none joins for [`STALL_TIMEOUT`].
    pub(in crate::bench) fn connect(
        &mut self,
        mut progress: impl FnMut(usize),
    ) -> anyhow::Result<()> {
        let mut clock = RateClock::new(self.connect_rate);
        self.last_progress = Instant::now();
        let mut reported = Instant::now();
        while self.joined < self.clients {
            let now = Instant::now();
            let may_dial = |swarm: &Swarm| {
                swarm.connections.len() < swarm.clients.min(swarm.joined + MAX_CONNECTING)
            };
            while may_dial(self) && clock.take_due(now).is_some() {
                self.dial()?;
            }
            let wake = if may_dial(self) { clock.next_due() } else { now + TICK };
            let before = self.joined;
            self.poll_once(wake.min(now + TICK))?;
            if self.lost > 0 {
                bail!("a client was lost while others were connecting");
            }
            if self.joined > before {
                self.last_progress = Instant::now();
            } else if self.last_progress.elapsed() > STALL_TIMEOUT {
                bail!(
                    "{} of {} clients joined their room, and none joined within {STALL_TIMEOUT:?}",
                    self.joined,
                    self.clients
                );
            }
            if reported.elapsed() >= TICK {
                reported = Instant::now();
                progress(self.joined);
            }
        }
        progress(self.joined);
        self.last_progress = Instant::now();
        Ok(())
    }

    fn dial(&mut self) -> anyhow::Result<()> {
        let index = self.connections.len();
        let server = &self.servers[self.server_of(index)];
        let mut stream = TcpStream::connect(server.address)
            .with_context(|| format!("client {index} cannot connect to {}", server.url))?;
        // Writable, too: until the TCP connection is established.
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(index), interest)?;
        let is_member = index < self.members;
        let room = is_member.then(|| publications::room_of(index, self.members, self.rooms));
        self.connections.push(Connection::new(stream, room));
        Ok(())
    }

    /// The index of a client's server.
    pub(super) fn server_of(&self, client: usize) -> usize {
        let last = self.servers.len() - 1;
        match self.clients - self.members {
            0 => client % self.servers.len(),
            _ if client < self.members => client % last,
            _ => last,
        }
    }
}
