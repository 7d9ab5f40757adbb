//! Explains a pod that does not start by the events about it: that a Secret or a volume is missing
//! is in no pod's status.

use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ListParams};
use tracing::debug;

use super::{PodFailure, ServerPod};

/// How long a pod may be pending before its events are read.
const PATIENCE: Duration = Duration::from_secs(10);

/// Deadline of the request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Events that are read, at most.
const MAX_EVENTS: u32 = 50;

/// Sets [`ServerPod::failure`] of the first pod that has been pending for longer than 10 s, if there
/// is a warning about it. One request at most; that it fails is only logged.
pub async fn explain_pending(client: &Client, pods: &mut [ServerPod], now: Timestamp) {
    let is_late = |pod: &&mut ServerPod| {
        let waited = pod.pending_since.map(|since| now.duration_since(since));
        waited.is_some_and(|waited| waited.unsigned_abs() >= PATIENCE && waited.is_positive())
    };
    let Some(pod) = pods.iter_mut().find(is_late) else { return };
    let api: Api<Event> = Api::namespaced(client.clone(), &pod.namespace);
    let about = format!("involvedObject.uid={},type=Warning", pod.uid);
    let params = ListParams::default().fields(&about).limit(MAX_EVENTS);
    match tokio::time::timeout(TIMEOUT, api.list(&params)).await {
        Ok(Ok(events)) => pod.failure = latest(&events.items),
        Ok(Err(error)) => debug!(%error, pod = pod.name, "cannot read the events about a pod"),
        Err(_) => debug!(pod = pod.name, "timed out reading the events about a pod"),
    }
}

/// What the latest event says.
fn latest(events: &[Event]) -> Option<PodFailure> {
    let latest = events.iter().max_by_key(|event| time(event))?;
    let note = latest.message.as_deref().unwrap_or_default();
    Some(PodFailure::from_event(latest.reason.as_deref().unwrap_or("Warning"), note))
}

fn time(event: &Event) -> Option<Timestamp> {
    let series =
        event.series.as_ref().and_then(|series| Some(series.last_observed_time.as_ref()?.0));
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let first = event.event_time.as_ref().map(|time| time.0);
    series.max(last).max(first)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(time: Value, reason: &str, message: &str) -> Event {
        let mut event = json!({
            "metadata": {}, "involvedObject": {}, "reason": reason, "message": message,
        });
        event.as_object_mut().unwrap().extend(time.as_object().unwrap().clone());
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn the_latest_warning_explains_a_pending_pod() {
        let events = [
            event(
                json!({ "lastTimestamp": "2026-01-01T00:00:05Z" }),
                "FailedMount",
                "secret \"keys\" not found",
            ),
            event(
                json!({ "eventTime": "2026-01-01T00:00:01.000000Z" }),
                "FailedScheduling",
                "no node",
            ),
            event(json!({}), "Old", "without a time"),
        ];
        let failure = latest(&events).unwrap();
        assert_eq!(
            (failure.reason.as_str(), failure.message.as_str()),
            ("FailedMount", "secret \"keys\" not found")
        );
        assert_eq!(latest(&[]), None);
    }
}
