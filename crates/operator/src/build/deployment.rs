//! The Deployment: how servers are replaced.

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata::{object_meta, pod_selector};
use super::pod_template;
use crate::validate::Validated;

/// How long a new pod may take, beyond the time that it must have been ready: its node may have
/// to be made and the image pulled.
const STARTING_SECONDS: u32 = 300;

/// A rollout replaces one server at a time, and goes on when the one before has had the time to
/// hand over its clients: a terminating pod does not count as unavailable, so only
/// `minReadySeconds` paces it.
pub(super) fn build(v: &Validated) -> Deployment {
    let drain = v.drain_seconds();
    Deployment {
        metadata: object_meta(v),
        spec: Some(DeploymentSpec {
            // Never here: the autoscaler owns them.
            replicas: None,
            min_ready_seconds: Some(seconds(drain)),
            progress_deadline_seconds: Some(seconds(drain.saturating_add(STARTING_SECONDS))),
            revision_history_limit: Some(5),
            selector: pod_selector(v),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: pod_template::build(v),
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn seconds(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
