//! [`Plan`]: what a run measures.

use std::time::Duration;

use anyhow::bail;

use crate::target::Target;

/// The smallest payload in bytes: the number of its publication, in hexadecimal digits.
pub const MIN_PAYLOAD: usize = 12;

/// The largest payload in bytes: a frame must fit the shared read buffer.
pub const MAX_PAYLOAD: usize = 64 << 10;

/// The most clients that only publish.
const MAX_PUBLISHERS: usize = 1000;

/// What a run measures.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The servers, over which the clients are spread evenly.
    pub targets: Vec<Target>,
    /// The HTTP API to publish through; `None`: the members publish themselves.
    pub api: Option<Api>,
    /// The server at which clients that are in no room publish; `None`: the members do.
    pub publish_at: Option<Target>,
    /// The number of clients.
    pub clients: usize,
    /// The number of rooms, over which the clients are spread evenly.
    pub rooms: usize,
    /// The rooms are named `<room_prefix>-<number>`.
    pub room_prefix: String,
    /// The size of each publication's only argument, in bytes.
    pub payload: usize,
    /// Whether the clients offer compressed messages (permessage-deflate). The publications then look
    /// like JSON, which becomes smaller.
    pub deflate: bool,
    /// How fast to publish; `None`: connections only.
    pub pace: Option<Pace>,
    /// How long the load runs before anything is counted.
    pub warmup: Duration,
    /// How long to measure.
    pub duration: Duration,
    /// The most connections to open per second.
    pub connect_rate: u32,
    /// The ids of the server's processes, whose CPU time and memory are read.
    pub pids: Vec<u32>,
}

/// The HTTP API of the server.
#[derive(Clone, Debug)]
pub struct Api {
    /// The URL of the server's internal listener.
    pub url: reqwest::Url,
    /// The API key, where the server requires one.
    pub key: Option<String>,
}

/// How fast to publish.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// This many publications at once in each room; when every member has received all of them, the
    /// next ones follow.
    InFlight(usize),
    /// This many publications per second, to one room after another.
    Rate(f64),
}

impl Plan {
    /// The number of clients that publish and are in no room: one for each room.
    pub(super) fn publishers(&self) -> usize {
        self.publish_at.as_ref().map_or(0, |_| self.rooms.min(MAX_PUBLISHERS))
    }

    /// Checks that the plan can be carried out.
    ///
    /// # Errors
    /// When a count is zero, there are more rooms than clients, the payload is too small or too
    /// large, or both the API and clients are to publish.
    pub fn validate(&self) -> anyhow::Result<()> {
        if self.clients == 0 || self.rooms == 0 || self.targets.is_empty() {
            bail!("a run needs at least one server, one client and one room");
        }
        if self.rooms > self.clients {
            bail!("{} rooms need at least as many clients, found {}", self.rooms, self.clients);
        }
        if self.api.is_some() && self.publish_at.is_some() {
            bail!("either the HTTP API publishes, or clients at a server of their own do");
        }
        if !(MIN_PAYLOAD..=MAX_PAYLOAD).contains(&self.payload) {
            bail!(
                "a payload must have {MIN_PAYLOAD} to {MAX_PAYLOAD} bytes, found {}",
                self.payload
            );
        }
        Ok(())
    }
}
