//! The [`ClientTraffic`]: what clients send and are sent.

use super::families::Families;
use super::striped_counters::StripedCounters;

/// A heartbeat is a packet of one byte, and is not counted: as in Node, where it has no data.
const HEARTBEAT: usize = 1;

/// `rookery_client_packets_total{direction}` and `rookery_client_bytes_total{direction}`: packets with data,
/// and their bytes before framing and compression.
pub struct ClientTraffic {
    packets: StripedCounters,
    bytes: StripedCounters,
}

/// Packets and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Traffic {
    /// The same for so many clients.
    pub fn times(self, clients: u64) -> Self {
        Traffic { packets: self.packets * clients, bytes: self.bytes * clients }
    }

    /// Adds a packet, unless it is a heartbeat.
    pub fn add(&mut self, bytes: usize) {
        if bytes > HEARTBEAT {
            self.packets += 1;
            self.bytes += bytes as u64;
        }
    }
}

const IN: usize = 0;
const OUT: usize = 1;

impl ClientTraffic {
    pub(super) fn new(families: &Families) -> prometheus::Result<Self> {
        let counters = |name, help| {
            families.striped_counters(name, help, "direction", ["in", "out"].into_iter())
        };
        let packets = "Packets that clients sent or were sent, without heartbeats";
        let bytes = "Bytes of these packets, before framing and compression";
        Ok(ClientTraffic {
            packets: counters("rookery_client_packets_total", packets)?,
            bytes: counters("rookery_client_bytes_total", bytes)?,
        })
    }

    /// Counts what a client sent.
    pub fn received(&self, traffic: Traffic) {
        self.add(IN, traffic);
    }

    /// Counts what a client is sent.
    pub fn sent(&self, traffic: Traffic) {
        self.add(OUT, traffic);
    }

    /// What clients sent, and what they were sent.
    pub fn totals(&self) -> (Traffic, Traffic) {
        let of = |at| Traffic { packets: self.packets.get(at), bytes: self.bytes.get(at) };
        (of(IN), of(OUT))
    }

    fn add(&self, direction: usize, traffic: Traffic) {
        if traffic.packets > 0 {
            self.packets.add(direction, traffic.packets);
            self.bytes.add(direction, traffic.bytes);
        }
    }
}
