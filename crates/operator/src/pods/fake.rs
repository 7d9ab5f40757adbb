//! Pods for tests of what is built on them.

use serde_json::json;

use super::*;

/// The pods of the `Rookery` `chat` in the namespace `apps`, by name, with what they answered to
/// their last scrape.
pub(crate) fn pods(scraped: &[(&str, Option<Sample>)]) -> Pods {
    let tracker = TaskTracker::new();
    let pods = Pods::new(0, &Registry::new(), &tracker, CancellationToken::new()).unwrap();
    for (name, sample) in scraped {
        let pod = json!({
            "metadata": {
                "namespace": "apps", "name": name, "uid": name,
                "labels": {"app.kubernetes.io/instance": "chat"},
            },
            "spec": {"containers": [{"name": "rookery", "ports": [
                {"name": "internal", "containerPort": 9090},
            ]}]},
            "status": {
                "phase": "Running", "podIP": "10.0.0.1",
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        });
        let observed = ObservedPod::of(&serde_json::from_value(pod).unwrap()).unwrap();
        let mut store = pods.shared.store.lock();
        let key = observed.key();
        let (_, task) = store.apply(observed, &CancellationToken::new()).unwrap();
        store.record(&key, task.id, sample.clone(), Instant::now());
    }
    pods
}
