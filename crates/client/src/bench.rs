//! A load generator: thousands of Socket.IO clients on one thread, which must cost less than the
//! server that it measures.
//!
//! No runtime and no WebSocket library on the way of a delivery: one epoll loop reads each socket
//! into one shared buffer, steps over the frames by their headers, and takes the publication's
//! number from a fixed place in the payload. Works against every server that has the events
//! `join {room}` and `publish {room, event, data}`.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::Target;

mod api;
mod frames;
mod load;
mod peer;
mod process;
mod report;
mod script;
mod swarm;

pub use load::Pace;
pub use process::Usage;
pub use report::{Latency, Memory, Report};
use swarm::Swarm;

/// The largest payload, in bytes: a frame must fit the shared buffer.
pub const MAX_PAYLOAD: usize = 64 << 10;

/// How often progress is told and the clock of a phase is looked at.
const TICK: Duration = Duration::from_millis(100);

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The servers; clients are spread over them evenly.
    pub targets: Vec<Target>,
    /// The HTTP API, where publications go that way instead of through the members themselves.
    pub api: Option<Api>,
    /// How many clients.
    pub clients: usize,
    /// How many rooms; clients are divided evenly.
    pub rooms: usize,
    /// Rooms are named `<this>-<number>`.
    pub room_prefix: String,
    /// The size of each publication's one argument, in bytes.
    pub payload: usize,
    /// How fast to publish; nothing: connections only.
    pub pace: Option<Pace>,
    /// Before the measurement, with the same load.
    pub warmup: Duration,
    /// The measurement.
    pub duration: Duration,
    /// The most connections opened in a second.
    pub connect_rate: u32,
    /// The server's processes, whose CPU time and memory are read.
    pub pids: Vec<u32>,
}

/// The HTTP API of the server.
#[derive(Clone, Debug)]
pub struct Api {
    /// Its URL.
    pub url: reqwest::Url,
    /// The key, where it wants one.
    pub key: Option<String>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    /// So many clients are connected and in their room.
    Connecting(usize),
    /// The load runs, but nothing is counted yet.
    WarmingUp(Duration),
    /// The measurement, and the deliveries so far.
    Measuring(Duration, u64),
}

/// Runs a plan; `progress` is told a few times a second.
///
/// # Errors
/// When the plan cannot be carried out, a server cannot be reached or refuses a client or a
/// publication, or deliveries stop.
pub fn run(plan: &Plan, mut progress: impl FnMut(Stage)) -> anyhow::Result<Report> {
    check(plan)?;
    let before = Usage::of(&plan.pids)?;
    let mut swarm = Swarm::new(plan)?;
    swarm.connect(|connected| progress(Stage::Connecting(connected)))?;
    let begin = Instant::now();
    while begin.elapsed() < plan.warmup {
        swarm.run(Instant::now() + TICK)?;
        progress(Stage::WarmingUp(begin.elapsed()));
    }
    swarm.reset();
    let start = Usage::of(&plan.pids)?;
    let own = Usage::own()?;
    let begin = Instant::now();
    while begin.elapsed() < plan.duration {
        swarm.run(begin + plan.duration.min(begin.elapsed() + TICK))?;
        progress(Stage::Measuring(begin.elapsed(), swarm.counts().deliveries));
    }
    let elapsed = begin.elapsed();
    if plan.pace.is_some() && swarm.counts().deliveries == 0 {
        bail!("nothing was delivered; is `publish` allowed in the rooms {}-…?", plan.room_prefix);
    }
    let end = Usage::of(&plan.pids)?;
    let own = Usage::own()?.cpu.saturating_sub(own.cpu);
    Ok(report::make(plan, &swarm.into_counts(), elapsed, own, [before, start, end]))
}

fn check(plan: &Plan) -> anyhow::Result<()> {
    if plan.clients == 0 || plan.rooms == 0 || plan.targets.is_empty() {
        bail!("a bench needs a server, a client and a room");
    }
    if plan.rooms > plan.clients {
        bail!("{} rooms cannot be shared by {} clients", plan.rooms, plan.clients);
    }
    if !(load::MIN_PAYLOAD..=MAX_PAYLOAD).contains(&plan.payload) {
        bail!(
            "the payload has {} to {MAX_PAYLOAD} bytes, found {}",
            load::MIN_PAYLOAD,
            plan.payload
        );
    }
    raise_file_limit(plan.clients).context("raising the limit of open files")
}

/// Every client is an open file.
fn raise_file_limit(clients: usize) -> anyhow::Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let needed = clients as u64 + 100;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < needed) {
        bail!("{clients} clients need `ulimit -Hn` of at least {needed}");
    }
    limit.current = Some(needed);
    Ok(setrlimit(Resource::Nofile, limit)?)
}

#[cfg(test)]
mod tests;
