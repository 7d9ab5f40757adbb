//! Counts the connections of terminating pods towards the pods that remain.

use std::collections::HashMap;

use crate::pods::ServerPod;

/// Returns the pods that remain, each with an even share of the connections of the terminating pods
/// of its `Rookery`.
///
/// An autoscaler ignores pods that are being deleted, but their connections soon move to the
/// others. Without them it would scale down in the middle of a rollout, whose old servers hold all
/// connections until the new ones are ready.
pub(super) fn redistribute_terminating(pods: Vec<ServerPod>) -> Vec<ServerPod> {
    let mut leaving: HashMap<String, u64> = HashMap::new();
    let mut staying: HashMap<String, u64> = HashMap::new();
    for pod in &pods {
        let Some(connections) = pod.connections else { continue };
        match pod.terminating {
            true => *leaving.entry(pod.instance.clone()).or_default() += connections,
            false => *staying.entry(pod.instance.clone()).or_default() += 1,
        }
    }
    let mut stay: Vec<ServerPod> = pods.into_iter().filter(|pod| !pod.terminating).collect();
    for pod in &mut stay {
        let Some(connections) = &mut pod.connections else { continue };
        let (Some(left), Some(takers)) =
            (leaving.get_mut(&pod.instance), staying.get_mut(&pod.instance))
        else {
            continue;
        };
        let share = left.div_ceil((*takers).max(1));
        *connections += share;
        *left -= share;
        *takers -= 1;
    }
    stay
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
            ..ServerPod::default()
        }
    }

    fn counts(pods: Vec<ServerPod>) -> Vec<Option<u64>> {
        redistribute_terminating(pods).into_iter().map(|pod| pod.connections).collect()
    }

    #[test]
    fn without_a_terminating_pod_counts_are_unchanged() {
        let pods = vec![pod("a", false, Some(3)), pod("a", false, None), pod("b", false, Some(9))];
        assert_eq!(counts(pods), [Some(3), None, Some(9)]);
    }

    #[test]
    fn terminating_connections_are_shared_among_the_remaining_pods_and_none_is_lost() {
        let pods = vec![
            pod("a", true, Some(10)),
            pod("a", false, Some(1)),
            pod("b", false, Some(7)),
            pod("a", false, Some(2)),
            pod("a", false, None),
            pod("a", true, Some(1)),
            pod("a", false, Some(0)),
        ];
        let all = counts(pods);
        assert_eq!(all, [Some(1 + 4), Some(7), Some(2 + 4), None, Some(3)]);
    }

    #[test]
    fn connections_are_dropped_if_every_pod_is_terminating() {
        assert_eq!(counts(vec![pod("a", true, Some(10)), pod("b", false, Some(1))]), [Some(1)]);
    }
}
