//! The section `telemetry`: logs and traces.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::redacted::redacted;

/// Logs and traces.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Telemetry {
    /// The base URL of the OTLP collector that receives traces over HTTP. Without it, nothing is
    /// traced.
    pub otlp: Option<String>,
    /// The fraction of publications without a `traceparent` that are traced, from 0 to 1. A
    /// publication with a `traceparent` is traced if that says so.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub trace_ratio: f64,
    /// The format of log lines.
    pub log_format: LogFormat,
}

impl Default for Telemetry {
    fn default() -> Self {
        Telemetry { otlp: None, trace_ratio: 0.01, log_format: LogFormat::default() }
    }
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Telemetry")
            .field("otlp", &self.otlp.as_deref().map(redacted))
            .field("trace_ratio", &self.trace_ratio)
            .field("log_format", &self.log_format)
            .finish()
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Text, for people.
    Text,
    /// One JSON object per line.
    Json,
}
