//! The section `limits`: bounds on what clients may use.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::units::{Period, Rate, Size};

/// Bounds on what clients may use.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Sessions that may be open at once, per instance. The default is less where `limits.memory`
    /// has no room for so many.
    pub connections: Connections,
    /// Bytes of memory beyond which new sessions are refused; beyond an eighth more, the clients
    /// with the largest queues are disconnected. Default: 80 % of the container's limit.
    pub memory: Option<Size>,
    /// New sessions per second, per instance.
    pub connect_rate: Rate,
    /// Bounds for each client address.
    pub per_ip: Option<PerIp>,
    /// Rooms that a client may be in, per namespace.
    pub rooms_per_client: u32,
    /// Events that a client may send per second.
    pub events_per_second: u32,
    /// Bytes that may be queued for a client before it is disconnected as too slow.
    pub queue: Size,
    /// How long a client may read nothing of what is queued for it before it is disconnected.
    pub write_stall: Period,
    /// How long a client may take to send the head of an HTTP request.
    pub header_read: Period,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: Connections::default(),
            memory: None,
            connect_rate: Rate(500),
            per_ip: None,
            rooms_per_client: 100,
            events_per_second: 100,
            queue: Size(1 << 20),
            write_stall: Period(Duration::from_secs(10)),
            header_read: Period(Duration::from_secs(10)),
        }
    }
}

/// A number of sessions, written as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    most: u32,
    is_default: bool,
}

impl Connections {
    /// The number.
    pub fn get(self) -> u32 {
        self.most
    }

    /// The number for a process that may use `memory` bytes, each session `per_session` of them:
    /// what is configured, and otherwise the default, or fewer where they need more memory.
    #[must_use]
    pub fn within(self, memory: u64, per_session: u64) -> Self {
        if !self.is_default {
            return self;
        }
        let fit = u32::try_from(memory / per_session.max(1)).unwrap_or(u32::MAX);
        Connections { most: self.most.min(fit.max(1)), ..self }
    }
}

impl Default for Connections {
    fn default() -> Self {
        Connections { most: 50_000, is_default: true }
    }
}

impl From<u32> for Connections {
    fn from(most: u32) -> Self {
        Connections { most, is_default: false }
    }
}

impl Serialize for Connections {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.most.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Connections {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(Self::from)
    }
}

impl JsonSchema for Connections {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        u32::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        u32::json_schema(generator)
    }
}

/// Bounds for each client address.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PerIp {
    /// Sessions that may be open at once from one address.
    pub connections: Option<u32>,
    /// New sessions per second from one address.
    pub connect_rate: Option<Rate>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_default_number_of_connections_follows_the_memory() {
        let fits = |connections: Connections, memory| connections.within(memory, 1_000).get();
        assert_eq!(fits(Connections::default(), 4_000_000), 4_000);
        assert_eq!(fits(Connections::default(), u64::MAX), 50_000);
        assert_eq!(fits(Connections::default(), 10), 1);
        assert_eq!(fits(Connections::from(50_000), 4_000_000), 50_000);
    }
}
