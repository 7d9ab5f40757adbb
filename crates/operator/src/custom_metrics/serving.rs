//! Which server the cluster's custom metrics come from.

/// Who serves the cluster's custom metrics, as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serving {
    /// This operator.
    Ours,
    /// This operator, but the API server does not get through to it.
    Unreachable {
        /// What the API server says.
        message: String,
    },
    /// Somebody else, who is left alone.
    Foreign {
        /// The other's service, `namespace/name`.
        service: String,
    },
    /// Nobody: this replica does not lead, has not looked yet, or is being taken down.
    Off {
        /// Why.
        reason: String,
    },
}
