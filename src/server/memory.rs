//! [`ProcessMemory`]: keeps the process within `limits.memory`.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::cgroup::MemoryCgroup;
use rookery_config::Limits;
use rookery_ops::readiness::Readiness;
use rookery_server::gateway::{Gateway, MemoryJudge, MemoryLevel, SESSION_BYTES, Sessions};

/// How often the memory is looked at.
const INTERVAL: Duration = Duration::from_millis(250);

/// Of a cgroup's limit, what the process may use by default, in percent.
const DEFAULT_PERCENT: u64 = 80;

/// The memory of this process, and what limits it.
#[derive(Clone)]
pub(super) struct ProcessMemory {
    cgroup: Option<MemoryCgroup>,
}

impl ProcessMemory {
    pub(super) fn detect() -> Self {
        ProcessMemory { cgroup: MemoryCgroup::of_this_process() }
    }

    /// The limits with as many connections as memory has room for, where no number is configured.
    pub(super) fn fit(&self, limits: &Limits) -> Limits {
        let Some(memory) = self.limit(limits) else { return limits.clone() };
        let connections = limits.connections.within(memory, SESSION_BYTES);
        if connections != limits.connections {
            let (connections, memory) = (connections.get(), mib(memory));
            tracing::info!(connections, memory, "limits.memory has room for fewer connections");
        }
        Limits { connections, ..limits.clone() }
    }

    /// `limits.memory` in bytes, or its default; `None` without a limit.
    fn limit(&self, limits: &Limits) -> Option<u64> {
        let default = self.cgroup.as_ref().map(|cgroup| cgroup.limit / 100 * DEFAULT_PERCENT);
        limits.memory.map(|memory| memory.0).or(default)
    }

    /// Bytes in use: what is resident, or what the cgroup counts, with the sockets' buffers.
    fn used(&self) -> u64 {
        let cgroup = self.cgroup.as_ref().and_then(MemoryCgroup::used);
        resident().max(cgroup.unwrap_or(0))
    }

    /// Refuses new sessions and sheds the largest queues while the process uses too much, until
    /// `stop`.
    pub(super) async fn follow(
        self,
        sessions: Arc<Sessions>,
        readiness: Readiness,
        stop: CancellationToken,
    ) {
        let gateway = sessions.gateway().clone();
        let note = readiness.note("memory");
        let (mut judge, mut before) = (MemoryJudge::default(), MemoryLevel::Normal);
        loop {
            let (used, limit) = (self.used(), self.limit(&gateway.limits.config()));
            let level = limit.map_or(MemoryLevel::Normal, |limit| {
                judge.judge(used, load(&gateway, &sessions), limit)
            });
            gateway.limits.memory().set(level, used, limit);
            let limit = limit.unwrap_or(0);
            if level == MemoryLevel::Critical {
                shed(&sessions, used.saturating_sub(limit));
            }
            if (level >= MemoryLevel::High) != (before >= MemoryLevel::High) {
                log_change(level, used, limit);
            }
            note.set((level >= MemoryLevel::High).then(|| described(used, limit)));
            before = level;
            if stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_none() {
                return;
            }
        }
    }
}

/// What is known to need memory, in bytes.
fn load(gateway: &Gateway, sessions: &Sessions) -> u64 {
    sessions.len() as u64 * SESSION_BYTES + gateway.queued_bytes() as u64
}

fn shed(sessions: &Sessions, bytes: u64) {
    let shed = sessions.shed_largest(bytes);
    if shed > 0 {
        tracing::warn!(
            sessions = shed,
            "limits.memory is exceeded: disconnected the largest queues"
        );
    }
}

fn log_change(level: MemoryLevel, used: u64, limit: u64) {
    let (used, limit) = (mib(used), mib(limit));
    match level {
        MemoryLevel::Normal => {
            tracing::info!(used, limit, "memory is available: accepting new clients again");
        }
        _ => tracing::warn!(used, limit, "limits.memory is reached: refusing new clients"),
    }
}

fn described(used: u64, limit: u64) -> String {
    format!("{} of {} are in use: new clients are refused", mib(used), mib(limit))
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// The resident set of this process in bytes (proc_pid_statm(5)); 0 where it cannot be read.
fn resident() -> u64 {
    let pages = || {
        let text = fs::read_to_string("/proc/self/statm").ok()?;
        text.split(' ').nth(1)?.parse::<u64>().ok()
    };
    pages().unwrap_or(0) * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_set_is_read() {
        assert!(resident() > 1 << 20);
    }
}
