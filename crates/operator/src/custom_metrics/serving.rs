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
    /// Unknown or none: this replica is not the leader, has not checked yet, or is being
    /// uninstalled.
    Off {
        /// The reason, for the log.
        reason: String,
    },
}
