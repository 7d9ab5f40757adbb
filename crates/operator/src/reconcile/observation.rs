//! The [`Observation`] of one reconciliation.

use crate::apply::Applied;
use crate::status::Degradation;

/// What a reconciliation found out.
#[derive(Default)]
pub(super) struct Observation {
    /// The objects as they are in the cluster, if they were applied.
    pub(super) applied: Applied,
    /// What keeps the resource from being fully applied.
    pub(super) degradation: Option<Degradation>,
    /// Whether Redis is configured, if the resource is valid.
    pub(super) redis: Option<bool>,
    /// The least number of pods, if the resource is valid.
    pub(super) min_replicas: Option<i32>,
    /// What it waits for before its pods are replaced.
    pub(super) waiting: Option<String>,
    /// Whether the resource asks to leave everything as it is.
    pub(super) paused: bool,
    /// Warnings about valid settings.
    pub(super) warnings: Vec<String>,
}

impl Observation {
    /// The resource cannot be applied as it is written.
    pub(super) fn degraded(reason: &'static str, message: String) -> Self {
        Observation { degradation: Some(Degradation { reason, message }), ..Observation::default() }
    }
}
