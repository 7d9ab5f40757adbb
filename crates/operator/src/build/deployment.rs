//! The Deployment: how servers are replaced.

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::metadata::{object_meta, pod_selector};
use super::pod_template;
use super::redis_place;
use crate::names;
use crate::validate::{Validated, whole_seconds};

/// How long a new pod may take, beyond the time that it must have been ready: its node may have
/// to be made and the image pulled.
const STARTING_SECONDS: u32 = 300;

/// A terminating pod does not count as unavailable (Kubernetes documentation, "Deployments", section
/// "Terminating Pods"), so only `minReadySeconds` paces a rollout.
pub(super) fn build(v: &Validated) -> Deployment {
    let min_ready = whole_seconds(v.rollout.min_ready);
    let redis = redis_place::of(v).map(|place| (names::REDIS.to_owned(), place));
    Deployment {
        metadata: ObjectMeta { annotations: redis.map(|one| [one].into()), ..object_meta(v) },
        spec: Some(DeploymentSpec {
            // Never here: the autoscaler owns them.
            replicas: None,
            min_ready_seconds: Some(seconds(min_ready)),
            progress_deadline_seconds: Some(seconds(min_ready.saturating_add(STARTING_SECONDS))),
            revision_history_limit: Some(5),
            selector: pod_selector(v),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(v.rollout.max_surge.clone()),
                    max_unavailable: Some(v.rollout.max_unavailable.clone()),
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
