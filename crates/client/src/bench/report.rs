//! [`Report`]: the results of a run.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::counts::Counts;
use super::plan::{Pace, Plan};
use super::process::Usage;

/// The results of a run. `rookery bench --json` writes it as JSON.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The number of clients that were connected.
    pub clients: usize,
    /// The number of rooms they joined.
    pub rooms: usize,
    /// The size of each publication's argument, in bytes.
    pub payload: usize,
    /// How fast and by whom was published, in words.
    pub load: String,
    /// The duration of the measurement, in seconds.
    pub seconds: f64,
    /// Publications sent during the measurement.
    pub publications: u64,
    /// Deliveries received during the measurement.
    pub deliveries: u64,
    /// Deliveries received per second.
    pub deliveries_per_second: f64,
    /// CPU time of the server's processes for each client that connected and joined its room, in
    /// milliseconds; absent without process ids.
    pub cpu_ms_per_connect: Option<f64>,
    /// CPU time of the server's processes during the measurement, in seconds.
    pub server_cpu_seconds: Option<f64>,
    /// The same of each process, in the order of their ids.
    pub cpu_seconds_by_process: Vec<f64>,
    /// Deliveries received per second of the server's CPU time.
    pub deliveries_per_cpu_second: Option<f64>,
    /// Time from a publication to the receipt of each delivery; absent without deliveries.
    pub latency: Option<Latency>,
    /// Clients whose connection was lost.
    pub lost_clients: u64,
    /// Deliveries that did not arrive before at least 65,536 later publications.
    pub missing: u64,
    /// Deliveries that arrived twice, or belong to another load generator.
    pub unexpected: u64,
    /// CPU time of the load generator itself, as a share of one core.
    pub generator_cpu: f64,
    /// Memory of the server's processes; absent without process ids.
    pub memory: Option<Memory>,
}

/// Latency quantiles in milliseconds, exact to 0.1 %.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// The latency that 50 % of the deliveries do not exceed.
    pub p50_ms: f64,
    /// The latency that 90 % of the deliveries do not exceed.
    pub p90_ms: f64,
    /// The latency that 99 % of the deliveries do not exceed.
    pub p99_ms: f64,
    /// The longest latency.
    pub max_ms: f64,
}

/// Resident memory of the server's processes, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// Memory before the first client connected.
    pub before: u64,
    /// Memory with every client connected, before the measurement.
    pub connected: u64,
    /// Memory after the measurement.
    pub after: u64,
    /// Memory added per connection, before the measurement.
    pub per_connection: f64,
}

/// The share of its core from which the load generator itself may be the bottleneck.
const SATURATED: f64 = 0.95;

/// What a measurement recorded.
pub(super) struct Measurement {
    pub(super) counts: Counts,
    /// Clients whose connection was lost.
    pub(super) lost: u64,
    pub(super) elapsed: Duration,
    /// CPU time of the load generator.
    pub(super) own_cpu: Duration,
    /// The server's usage before the first client connected.
    pub(super) before: Usage,
    /// The server's usage when the last client had joined its room, before the warm-up.
    pub(super) connected: Usage,
    /// The server's usage at the start of the measurement.
    pub(super) start: Usage,
    /// The server's usage at the end of the measurement.
    pub(super) end: Usage,
    /// CPU time of each of the server's processes during the measurement.
    pub(super) cpu_by_process: Vec<Duration>,
}

pub(super) fn summarize(plan: &Plan, measurement: &Measurement) -> Report {
    let Measurement { counts, before, start, end, .. } = measurement;
    let seconds = measurement.elapsed.as_secs_f64();
    let spent = |from: &Usage, to: &Usage| {
        (!plan.pids.is_empty()).then(|| to.cpu.saturating_sub(from.cpu).as_secs_f64())
    };
    let cpu = spent(start, end);
    let deliveries = counts.deliveries as f64;
    let ms = |value: Duration| value.as_secs_f64() * 1e3;
    Report {
        clients: plan.clients,
        rooms: plan.rooms,
        payload: plan.payload,
        load: describe_load(plan),
        seconds,
        publications: counts.publications,
        deliveries: counts.deliveries,
        deliveries_per_second: deliveries / seconds,
        cpu_ms_per_connect: spent(before, &measurement.connected)
            .map(|cpu| cpu * 1e3 / plan.clients as f64),
        server_cpu_seconds: cpu,
        cpu_seconds_by_process: measurement
            .cpu_by_process
            .iter()
            .map(Duration::as_secs_f64)
            .collect(),
        deliveries_per_cpu_second: cpu
            .filter(|cpu| *cpu > 0.0 && plan.pace.is_some())
            .map(|cpu| deliveries / cpu),
        latency: (counts.deliveries > 0).then(|| Latency {
            p50_ms: ms(counts.latency(0.5)),
            p90_ms: ms(counts.latency(0.9)),
            p99_ms: ms(counts.latency(0.99)),
            max_ms: ms(counts.latency(1.0)),
        }),
        lost_clients: measurement.lost,
        missing: counts.missing,
        unexpected: counts.unexpected,
        generator_cpu: measurement.own_cpu.as_secs_f64() / seconds,
        memory: (!plan.pids.is_empty()).then(|| Memory {
            before: before.memory,
            connected: start.memory,
            after: end.memory,
            per_connection: (start.memory as f64 - before.memory as f64) / plan.clients as f64,
        }),
    }
}

fn describe_load(plan: &Plan) -> String {
    let via = match (&plan.api, &plan.publish_at) {
        (Some(_), _) => "the HTTP API".to_owned(),
        (_, Some(target)) => format!("others at {}", target.url()),
        _ => "members".to_owned(),
    };
    match plan.pace {
        None => "idle".to_owned(),
        Some(Pace::InFlight(count)) => format!("{count} in flight in each room, by {via}"),
        Some(Pace::Rate(rate)) => format!("{rate} publications per second, by {via}"),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        row(f, "clients", &format!("{} in {} rooms", thousands(self.clients as f64), self.rooms))?;
        row(f, "load", &format!("{}, {} bytes each", self.load, self.payload))?;
        row(f, "measured", &format!("{:.1} s", self.seconds))?;
        if self.publications > 0 || self.deliveries > 0 {
            row(f, "publications", &thousands(self.publications as f64))?;
            row(f, "deliveries", &thousands(self.deliveries as f64))?;
            row(f, "deliveries/s", &thousands(self.deliveries_per_second))?;
        }
        if let Some(cpu) = self.cpu_ms_per_connect {
            row(f, "server CPU per connect", &format!("{cpu:.3} ms"))?;
        }
        if let Some(per_cpu) = self.deliveries_per_cpu_second {
            row(f, "deliveries/server CPU-s", &thousands(per_cpu))?;
        }
        if let Some(cpu) = self.server_cpu_seconds {
            row(f, "server CPU", &format!("{:.0} % of a core", cpu / self.seconds * 100.0))?;
        }
        if let Some(latency) = &self.latency {
            row(f, "latency", &latency.to_string())?;
        }
        if let Some(memory) = &self.memory {
            row(f, "server memory", &memory.to_string())?;
            let per_connection = memory.per_connection / 1024.0;
            row(f, "memory per connection", &format!("{per_connection:.1} KiB"))?;
        }
        row(f, "generator CPU", &format!("{:.0} % of a core", self.generator_cpu * 100.0))?;
        for (name, count) in [
            ("lost clients", self.lost_clients),
            ("missing deliveries", self.missing),
            ("unexpected deliveries", self.unexpected),
        ] {
            if count > 0 {
                row(f, name, &thousands(count as f64))?;
            }
        }
        if self.generator_cpu > SATURATED {
            let text = "The generator used its whole core: it may be what limits deliveries/s and \
                latency.";
            writeln!(f, "{text}")?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter, name: &str, value: &str) -> fmt::Result {
    writeln!(f, "{name:<28}{value}")
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
            self.p50_ms, self.p90_ms, self.p99_ms, self.max_ms
        )
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        let (before, connected, after) = (mib(self.before), mib(self.connected), mib(self.after));
        write!(f, "{before} before, {connected} connected, {after} after")
    }
}

/// A rounded number with thousands separators.
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
    fn thousands_are_separated_by_commas() {
        assert_eq!(thousands(0.4), "0");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(thousands(1_234_567.2), "1,234,567");
    }
}
