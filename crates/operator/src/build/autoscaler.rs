//! The HorizontalPodAutoscaler, which follows the number of connections.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec, MetricIdentifier, MetricSpec,
    MetricTarget, PodsMetricSource,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::metadata::object_meta;
use crate::names;
use crate::validate::Validated;

/// The longest period of a policy (autoscaling/v2, `HPAScalingPolicy.periodSeconds`).
const LONGEST_PERIOD: u32 = 1800;

pub(super) fn build(v: &Validated) -> HorizontalPodAutoscaler {
    let autoscaling = &v.spec.autoscaling;
    HorizontalPodAutoscaler {
        metadata: object_meta(v),
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: "Deployment".to_owned(),
                name: v.name.clone(),
            },
            min_replicas: Some(v.min_replicas),
            max_replicas: v.max_replicas,
            metrics: Some(vec![MetricSpec {
                type_: "Pods".to_owned(),
                pods: Some(PodsMetricSource {
                    metric: MetricIdentifier {
                        name: names::CONNECTIONS_METRIC.to_owned(),
                        selector: None,
                    },
                    target: MetricTarget {
                        type_: "AverageValue".to_owned(),
                        average_value: Some(quantity(autoscaling.connections_per_pod)),
                        ..MetricTarget::default()
                    },
                }),
                ..MetricSpec::default()
            }]),
            behavior: Some(behavior(v)),
        }),
        ..HorizontalPodAutoscaler::default()
    }
}

/// A number as the cluster hands it back: 10000 is `10k` (Kubernetes API reference, `Quantity`).
fn quantity(number: i32) -> Quantity {
    let units = [(1_000_000, "M"), (1_000, "k")];
    let unit = units.into_iter().find(|(factor, _)| number >= *factor && number % factor == 0);
    Quantity(match unit {
        Some((factor, unit)) => format!("{}{unit}", number / factor),
        None => number.to_string(),
    })
}

/// Scales up at once and fast, because clients arrive in crowds and wait; scales down by one server
/// per drain period, so that only one server's clients reconnect at a time.
fn behavior(v: &Validated) -> HorizontalPodAutoscalerBehavior {
    let policy = |type_: &str, value, period_seconds| HPAScalingPolicy {
        type_: type_.to_owned(),
        value,
        period_seconds,
    };
    let drain = v.drain_seconds().clamp(1, LONGEST_PERIOD);
    let stabilization = v.spec.autoscaling.stabilization.0.as_secs();
    let rules = |policies, stabilization| HPAScalingRules {
        policies: Some(policies),
        select_policy: Some("Max".to_owned()),
        stabilization_window_seconds: Some(stabilization),
        ..HPAScalingRules::default()
    };
    HorizontalPodAutoscalerBehavior {
        scale_up: Some(rules(vec![policy("Percent", 100, 15), policy("Pods", 4, 15)], 0)),
        scale_down: Some(rules(
            vec![policy("Pods", 1, i32::try_from(drain).unwrap_or(i32::MAX))],
            i32::try_from(stabilization).unwrap_or(i32::MAX),
        )),
    }
}
