//! Events about a resource.

use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource as _};
use rookery_ops::escape;
use tracing::warn;

use crate::crd::Rookery;
use crate::truncate::truncate;

/// The longest note of an event (Kubernetes API reference, events.k8s.io/v1, `note`).
const MAX_NOTE_BYTES: usize = 1024;

/// Publishes an event about `rookery`. Failure to publish is only logged.
pub(super) async fn publish(
    client: &Client,
    reporter: &Reporter,
    rookery: &Rookery,
    (type_, reason, note): (EventType, &str, String),
) {
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(truncate(escape::lines(&note), MAX_NOTE_BYTES)),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    // A new recorder for each event: a shared one repeats the first note of a reason.
    let recorder = Recorder::new(client.clone(), reporter.clone());
    if let Err(error) = recorder.publish(&event, &rookery.object_ref(&())).await {
        warn!(%error, reason, "cannot publish an event");
    }
}
