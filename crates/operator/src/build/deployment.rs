//! The Deployment: how servers are replaced.

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::metadata::{object_meta, pod_selector};
use super::pod_template;
use crate::names;
use crate::validate::{Validated, whole_seconds};

/// How long a new pod may take, beyond the time that it must have been ready: its node may have
/// to be made and the image pulled.
const STARTING_SECONDS: u32 = 300;

/// A terminating pod does not count as unavailable (Kubernetes documentation, "Deployments", section
/// "Terminating Pods"), so only `minReadySeconds` paces a rollout.
pub(super) fn build(v: &Validated) -> Deployment {
    let min_ready = whole_seconds(v.rollout.min_ready);
    let redis = redis(v).map(|redis| (names::REDIS.to_owned(), redis));
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

/// Which Redis connects the servers, and under which prefix: without user and password.
fn redis(v: &Validated) -> Option<String> {
    let redis = v.config.redis.as_ref()?;
    let place = match &v.redis_secret {
        Some(secret) => format!("Redis of the Secret {} (key {})", secret.name, secret.key),
        None => {
            let url = redis.redacted_url();
            let address = url.split_once("://").map_or(&*url, |(_, rest)| rest);
            let address = address.rsplit_once('@').map_or(address, |(_, rest)| rest);
            format!("Redis at {}", address.split(['?', '#']).next().unwrap_or(address))
        }
    };
    Some(format!("{place} with the prefix {}", redis.prefix))
}

fn seconds(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::tests::validated;
    use super::*;

    #[test]
    fn the_annotation_names_redis_without_user_and_password() {
        for (spec, expected) in [
            ("redis: { url: 'rediss://u:hunter2@cache:6380/2' }", "Redis at cache:6380/2"),
            ("redis: { host: cache }", "Redis at cache:6379"),
            ("redis: { urlSecret: { name: r } }", "Redis of the Secret r (key url)"),
            ("config: { redis: { url: 'redis://:p@ss@h' } }", "Redis at h"),
        ] {
            let expected = format!("{expected} with the prefix socket.io");
            assert_eq!(redis(&validated(spec)), Some(expected), "{spec}");
        }
        assert_eq!(redis(&validated("{}")), None);
    }
}
