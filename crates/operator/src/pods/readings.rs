//! The values of a metric, with those of terminating pods counted towards the pods that remain.

use std::collections::HashMap;

use k8s_openapi::jiff::Timestamp;

use super::load::PodMetric;
use super::server_pod::ServerPod;

/// The value of a metric for one pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// Whether the pod's condition `Ready` is true.
    pub ready: bool,
    /// The value; `None` if there is no recent scrape or the server does not have the metric.
    pub value: Option<u64>,
    /// Time of the scrape.
    pub read_at: Option<Timestamp>,
}

/// The values of a metric for pods as they are.
pub fn readings(pods: &[ServerPod], metric: PodMetric) -> Vec<Reading> {
    pods.iter().map(|pod| reading(pod, metric)).collect()
}

/// The values of a metric for the pods that remain, each with an even share of what the terminating
/// pods of its `Rookery` have.
///
/// An autoscaler ignores pods that are being deleted, but their connections soon move to the
/// others. Without them it would scale down in the middle of a rollout, whose old servers hold all
/// connections until the new ones are ready.
pub fn redistributed(pods: &[ServerPod], metric: PodMetric) -> Vec<Reading> {
    let mut leaving: HashMap<&str, u64> = HashMap::new();
    let mut staying: HashMap<&str, u64> = HashMap::new();
    for pod in pods {
        let Some(value) = pod.value(metric) else { continue };
        match pod.terminating {
            true if !metric.moves_with_clients() => {}
            true => *leaving.entry(&pod.instance).or_default() += value,
            false => *staying.entry(&pod.instance).or_default() += 1,
        }
    }
    let stay = pods.iter().filter(|pod| !pod.terminating);
    let with_share = stay.map(|pod| {
        let mut reading = reading(pod, metric);
        let left = leaving.get_mut(pod.instance.as_str());
        let takers = staying.get_mut(pod.instance.as_str());
        if let (Some(value), Some(left), Some(takers)) = (&mut reading.value, left, takers) {
            let share = left.div_ceil((*takers).max(1));
            *value += share;
            *left -= share;
            *takers -= 1;
        }
        reading
    });
    with_share.collect()
}

fn reading(pod: &ServerPod, metric: PodMetric) -> Reading {
    Reading {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        ready: pod.ready,
        value: pod.value(metric),
        read_at: pod.read_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(instance: &str, terminating: bool, connections: Option<u64>) -> ServerPod {
        ServerPod {
            namespace: "chat".to_owned(),
            name: "x".to_owned(),
            instance: instance.to_owned(),
            ready: true,
            terminating,
            connections,
            outbox_bytes: connections,
            ..ServerPod::default()
        }
    }

    fn counts(pods: &[ServerPod], metric: PodMetric) -> Vec<Option<u64>> {
        redistributed(pods, metric).into_iter().map(|reading| reading.value).collect()
    }

    #[test]
    fn without_a_terminating_pod_counts_are_unchanged() {
        let pods = [pod("a", false, Some(3)), pod("a", false, None), pod("b", false, Some(9))];
        assert_eq!(counts(&pods, PodMetric::Connections), [Some(3), None, Some(9)]);
    }

    #[test]
    fn terminating_connections_are_shared_among_the_remaining_pods_and_none_is_lost() {
        let pods = [
            pod("a", true, Some(10)),
            pod("a", false, Some(1)),
            pod("b", false, Some(7)),
            pod("a", false, Some(2)),
            pod("a", false, None),
            pod("a", true, Some(1)),
            pod("a", false, Some(0)),
        ];
        let all = counts(&pods, PodMetric::Connections);
        assert_eq!(all, [Some(1 + 4), Some(7), Some(2 + 4), None, Some(3)]);
        let bytes = counts(&pods, PodMetric::OutboxBytes);
        assert_eq!(bytes, [Some(1), Some(7), Some(2), None, Some(0)], "they go with their pods");
    }

    #[test]
    fn connections_are_dropped_if_every_pod_is_terminating() {
        let pods = [pod("a", true, Some(10)), pod("b", false, Some(1))];
        assert_eq!(counts(&pods, PodMetric::Connections), [Some(1)]);
    }
}
