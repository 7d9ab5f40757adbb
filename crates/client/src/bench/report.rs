//! [`Report`]: what a run measured.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::load::Counts;
use super::{Pace, Plan, Usage};

/// What a run measured. Serialized, it is the file of `--json`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// How many clients were connected.
    pub clients: usize,
    /// In how many rooms.
    pub rooms: usize,
    /// The size of each publication's argument, in bytes.
    pub payload: usize,
    /// How it was published, in words.
    pub load: String,
    /// How long was measured.
    pub seconds: f64,
    /// Publications sent.
    pub publications: u64,
    /// Deliveries received.
    pub deliveries: u64,
    /// Deliveries received in a second.
    pub deliveries_per_second: f64,
    /// The CPU time of the server's processes, in seconds.
    pub server_cpu_seconds: Option<f64>,
    /// Deliveries received for each second of the server's CPU time.
    pub deliveries_per_cpu_second: Option<f64>,
    /// From a publication to the receipt of its deliveries.
    pub latency: Option<Latency>,
    /// Connections that were lost.
    pub lost_clients: u64,
    /// Deliveries that did not come before 65,536 later publications.
    pub missing: u64,
    /// Deliveries that came twice, or were of another generator.
    pub unexpected: u64,
    /// The share of one core that the generator itself used.
    pub generator_cpu: f64,
    /// The memory of the server's processes.
    pub memory: Option<Memory>,
}

/// Quantiles of a latency, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Half are not above.
    pub p50_ms: f64,
    /// 90 % are not above.
    pub p90_ms: f64,
    /// 99 % are not above.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// Resident memory, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// Before the first client.
    pub before: u64,
    /// With all of them, before the measurement.
    pub connected: u64,
    /// After the measurement.
    pub after: u64,
    /// What each connection added before the measurement.
    pub per_connection: f64,
}

/// A generator that uses more of its core than this may be what limits the numbers.
const BUSY: f64 = 0.95;

pub(super) fn make(
    plan: &Plan,
    (counts, lost): &(Counts, u64),
    elapsed: Duration,
    own_cpu: Duration,
    [before, start, end]: [Usage; 3],
) -> Report {
    let cpu = (!plan.pids.is_empty()).then(|| end.cpu.saturating_sub(start.cpu).as_secs_f64());
    let deliveries = counts.deliveries as f64;
    let ms = |value: Duration| value.as_secs_f64() * 1e3;
    Report {
        clients: plan.clients,
        rooms: plan.rooms,
        payload: plan.payload,
        load: words(plan),
        seconds: elapsed.as_secs_f64(),
        publications: counts.publications,
        deliveries: counts.deliveries,
        deliveries_per_second: deliveries / elapsed.as_secs_f64(),
        server_cpu_seconds: cpu,
        deliveries_per_cpu_second: cpu
            .filter(|cpu| *cpu > 0.0 && plan.pace.is_some())
            .map(|cpu| deliveries / cpu),
        latency: (counts.deliveries > 0).then(|| Latency {
            p50_ms: ms(counts.latency(0.5)),
            p90_ms: ms(counts.latency(0.9)),
            p99_ms: ms(counts.latency(0.99)),
            max_ms: ms(counts.latency(1.0)),
        }),
        lost_clients: *lost,
        missing: counts.missing,
        unexpected: counts.unexpected,
        generator_cpu: own_cpu.as_secs_f64() / elapsed.as_secs_f64(),
        memory: (!plan.pids.is_empty()).then(|| Memory {
            before: before.memory,
            connected: start.memory,
            after: end.memory,
            per_connection: (start.memory as f64 - before.memory as f64) / plan.clients as f64,
        }),
    }
}

fn words(plan: &Plan) -> String {
    let via = if plan.api.is_some() { "the HTTP API" } else { "members" };
    match plan.pace {
        None => "idle".to_owned(),
        Some(Pace::InFlight(count)) => format!("{count} in flight in each room, by {via}"),
        Some(Pace::Rate(rate)) => format!("{rate} publications a second, by {via}"),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut row = |name: &str, value: String| writeln!(f, "{name:<28}{value}");
        row("clients", format!("{} in {} rooms", thousands(self.clients as f64), self.rooms))?;
        row("load", format!("{}, {} bytes each", self.load, self.payload))?;
        row("measured", format!("{:.1} s", self.seconds))?;
        if self.publications > 0 || self.deliveries > 0 {
            row("publications", thousands(self.publications as f64))?;
            row("deliveries", thousands(self.deliveries as f64))?;
            row("deliveries/s", thousands(self.deliveries_per_second))?;
        }
        if let Some(per_cpu) = self.deliveries_per_cpu_second {
            row("deliveries/server CPU-s", thousands(per_cpu))?;
        }
        if let Some(cpu) = self.server_cpu_seconds {
            row("server CPU", format!("{:.0} % of a core", cpu / self.seconds * 100.0))?;
        }
        if let Some(latency) = &self.latency {
            row(
                "latency",
                format!(
                    "p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
                    latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.max_ms
                ),
            )?;
        }
        if let Some(memory) = &self.memory {
            let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
            row(
                "server memory",
                format!(
                    "{} before, {} connected, {} after",
                    mib(memory.before),
                    mib(memory.connected),
                    mib(memory.after)
                ),
            )?;
            row("memory per connection", format!("{:.1} KiB", memory.per_connection / 1024.0))?;
        }
        row("generator CPU", format!("{:.0} % of a core", self.generator_cpu * 100.0))?;
        for (name, count) in [
            ("lost clients", self.lost_clients),
            ("missing deliveries", self.missing),
            ("unexpected deliveries", self.unexpected),
        ] {
            if count > 0 {
                row(name, thousands(count as f64))?;
            }
        }
        if self.generator_cpu > BUSY {
            writeln!(
                f,
                "The generator used its whole core: deliveries/s and latency may be its own."
            )?;
        }
        Ok(())
    }
}

/// A count with separators.
fn thousands(count: f64) -> String {
    let digits = format!("{count:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_readable() {
        assert_eq!(thousands(0.4), "0");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(thousands(1_234_567.2), "1,234,567");
    }
}
