//! [`Memory`]: how much memory the process uses, and what it may still take on.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Bytes that a session is counted with: what it takes after a while, with the kernel's part.
pub const SESSION_BYTES: u64 = 32 << 10;

/// What the process may still take on under `limits.memory`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum MemoryLevel {
    /// There is memory left.
    #[default]
    Normal = 0,
    /// `limits.memory` is reached: no new sessions.
    High = 1,
    /// An eighth more is reached: the largest queues go.
    Critical = 2,
}

/// The newest sample of the process's memory.
#[derive(Debug, Default)]
pub struct Memory {
    level: AtomicU8,
    used: AtomicU64,
    limit: AtomicU64,
}

impl Memory {
    /// Publishes a sample. `used` and `limit` in bytes; `None` is no limit.
    pub fn set(&self, level: MemoryLevel, used: u64, limit: Option<u64>) {
        self.level.store(level as u8, Ordering::Relaxed);
        self.used.store(used, Ordering::Relaxed);
        self.limit.store(limit.unwrap_or(0), Ordering::Relaxed);
    }

    /// What the process may still take on.
    pub fn level(&self) -> MemoryLevel {
        match self.level.load(Ordering::Relaxed) {
            0 => MemoryLevel::Normal,
            1 => MemoryLevel::High,
            _ => MemoryLevel::Critical,
        }
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// `limits.memory` in bytes; `None` without a limit.
    pub fn limit(&self) -> Option<u64> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|limit| *limit > 0)
    }
}

/// Judges samples of the process's memory.
///
/// The allocator keeps much of what is freed, for later use, so a process that has grown does not
/// shrink when its sessions end. Memory that served a larger load than there is now is therefore
/// not counted as taken.
#[derive(Debug, Default)]
pub struct MemoryJudge {
    level: MemoryLevel,
    peak: u64,
    load_at_peak: u64,
}

impl MemoryJudge {
    /// `load` is what is known to need memory: sessions times [`SESSION_BYTES`], and what waits in
    /// their queues. All in bytes.
    pub fn judge(&mut self, used: u64, load: u64, limit: u64) -> MemoryLevel {
        let has_grown = used > self.peak + self.peak / 64;
        let has_shrunk = used < self.peak - self.peak / 8;
        if has_grown || has_shrunk {
            self.peak = used;
            self.load_at_peak = load;
        }
        self.load_at_peak = self.load_at_peak.max(load);
        // A level is left later than it is entered, so that it does not flap.
        let (entered, share) = match self.level {
            MemoryLevel::Normal => (limit, 9),
            _ => (limit - limit / 16, 8),
        };
        let is_needed = load >= self.load_at_peak / 10 * share;
        self.level = match used {
            _ if !is_needed || used < entered => MemoryLevel::Normal,
            _ if used >= critical(limit) => MemoryLevel::Critical,
            _ => MemoryLevel::High,
        };
        self.level
    }
}

/// The second mark above `limits.memory`; of 80 % of a cgroup's limit, it is 90 %.
fn critical(limit: u64) -> u64 {
    limit.saturating_add(limit / 8)
}

#[cfg(test)]
mod tests {
    use super::MemoryLevel::{Critical, High, Normal};
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_level_rises_with_use_and_falls_somewhat_later() {
        let mut judge = MemoryJudge::default();
        let mut at = |used: u64| judge.judge(used * MIB, used * MIB, 100 * MIB);
        assert_eq!(
            [at(50), at(99), at(100), at(112), at(113)],
            [Normal, Normal, High, High, Critical]
        );
        assert_eq!([at(112), at(95), at(93), at(99)], [High, High, Normal, Normal]);
    }

    #[test]
    fn memory_that_the_allocator_keeps_is_not_taken() {
        let mut judge = MemoryJudge::default();
        let mut at = |used: u64, load: u64| judge.judge(used * MIB, load * MIB, 100 * MIB);
        assert_eq!(at(105, 90), High);
        // The sessions ended; the process did not shrink.
        assert_eq!(at(105, 10), Normal);
        assert_eq!(at(105, 80), Normal);
        assert_eq!(at(105, 85), High);
        // It grows again, for something that the load does not tell.
        assert_eq!(at(105, 10), Normal);
        assert_eq!(at(115, 10), Critical);
    }

    #[test]
    fn a_process_that_gave_memory_back_is_judged_anew() {
        let mut judge = MemoryJudge::default();
        let mut at = |used: u64, load: u64| judge.judge(used * MIB, load * MIB, 100 * MIB);
        assert_eq!([at(105, 90), at(50, 10), at(101, 10)], [High, Normal, High]);
    }

    #[test]
    fn a_limit_below_what_the_empty_server_takes_refuses_all() {
        assert_eq!(MemoryJudge::default().judge(60 * MIB, 0, 10 * MIB), Critical);
    }

    #[test]
    fn what_was_published_is_read() {
        let memory = Memory::default();
        assert_eq!((memory.level(), memory.limit()), (Normal, None));
        memory.set(High, 7, Some(5));
        assert_eq!((memory.level(), memory.used(), memory.limit()), (High, 7, Some(5)));
    }
}
