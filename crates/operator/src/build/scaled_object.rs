//! The `ScaledObject` of KEDA (`keda.sh/v1alpha1`), whose triggers ask the operator.

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Map, Value, json};

use super::autoscaler::{behavior, targets};
use super::metadata::object_meta;
use crate::names;
use crate::validate::Validated;

/// Seconds between two questions of KEDA, as of a HorizontalPodAutoscaler.
const POLLING_INTERVAL: u32 = 15;

/// The kind of [`build`].
pub(super) fn kind() -> ApiResource {
    let kind = GroupVersionKind::gvk("keda.sh", "v1alpha1", "ScaledObject");
    ApiResource::from_gvk_with_plural(&kind, "scaledobjects")
}

/// Scales as the HorizontalPodAutoscaler would; `None` where the operator serves no external scaler.
pub(super) fn build(v: &Validated) -> Option<Value> {
    let address = v.scaler_address.as_ref()?;
    let kind = kind();
    let mut metadata = Map::new();
    metadata.insert("scalerAddress".to_owned(), json!(address));
    metadata.insert("rookery".to_owned(), json!(v.name));
    for (metric, target) in targets(&v.spec.autoscaling) {
        metadata.insert(metric.target_key().to_owned(), json!(target.to_string()));
    }
    let mut triggers = vec![json!({
        "type": "external",
        "metricType": "AverageValue",
        "metadata": metadata,
    })];
    triggers.extend(v.spec.autoscaling.cpu_utilization.map(|percent| {
        json!({
            "type": "cpu",
            "metricType": "Utilization",
            "metadata": { "value": percent.to_string(), "containerName": names::CONTAINER },
        })
    }));
    Some(json!({
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": object_meta(v),
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": v.name },
            "minReplicaCount": v.min_replicas,
            "maxReplicaCount": v.max_replicas,
            "pollingInterval": POLLING_INTERVAL,
            "advanced": { "horizontalPodAutoscalerConfig": { "behavior": behavior(v) } },
            "triggers": triggers,
        },
    }))
}
