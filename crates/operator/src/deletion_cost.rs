//! Keeps each pod's deletion cost close to its connection count, so that a scale-down removes the
//! pod with the fewest connections.
//!
//! A ReplicaSet with too many pods removes the ready pod with the lowest cost. By the time a
//! Deployment shows fewer replicas it has already chosen, so costs are made exact earlier: as soon
//! as the connections fit into fewer pods, which is when an autoscaler scales down.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::names;
use super::pods::{Pods, ServerPod};

/// Interval between checks of all costs.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Minimum interval between two writes for one pod.
const WRITE_INTERVAL: Duration = Duration::from_secs(30);

/// Minimum interval while a scale-down is expected.
const SCALE_DOWN_WRITE_INTERVAL: Duration = Duration::from_secs(5);

/// A change smaller than one tenth of the cost is not written.
const SIGNIFICANT_FRACTION: u64 = 10;

/// Maximum number of concurrent writes.
const MAX_CONCURRENT_WRITES: usize = 8;

/// Deadline of one write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Field manager of the annotation, and of nothing else.
const MANAGER: &str = "rookery-operator-deletion-cost";

/// Scaling settings of a `Rookery`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaling {
    /// Target connections per pod; 0 if the resource does not scale.
    pub connections_per_pod: u64,
    /// Minimum number of pods.
    pub min: usize,
}

/// Writes the annotation [`names::DELETION_COST`] of every server pod until `stop` is cancelled.
/// Run it on the leader only. `scaling` returns the settings of the `Rookery` (namespace, name), or
/// `None` if they are unknown or it does not scale; it is called for each of them every second and
/// must not block.
///
/// A failed write is logged and retried when the pod's next write is due.
pub async fn run(
    client: Client,
    pods: Pods,
    scaling: impl Fn(&str, &str) -> Option<Scaling>,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(CHECK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut written = WriteTimes::default();
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let due = written.due(&pods.all(), &scaling, Instant::now());
        let writes = stream::iter(due).for_each_concurrent(MAX_CONCURRENT_WRITES, |(pod, cost)| {
            let client = client.clone();
            async move { write(client, &pod.namespace, &pod.name, cost).await }
        });
        if stop.run_until_cancelled(writes).await.is_none() {
            return;
        }
    }
}

async fn write(client: Client, namespace: &str, name: &str, cost: i32) {
    let api: Api<Pod> = Api::namespaced(client, namespace);
    // A merge patch of this field alone: server-side apply would re-create a deleted pod.
    let patch = json!({"metadata": {"annotations": {names::DELETION_COST: cost.to_string()}}});
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    let patch = Patch::Merge(&patch);
    let request = api.patch_metadata(name, &params, &patch);
    match tokio::time::timeout(WRITE_TIMEOUT, request).await {
        Ok(Ok(_)) => {}
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
            debug!(namespace, pod = name, "pod was deleted before its deletion cost was written");
        }
        Ok(Err(error)) => {
            warn!(namespace, pod = name, %error, "cannot write the deletion cost of a pod");
        }
        Err(_) => warn!(namespace, pod = name, "timed out writing the deletion cost of a pod"),
    }
}

/// Time of the last write for each pod, by namespace and name.
#[derive(Default)]
struct WriteTimes(HashMap<(String, String), Instant>);

impl WriteTimes {
    /// Returns the costs to write now and counts them as written. Deleted pods are forgotten.
    fn due(
        &mut self,
        pods: &[ServerPod],
        scaling: impl Fn(&str, &str) -> Option<Scaling>,
        now: Instant,
    ) -> Vec<(ServerPod, i32)> {
        let shrinking = shrinking(pods, scaling);
        let mut due = Vec::new();
        let mut here = HashSet::new();
        for pod in pods.iter().filter(|pod| !pod.terminating) {
            let key = (pod.namespace.clone(), pod.name.clone());
            here.insert(key.clone());
            let Some(count) = pod.connections else { continue };
            let written_at = self.0.get(&key).copied();
            let shrinks = shrinking.contains(&(pod.namespace.as_str(), pod.instance.as_str()));
            if let Some(cost) = cost_to_write(pod.deletion_cost, written_at, count, now, shrinks) {
                self.0.insert(key, now);
                due.push((pod.clone(), cost));
            }
        }
        self.0.retain(|key, _| here.contains(key));
        due
    }
}

/// The instances whose connections fit into fewer pods than they have, with more pods than their
/// minimum.
fn shrinking(
    pods: &[ServerPod],
    scaling: impl Fn(&str, &str) -> Option<Scaling>,
) -> HashSet<(&str, &str)> {
    let mut totals: BTreeMap<(&str, &str), (usize, Option<u64>)> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !pod.terminating) {
        let total = totals.entry((&pod.namespace, &pod.instance)).or_insert((0, Some(0)));
        total.0 += 1;
        // An instance with a pod of unknown count is skipped.
        total.1 = total.1.zip(pod.connections).map(|(sum, count)| sum.saturating_add(count));
    }
    let shrinks = |key: &(&str, &str), have: usize, connections: u64| {
        let Some(scaling) = scaling(key.0, key.1) else { return false };
        let per_pod = scaling.connections_per_pod;
        // The autoscaler tolerates a deviation of one tenth (Kubernetes documentation, "Horizontal
        // Pod Autoscaling", section "Algorithm details").
        let within_tolerance =
            connections.saturating_mul(10) >= per_pod.saturating_mul(9 * have as u64);
        per_pod > 0
            && have > scaling.min.max(1)
            && connections.div_ceil(per_pod) < have as u64
            && !within_tolerance
    };
    totals
        .into_iter()
        .filter(|(key, (have, total))| total.is_some_and(|total| shrinks(key, *have, total)))
        .map(|(key, _)| key)
        .collect()
}

/// The cost to write for a pod with `count` connections; `None` if no write is due. `known` is the
/// pod's current annotation; a missing one counts as 0, as the ReplicaSet treats it. A change of at
/// least one tenth (and at least 1) is written at most every 30 s; while a scale-down is expected
/// (`shrinking`), any change at most every 5 s.
fn cost_to_write(
    known: Option<i32>,
    written_at: Option<Instant>,
    count: u64,
    now: Instant,
    shrinking: bool,
) -> Option<i32> {
    let cost = i32::try_from(count).unwrap_or(i32::MAX);
    let known = known.unwrap_or(0);
    let change = u64::from(cost.abs_diff(known));
    let every = if shrinking { SCALE_DOWN_WRITE_INTERVAL } else { WRITE_INTERVAL };
    let rested = written_at.is_none_or(|at| now.duration_since(at) >= every);
    let enough = shrinking || change * SIGNIFICANT_FRACTION >= u64::from(known.unsigned_abs());
    (change > 0 && rested && enough).then_some(cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn pod(name: &str, connections: Option<u64>) -> ServerPod {
        ServerPod {
            namespace: "apps".into(),
            name: name.into(),
            instance: "chat".into(),
            ready: true,
            terminating: false,
            connections,
            ..ServerPod::default()
        }
    }

    #[test]
    fn the_first_cost_is_written_at_once_and_none_for_an_empty_pod() {
        let now = Instant::now();
        assert_eq!(cost_to_write(None, None, 1, now, false), Some(1));
        assert_eq!(cost_to_write(None, None, 0, now, false), None);
        assert_eq!(cost_to_write(None, None, 0, now, true), None);
        assert_eq!(cost_to_write(Some(7), None, 0, now, false), Some(0));
        assert_eq!(cost_to_write(None, None, u64::MAX, now, false), Some(i32::MAX));
    }

    #[test]
    fn a_change_of_a_tenth_is_written_at_most_every_thirty_seconds() {
        let at = Instant::now();
        assert_eq!(cost_to_write(Some(100), Some(at), 109, at + 60 * S, false), None);
        assert_eq!(cost_to_write(Some(100), Some(at), 110, at + 60 * S, false), Some(110));
        assert_eq!(cost_to_write(Some(100), Some(at), 90, at + 30 * S, false), Some(90));
        assert_eq!(cost_to_write(Some(100), Some(at), 500, at + 29 * S, false), None);
        assert_eq!(cost_to_write(Some(3), Some(at), 4, at + 30 * S, false), Some(4));
    }

    #[test]
    fn every_change_is_written_within_five_seconds_before_a_scale_down() {
        let at = Instant::now();
        assert_eq!(cost_to_write(Some(100), Some(at), 101, at + 5 * S, true), Some(101));
        assert_eq!(cost_to_write(Some(100), Some(at), 101, at + 4 * S, true), None);
        assert_eq!(cost_to_write(Some(100), Some(at), 100, at + 60 * S, true), None);
    }

    #[test]
    fn a_scale_down_is_expected_when_fewer_pods_suffice_and_the_minimum_allows_it() {
        let of = |per_pod, min| {
            move |_: &str, _: &str| Some(Scaling { connections_per_pod: per_pod, min })
        };
        let pods = [pod("a", Some(30)), pod("b", Some(20)), pod("c", Some(51))];
        assert!(shrinking(&pods, of(50, 1)).is_empty());
        assert_eq!(shrinking(&pods, of(51, 1)).len(), 1);
        assert!(shrinking(&pods, of(51, 3)).is_empty());
        let nearly = [pod("a", Some(46)), pod("b", Some(46)), pod("c", Some(0))];
        assert_eq!(shrinking(&nearly, of(50, 1)).len(), 1);
        let many: Vec<_> = (0..20).map(|_| pod("a", Some(46))).collect();
        assert!(shrinking(&many, of(50, 1)).is_empty(), "the autoscaler tolerates a tenth");
        assert!(shrinking(&pods, of(0, 1)).is_empty());
        assert!(shrinking(&pods, |_: &str, _: &str| None).is_empty());
        assert!(shrinking(&[pod("a", Some(1)), pod("b", None)], of(50, 1)).is_empty());
    }

    #[test]
    fn no_scale_down_is_expected_for_the_last_pod() {
        let empty = [pod("a", Some(0))];
        let scaling = |_: &str, _: &str| Some(Scaling { connections_per_pod: 50, min: 0 });
        assert!(shrinking(&empty, scaling).is_empty());
    }

    #[test]
    fn a_written_cost_is_not_repeated_and_a_deleted_pod_is_forgotten() {
        let mut written = WriteTimes::default();
        let none = |_: &str, _: &str| None;
        let now = Instant::now();
        let mut going = pod("c", Some(4));
        going.terminating = true;
        let pods = [pod("a", Some(10)), pod("b", None), going];
        let due = written.due(&pods, none, now);
        assert_eq!(due, [(pods[0].clone(), 10)]);
        assert!(written.due(&pods, none, now + S).is_empty());
        assert_eq!(written.due(&pods, none, now + 30 * S).len(), 1);
        assert!(written.due(&[], none, now).is_empty());
        assert!(written.0.is_empty());
    }
}
