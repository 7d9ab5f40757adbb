//! [`Usage`]: the CPU time and memory of processes, from /proc.

use std::fs;
use std::iter::Sum;
use std::ops::Add;
use std::time::Duration;

use anyhow::{Context, anyhow};

/// The CPU time and memory that processes use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and kernel CPU time of all threads since the processes started.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub memory: u64,
}

impl Usage {
    /// The sum over the processes with these ids.
    ///
    /// # Errors
    /// When one is not running, or there is no /proc.
    pub fn of(pids: &[u32]) -> anyhow::Result<Usage> {
        Ok(Usage::of_each(pids)?.into_iter().sum())
    }

    /// The usage of each process.
    ///
    /// # Errors
    /// When one is not running, or there is no /proc.
    pub fn of_each(pids: &[u32]) -> anyhow::Result<Vec<Usage>> {
        let usage = |pid: &u32| {
            read(&pid.to_string()).with_context(|| format!("cannot read process {pid} of --pids"))
        };
        pids.iter().map(usage).collect()
    }

    /// The usage of this process.
    ///
    /// # Errors
    /// When there is no /proc.
    pub fn own() -> anyhow::Result<Usage> {
        read("self").context("cannot read this process")
    }
}

impl Add for Usage {
    type Output = Usage;

    fn add(self, other: Usage) -> Usage {
        Usage { cpu: self.cpu + other.cpu, memory: self.memory + other.memory }
    }
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Usage>>(usages: I) -> Usage {
        usages.fold(Usage::default(), Add::add)
    }
}

fn read(process: &str) -> anyhow::Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let ticks = cpu_ticks(&stat).ok_or_else(|| anyhow!("/proc/{process}/stat cannot be parsed"))?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Usage {
        cpu: Duration::from_secs_f64(ticks as f64 / per_second as f64),
        memory: resident(&status).ok_or_else(|| anyhow!("/proc/{process}/status has no VmRSS"))?,
    })
}

/// `utime` and `stime`: the 14th and 15th fields of proc_pid_stat(5). The second field is the
/// program's name in parentheses, which may itself contain spaces and parentheses.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_after_a_name_with_spaces_and_parentheses() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 9 9 20 0 1 0 5 6 7";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
        assert_eq!(resident("Name:\tx\nVmRSS:\t  2048 kB\n"), Some(2 << 20));
        assert_eq!(resident("Name:\tx\n"), None);
    }

    #[test]
    fn usage_is_read_and_a_missing_process_is_an_error() {
        let own = Usage::own().unwrap();
        assert!(own.memory > 0);
        assert_eq!(Usage::of(&[]).unwrap(), Usage::default());
        assert!(Usage::of(&[std::process::id()]).unwrap().cpu >= own.cpu);
        assert!(Usage::of(&[u32::MAX]).unwrap_err().to_string().contains("4294967295"));
    }
}
