//! The HorizontalPodAutoscaler, which follows the number of connections and what else is asked for.

use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricSource, CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules,
    HorizontalPodAutoscaler, HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec,
    MetricIdentifier, MetricSpec, MetricTarget, PodsMetricSource,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::metadata::object_meta;
use crate::crd::Autoscaling;
use crate::names;
use crate::pods::PodMetric;
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
            metrics: Some(metrics(autoscaling)),
            behavior: Some(behavior(v)),
        }),
        ..HorizontalPodAutoscaler::default()
    }
}

/// The metrics of pods that are asked for, with the target per pod: the connections always.
pub(super) fn targets(autoscaling: &Autoscaling) -> impl Iterator<Item = (PodMetric, i64)> {
    let connections = i64::from(autoscaling.connections_per_pod);
    let deliveries = autoscaling.deliveries_per_second.map(i64::from);
    let targets = [
        (PodMetric::Connections, Some(connections)),
        (PodMetric::DeliveriesPerSecond, deliveries),
        (PodMetric::OutboxBytes, autoscaling.outbox_bytes),
    ];
    targets.into_iter().filter_map(|(metric, target)| target.map(|target| (metric, target)))
}

/// The metrics of pods and, where it is asked for, the CPU.
fn metrics(autoscaling: &Autoscaling) -> Vec<MetricSpec> {
    let pods = targets(autoscaling).map(|(metric, target)| MetricSpec {
        type_: "Pods".to_owned(),
        pods: Some(PodsMetricSource {
            metric: MetricIdentifier { name: metric.name().to_owned(), selector: None },
            target: MetricTarget {
                type_: "AverageValue".to_owned(),
                average_value: Some(quantity(target)),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    });
    let cpu = autoscaling.cpu_utilization.map(|percent| MetricSpec {
        type_: "ContainerResource".to_owned(),
        container_resource: Some(ContainerResourceMetricSource {
            container: names::CONTAINER.to_owned(),
            name: "cpu".to_owned(),
            target: MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(percent),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    });
    pods.chain(cpu).collect()
}

/// A number as the cluster hands it back: 10000 is `10k` (Kubernetes API reference, `Quantity`).
fn quantity(number: i64) -> Quantity {
    let units = [(10i64.pow(12), "T"), (10i64.pow(9), "G"), (1_000_000, "M"), (1_000, "k")];
    let unit = units.into_iter().find(|(factor, _)| number >= *factor && number % factor == 0);
    Quantity(match unit {
        Some((factor, unit)) => format!("{}{unit}", number / factor),
        None => number.to_string(),
    })
}

/// Scales up at once and fast, because clients arrive in crowds and wait; scales down by one server
/// per drain period, so that only one server's clients reconnect at a time.
pub(super) fn behavior(v: &Validated) -> HorizontalPodAutoscalerBehavior {
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
    let up = rules(vec![policy("Percent", 100, 15), policy("Pods", 4, 15)], 0);
    let down = rules(
        vec![policy("Pods", 1, i32::try_from(drain).unwrap_or(i32::MAX))],
        i32::try_from(stabilization).unwrap_or(i32::MAX),
    );
    let asked = v.spec.autoscaling.behavior.clone().unwrap_or_default();
    HorizontalPodAutoscalerBehavior {
        scale_up: Some(overridden(up, asked.scale_up)),
        scale_down: Some(overridden(down, asked.scale_down)),
    }
}

/// The rules with what is asked for in their place.
fn overridden(rules: HPAScalingRules, asked: Option<HPAScalingRules>) -> HPAScalingRules {
    let Some(asked) = asked else { return rules };
    HPAScalingRules {
        policies: asked.policies.or(rules.policies),
        select_policy: asked.select_policy.or(rules.select_policy),
        stabilization_window_seconds: asked
            .stabilization_window_seconds
            .or(rules.stabilization_window_seconds),
        ..asked
    }
}
