//! A load generator: thousands of Socket.IO clients on one thread, which must cost less CPU time
//! than the server that it measures.
//!
//! Neither an async runtime nor a WebSocket library handles a delivery: one epoll loop reads each
//! socket into a shared buffer, steps from frame to frame by their headers, and reads the
//! publication's number at a fixed offset of the payload. It works with every server that has the
//! events `join {room}` and `publish {room, event, data}`.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};

mod api_connection;
mod connection;
mod counts;
mod excerpt;
mod frames;
mod plan;
mod process;
mod publications;
mod rate_clock;
mod report;
mod server;
mod swarm;

pub use plan::{Api, Pace, Plan};
pub use process::Usage;
pub use report::{Latency, Memory, Report};

use report::Measurement;
use swarm::Swarm;

/// How often progress is reported during the warm-up and the measurement.
const TICK: Duration = Duration::from_millis(100);

/// The progress of a run.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    /// Clients connect and join their rooms.
    Connecting {
        /// The number of clients that joined their room.
        joined: usize,
    },
    /// The load runs, but nothing is counted yet.
    WarmingUp {
        /// The time since the start of the warm-up.
        elapsed: Duration,
    },
    /// The load runs and is measured.
    Measuring {
        /// The time since the start of the measurement.
        elapsed: Duration,
        /// The number of deliveries received since then.
        deliveries: u64,
    },
}

/// Runs a plan and calls `progress` several times a second.
///
/// # Errors
/// When the plan cannot be carried out, a server cannot be reached or refuses a client or a
/// publication, or no delivery arrives.
pub fn run(plan: &Plan, mut progress: impl FnMut(Stage)) -> anyhow::Result<Report> {
    plan.validate()?;
    raise_file_limit(plan.clients + plan.publishers())
        .context("raising the limit of open files")?;
    let before = Usage::of(&plan.pids)?;
    let mut swarm = Swarm::new(plan)?;
    swarm.connect(|joined| progress(Stage::Connecting { joined }))?;
    let connected = Usage::of(&plan.pids)?;
    let begin = Instant::now();
    while begin.elapsed() < plan.warmup {
        swarm.run(Instant::now() + TICK)?;
        progress(Stage::WarmingUp { elapsed: begin.elapsed() });
    }
    swarm.reset();
    let start = Usage::of_each(&plan.pids)?;
    let own = Usage::own()?;
    let begin = Instant::now();
    while begin.elapsed() < plan.duration {
        swarm.run(begin + plan.duration.min(begin.elapsed() + TICK))?;
        let deliveries = swarm.counts().deliveries;
        progress(Stage::Measuring { elapsed: begin.elapsed(), deliveries });
    }
    let elapsed = begin.elapsed();
    if plan.pace.is_some() && swarm.counts().deliveries == 0 {
        bail!("nothing was delivered; is `publish` allowed in the rooms {}-…?", plan.room_prefix);
    }
    let end = Usage::of_each(&plan.pids)?;
    let spent = |(start, end): (&Usage, &Usage)| end.cpu.saturating_sub(start.cpu);
    let cpu_by_process = start.iter().zip(&end).map(spent).collect();
    let (start, end) = (start.into_iter().sum(), end.into_iter().sum());
    let own_cpu = Usage::own()?.cpu.saturating_sub(own.cpu);
    let (counts, lost) = swarm.into_counts();
    let measurement = Measurement {
        counts,
        lost,
        elapsed,
        own_cpu,
        before,
        connected,
        start,
        end,
        cpu_by_process,
    };
    Ok(report::summarize(plan, &measurement))
}

/// Raises the limit of open files, of which every client is one.
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
