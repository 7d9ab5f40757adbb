//! The PodDisruptionBudget: node drains evict one server at a time.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata::{object_meta, pod_selector};
use crate::validate::Validated;

pub(super) fn build(v: &Validated) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: object_meta(v),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(pod_selector(v)),
            // A server that is not ready serves no clients, so it never blocks a node drain.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}
