//! The [`DeflateMetrics`]: what compression saves.

use super::families::Families;
use super::striped_counters::StripedCounters;

/// `rookery_deflate_bytes_total{stage}`: bytes of packets for clients that take compressed messages.
pub struct DeflateMetrics(StripedCounters);

impl DeflateMetrics {
    pub(super) fn new(families: &Families) -> prometheus::Result<Self> {
        let counters = families.striped_counters(
            "rookery_deflate_bytes_total",
            "Bytes of packets for clients that take compressed messages",
            "stage",
            ["before", "after"].into_iter(),
        )?;
        Ok(DeflateMetrics(counters))
    }

    /// Counts bytes for one client: before compression, and after it.
    pub fn add(&self, before: usize, after: usize) {
        self.0.add(0, before as u64);
        self.0.add(1, after as u64);
    }
}
