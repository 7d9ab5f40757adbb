//! The server behind the cluster's custom metrics.

/// The server behind custom.metrics.k8s.io, as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serving {
    /// This operator, and the API server can reach it.
    Ours,
    /// This operator, but the API server cannot reach it.
    Unreachable {
        /// The message of the APIService's condition `Available`.
        message: String,
    },
    /// Another server, which is left alone.
    Foreign {
        /// The Service of the other server, `namespace/name`.
        service: String,
    },
    /// Nobody, as far as this operator is concerned: it runs with `--metrics-api none`.
    Disabled,
    /// Unknown or none: this replica is not the leader, has not checked yet, or is being
    /// uninstalled.
    Off {
        /// The reason, for the log.
        reason: String,
    },
}

impl Serving {
    /// The values of the label `state` of `rookery_operator_metrics_api`.
    pub const STATES: [&str; 4] = ["ours", "elsewhere", "unreachable", "off"];

    /// The one of [`STATES`](Self::STATES) that this is; `None` if it is unknown.
    pub fn state(&self) -> Option<&'static str> {
        match self {
            Serving::Ours => Some("ours"),
            Serving::Foreign { .. } => Some("elsewhere"),
            Serving::Unreachable { .. } => Some("unreachable"),
            Serving::Disabled => Some("off"),
            Serving::Off { .. } => None,
        }
    }
}
