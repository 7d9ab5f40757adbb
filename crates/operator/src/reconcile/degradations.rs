//! What keeps a resource from being fully applied, as a `Degraded` condition. Pure.

use crate::apply::ApplyError;
use crate::crd::{Autoscaling, MetricsSource};
use crate::custom_metrics::Serving;
use crate::status::Degradation;

/// Autoscaling that gets no metrics from this operator. `has_keda` is whether the cluster knows
/// KEDA's `ScaledObject`, `has_scaler` whether this operator serves the external scaler.
pub(super) fn of_autoscaling(
    autoscaling: &Autoscaling,
    serving: &Serving,
    has_keda: bool,
    has_scaler: bool,
) -> Option<Degradation> {
    match autoscaling.metrics {
        _ if !autoscaling.enabled => None,
        MetricsSource::External => None,
        MetricsSource::Builtin => of_metrics_api(serving),
        MetricsSource::Keda => of_keda(has_keda, has_scaler),
    }
}

fn of_keda(has_keda: bool, has_scaler: bool) -> Option<Degradation> {
    if !has_scaler {
        return Some(Degradation {
            reason: "KedaScalerDisabled",
            message: "autoscaling.metrics is keda, but the operator runs without its external \
                      scaler, so nothing scales: set kedaScaler.enabled: true in the values of the \
                      operator's chart, or autoscaling.enabled: false and write a ScaledObject of \
                      your own"
                .to_owned(),
        });
    }
    (!has_keda).then(|| Degradation {
        reason: "KedaMissing",
        message: "autoscaling.metrics is keda, but this cluster has no kind ScaledObject of \
                  keda.sh/v1alpha1, so nothing scales: install KEDA; the operator notices within a \
                  minute"
            .to_owned(),
    })
}

fn of_metrics_api(serving: &Serving) -> Option<Degradation> {
    match serving {
        Serving::Foreign { service } => Some(Degradation {
            reason: "MetricsElsewhere",
            message: format!(
                "custom.metrics.k8s.io is served by {service}, so this operator does not serve \
                 it and nothing scales by connections: provide the metric \
                 rookery_connections from that server and set autoscaling.metrics: external, \
                 or remove that server"
            ),
        }),
        Serving::Disabled => Some(Degradation {
            reason: "MetricsDisabled",
            message:
                "the operator runs without its metrics API, so nothing scales by connections: \
                      set autoscaling.metrics to keda, or to external and provide the metric \
                      rookery_connections from another server, or set metricsApi.enabled: true in \
                      the values of the operator's chart"
                    .to_owned(),
        }),
        Serving::Unreachable { message } => Some(Degradation {
            reason: "MetricsUnreachable",
            message: format!(
                "the API server cannot reach the operator's metrics API, so nothing scales \
                 by connections: {message}"
            ),
        }),
        Serving::Ours | Serving::Off { .. } => None,
    }
}

/// Objects that somebody else keeps changing back, as a `Degraded` condition.
pub(super) fn of_contests(labels: &[String]) -> Option<Degradation> {
    (!labels.is_empty()).then(|| Degradation {
        reason: "Contested",
        message: format!(
            "something else keeps changing {} back, so the operator leaves it alone for up to 10 \
             minutes; find it in metadata.managedFields (kubectl get --show-managed-fields -o yaml)",
            labels.join(", ")
        ),
    })
}

/// The failure as a `Degraded` condition; `None` if only the cluster is at fault.
pub(super) fn of_apply_error(error: &ApplyError) -> Option<Degradation> {
    let reason = match error {
        ApplyError::Foreign { .. } => "NameTaken",
        ApplyError::Refused { .. } => "Refused",
        ApplyError::Cluster(_) => return None,
    };
    Some(Degradation { reason, message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::WITHOUT_METRICS;

    #[test]
    fn autoscaling_without_the_metrics_api_says_what_to_do() {
        let builtin = Autoscaling::default();
        let of = |autoscaling: &Autoscaling| {
            of_autoscaling(autoscaling, &Serving::Disabled, false, false)
        };
        let degradation = of(&builtin).unwrap();
        for named in ["metricsApi.enabled", "external", "keda"] {
            assert!(degradation.message.contains(named), "{}", degradation.message);
        }
        assert!(WITHOUT_METRICS.contains(&degradation.reason));
        let external = Autoscaling { metrics: MetricsSource::External, ..builtin.clone() };
        let manual = Autoscaling { enabled: false, ..builtin };
        assert_eq!((of(&external), of(&manual)), (None, None));
    }

    #[test]
    fn keda_needs_its_kind_and_the_external_scaler() {
        let keda = Autoscaling { metrics: MetricsSource::Keda, ..Autoscaling::default() };
        let of = |has_keda, has_scaler| {
            of_autoscaling(&keda, &Serving::Disabled, has_keda, has_scaler)
                .map(|found| found.reason)
        };
        assert_eq!(of(true, false), Some("KedaScalerDisabled"));
        assert_eq!(of(false, true), Some("KedaMissing"));
        assert_eq!(of(true, true), None);
        for reason in [of(true, false), of(false, true)].into_iter().flatten() {
            assert!(WITHOUT_METRICS.contains(&reason));
        }
    }

    #[test]
    fn an_unreachable_cluster_does_not_degrade_a_resource() {
        let foreign = ApplyError::Foreign { kind: "Service".to_owned(), name: "chat".to_owned() };
        let degradation = of_apply_error(&foreign).unwrap();
        assert!(degradation.message.contains("Service chat"), "{}", degradation.message);
        let silent = kube::Error::Service("no route".into());
        assert_eq!(of_apply_error(&ApplyError::Cluster(silent)), None);
    }
}
