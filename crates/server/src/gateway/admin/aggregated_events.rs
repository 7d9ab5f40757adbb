//! The [`AggregatedEvents`]: what happened between two reports, as the page draws it. Pure.

use rookery_protocol::Data;

use super::event::{number, object};
use crate::telemetry::metrics::{Disconnected, Traffic};

/// Counts since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sessions that are open.
    pub open: u64,
    /// Sessions that ended, by why: in the order of [`Disconnected::ALL`].
    pub ended: Vec<u64>,
    /// What clients sent.
    pub received: Traffic,
    /// What they were sent.
    pub sent: Traffic,
}

/// Gives what happened since the last report.
#[derive(Debug)]
pub struct AggregatedEvents {
    last: Totals,
}

impl AggregatedEvents {
    /// What happens from now on.
    pub fn since(totals: Totals) -> Self {
        AggregatedEvents { last: totals }
    }

    /// What happened since the last call, `{timestamp, type, subType, count}` each; `second` is now, in
    /// seconds since 1970. Sessions that began are those that are there now and were not, and those
    /// that ended: no counter of the server says it.
    pub fn take(&mut self, totals: Totals, second: u64) -> Data {
        let ended: Vec<u64> = totals
            .ended
            .iter()
            .enumerate()
            .map(|(at, n)| n.saturating_sub(self.last.ended.get(at).copied().unwrap_or_default()))
            .collect();
        let all = ended.iter().sum::<u64>() + totals.open;
        let mut found = Vec::new();
        let mut add = |kind: &str, sub_type: Option<&str>, count: u64| {
            if count > 0 {
                found.push(event(kind, sub_type, count, second));
            }
        };
        add("rawConnection", None, all.saturating_sub(self.last.open));
        for (reason, count) in Disconnected::ALL.iter().zip(ended) {
            add("rawDisconnection", Some(reason.label()), count);
        }
        for (packets, bytes, now, last) in [
            ("packetsIn", "bytesIn", totals.received, self.last.received),
            ("packetsOut", "bytesOut", totals.sent, self.last.sent),
        ] {
            add(packets, None, now.packets.saturating_sub(last.packets));
            add(bytes, None, now.bytes.saturating_sub(last.bytes));
        }
        self.last = totals;
        Data::Array(found)
    }
}

fn event(kind: &str, sub_type: Option<&str>, count: u64, second: u64) -> Data {
    let (timestamp, kind, count) = (number(second * 1000), Data::from(kind), number(count));
    match sub_type {
        None => object([("timestamp", timestamp), ("type", kind), ("count", count)]),
        Some(sub_type) => object([
            ("timestamp", timestamp),
            ("type", kind),
            ("subType", sub_type.into()),
            ("count", count),
        ]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(open: u64, client: u64, sent: u64) -> Totals {
        let ended = Disconnected::ALL.iter().map(|reason| match reason {
            Disconnected::Client => client,
            _ => 3,
        });
        let received = Traffic { packets: 7, bytes: sent };
        let sent = Traffic { packets: sent, bytes: 10 * sent };
        Totals { open, ended: ended.collect(), received, sent }
    }

    #[test]
    fn each_report_holds_what_happened_since_the_last() {
        let mut events = AggregatedEvents::since(totals(5, 10, 100));
        let mut take = |totals| serde_json::to_value(events.take(totals, 7)).unwrap();
        assert_eq!(take(totals(5, 10, 100)), serde_json::json!([]));
        assert_eq!(
            take(totals(6, 12, 101)),
            serde_json::json!([
                { "timestamp": 7000, "type": "rawConnection", "count": 3 },
                { "timestamp": 7000, "type": "rawDisconnection", "subType": "client", "count": 2 },
                { "timestamp": 7000, "type": "bytesIn", "count": 1 },
                { "timestamp": 7000, "type": "packetsOut", "count": 1 },
                { "timestamp": 7000, "type": "bytesOut", "count": 10 },
            ])
        );
        assert_eq!(take(totals(6, 12, 101)), serde_json::json!([]));
        // One less is open and none has been counted as ended yet.
        assert_eq!(take(totals(5, 12, 101)), serde_json::json!([]));
    }
}
