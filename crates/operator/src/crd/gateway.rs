//! `spec.gateway`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A route of the Gateway API for clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// Gateways that take the route.
    #[schemars(length(min = 1, max = 32))]
    pub parent_refs: Vec<ParentRef>,
    /// Host names that clients use. Default: those of the Gateways' listeners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub hostnames: Vec<String>,
    /// Whether the route asks for session persistence by cookie, which polling clients need
    /// (GEP-1619, in the experimental channel of the Gateway API). Without its definition, or where
    /// the implementation has none, leave only `websocket` in `config.socketio.transports`.
    #[serde(default = "Gateway::default_sticky")]
    pub sticky: bool,
    /// Additional annotations of the route.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Gateway {
    fn default_sticky() -> bool {
        true
    }
}

/// A Gateway that takes the route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// Name of the Gateway.
    pub name: String,
    /// Namespace of the Gateway. Default: that of the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the Gateway's listener. Default: all that fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}
