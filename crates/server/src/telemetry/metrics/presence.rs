//! [`PresenceMetrics`]: who is in rooms with presence.

use prometheus::{IntCounter, IntGauge};

use super::families::Families;

/// What is counted of rooms with presence.
pub struct PresenceMetrics {
    /// `rookery_presence_rooms`: rooms with presence that have members on this instance.
    pub rooms: IntGauge,
    /// `rookery_presence_joins_total`: users, or members, that the members here were told joined.
    pub joins: IntCounter,
    /// `rookery_presence_leaves_total`: users, or members, that the members here were told left.
    pub leaves: IntCounter,
    /// `rookery_presence_expired_total`: users, or members, of instances that are gone, that this
    /// instance removed from Redis. Over all instances, each is counted once.
    pub expired: IntCounter,
    /// `rookery_presence_redis_errors_total`: rooms that could not be written to or read from Redis
    /// while it was connected; they are tried again.
    pub redis_errors: IntCounter,
    /// `rookery_presence_info_failed_total`: members that are shown without `presenceInfo`, because it
    /// failed or gave too much.
    pub info_failed: IntCounter,
}

impl PresenceMetrics {
    pub(super) fn new(families: &Families) -> prometheus::Result<Self> {
        Ok(PresenceMetrics {
            rooms: families.gauge(
                "rookery_presence_rooms",
                "Rooms with presence that have members on this instance",
            )?,
            joins: families.counter(
                "rookery_presence_joins_total",
                "Occupants that members were told joined",
            )?,
            leaves: families.counter(
                "rookery_presence_leaves_total",
                "Occupants that members were told left",
            )?,
            expired: families.counter(
                "rookery_presence_expired_total",
                "Occupants of instances that are gone, removed from Redis",
            )?,
            redis_errors: families.counter(
                "rookery_presence_redis_errors_total",
                "Rooms with presence that could not be written to or read from Redis",
            )?,
            info_failed: families.counter(
                "rookery_presence_info_failed_total",
                "Members that are shown without presenceInfo, as it failed",
            )?,
        })
    }
}
