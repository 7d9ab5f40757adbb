//! [`PodFailure`]: why a pod does not become ready, as Kubernetes reports it. Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};

use crate::truncate::truncate;

/// The longest message taken from Kubernetes or from a log, in bytes.
const MAX_MESSAGE_BYTES: usize = 300;

/// The reason of a pod that no node takes (Kubernetes API reference, `PodCondition`).
const UNSCHEDULABLE: &str = "Unschedulable";

/// Restarts from which a container that is not ready counts as crashing.
const MIN_RESTARTS: i32 = 2;

/// Reasons of a waiting container that do not pass by themselves (kubelet,
/// `pkg/kubelet/images/types.go` and `pkg/kubelet/container/sync_result.go`).
const WAITING_REASONS: [&str; 10] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "RegistryUnavailable",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
];

/// Why a pod cannot start or keep running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFailure {
    /// Kubernetes's own word, such as `ImagePullBackOff` or `Unschedulable`.
    pub reason: String,
    /// What is wrong: the container, and what Kubernetes or the container's log says.
    pub message: String,
}

impl PodFailure {
    /// Reads the failure from a pod's status; `None` for one that runs, is being deleted, or is
    /// still starting.
    pub fn of(pod: &Pod) -> Option<Self> {
        if pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let status = pod.status.as_ref()?;
        let inits = status.init_container_statuses.iter().flatten();
        let containers = inits.chain(status.container_statuses.iter().flatten());
        containers.into_iter().find_map(of_container).or_else(|| unschedulable(status))
    }

    /// Whether it may pass by itself: a node may be added, or another pod leave.
    pub fn may_pass(&self) -> bool {
        self.reason == UNSCHEDULABLE
    }

    /// The failure that an event about a pod reports, such as a Secret that cannot be mounted.
    pub fn from_event(reason: &str, note: &str) -> Self {
        PodFailure { reason: reason.to_owned(), message: shortened(note) }
    }
}

fn of_container(container: &ContainerStatus) -> Option<PodFailure> {
    let name = &container.name;
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
    let crashes = !container.ready && container.restart_count >= MIN_RESTARTS;
    if reason == Some("CrashLoopBackOff") || (reason.is_none() && crashes) {
        let reason = "CrashLoopBackOff".to_owned();
        let message = format!("container {name} {}", last_end(container));
        return Some(PodFailure { reason, message });
    }
    let reason = reason.filter(|reason| WAITING_REASONS.contains(reason))?;
    let said = waiting.and_then(|waiting| waiting.message.as_deref()).unwrap_or_default();
    let (reason, message) = match reason {
        // The two alternate; they are one to whoever reads it.
        "ErrImagePull" | "ImagePullBackOff" => {
            let cause = said.split_once("ErrImagePull: ").map_or(said, |(_, cause)| cause);
            let image = &container.image;
            let what = format!("container {name}: cannot pull the image {image}");
            ("ImagePullBackOff", with_cause(what, cause))
        }
        reason => (reason, with_cause(format!("container {name}"), said)),
    };
    Some(PodFailure { reason: reason.to_owned(), message })
}

/// How a container's last run ended, with the last line that it logged.
fn last_end(container: &ContainerStatus) -> String {
    let ends = [&container.last_state, &container.state];
    let ended = ends.into_iter().flatten().find_map(|state| state.terminated.as_ref());
    let Some(ended) = ended else { return "keeps restarting".to_owned() };
    let what = match ended.reason.as_deref() {
        Some("OOMKilled") => {
            "was killed for its memory (OOMKilled): raise resources.limits.memory".to_owned()
        }
        _ => format!("exits with code {}", ended.exit_code),
    };
    let log = ended.message.as_deref().unwrap_or_default();
    let last = log.lines().rev().find(|line| !line.trim().is_empty());
    with_cause(what, last.unwrap_or_default())
}

/// Why no node takes the pod.
fn unschedulable(status: &PodStatus) -> Option<PodFailure> {
    let conditions = status.conditions.iter().flatten();
    let scheduled = conditions.into_iter().find(|condition| condition.type_ == "PodScheduled")?;
    (scheduled.status == "False" && scheduled.reason.as_deref() == Some(UNSCHEDULABLE)).then(|| {
        PodFailure {
            reason: UNSCHEDULABLE.to_owned(),
            message: shortened(scheduled.message.as_deref().unwrap_or("no node takes the pod")),
        }
    })
}

fn with_cause(what: String, cause: &str) -> String {
    match cause.trim() {
        "" => what,
        cause => format!("{what}: {}", shortened(cause)),
    }
}

/// The text on one line, without control characters, at most [`MAX_MESSAGE_BYTES`] long.
fn shortened(text: &str) -> String {
    let line = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    truncate(line, MAX_MESSAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn failure(container: Value) -> Option<PodFailure> {
        let mut status = json!({
            "name": "rookery", "image": "registry.test/rookery:9", "imageID": "",
            "ready": false, "restartCount": 0,
        });
        status.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
        PodFailure::of(&pod(json!({ "phase": "Pending", "containerStatuses": [status] })))
    }

    fn pod(status: Value) -> Pod {
        serde_json::from_value(json!({ "metadata": { "name": "chat-1" }, "status": status }))
            .unwrap()
    }

    fn said(container: Value) -> String {
        let failure = failure(container).unwrap();
        format!("{}: {}", failure.reason, failure.message)
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_named_with_its_cause() {
        let backing_off = json!({ "state": { "waiting": {
            "reason": "ImagePullBackOff",
            "message": "Back-off pulling image \"x\": ErrImagePull: not found",
        } } });
        let failing =
            json!({ "state": { "waiting": { "reason": "ErrImagePull", "message": "not found" } } });
        let expected = "ImagePullBackOff: container rookery: cannot pull the image \
            registry.test/rookery:9: not found";
        assert_eq!(said(backing_off), expected);
        assert_eq!(said(failing), expected, "the message does not alternate");
    }

    #[test]
    fn a_missing_secret_is_named() {
        let waiting = json!({ "state": { "waiting": {
            "reason": "CreateContainerConfigError", "message": "secret \"chat-redis\" not found",
        } } });
        assert_eq!(
            said(waiting),
            "CreateContainerConfigError: container rookery: secret \"chat-redis\" not found"
        );
    }

    #[test]
    fn a_crash_loop_is_named_with_the_last_line_of_the_log_also_between_two_restarts() {
        let ended = json!({ "terminated": {
            "exitCode": 78, "reason": "Error", "message": "starting\nerror: no such key\n\n",
        } });
        let waiting =
            json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 10s" } });
        let running = json!({ "running": { "startedAt": "2026-01-01T00:00:00Z" } });
        let expected = "CrashLoopBackOff: container rookery exits with code 78: error: no such key";
        for state in [waiting, running] {
            let container = json!({ "restartCount": 3, "state": state, "lastState": ended });
            assert_eq!(said(container), expected);
        }
        let once = json!({ "restartCount": 1, "state": {}, "lastState": ended });
        assert_eq!(failure(once), None, "a single restart may pass");
        let back = json!({ "restartCount": 3, "ready": true, "state": {}, "lastState": ended });
        assert_eq!(failure(back), None, "a container that is ready does not fail");
    }

    #[test]
    fn a_container_killed_for_its_memory_says_which_limit_to_raise() {
        let container = json!({ "restartCount": 2, "lastState": { "terminated": {
            "exitCode": 137, "reason": "OOMKilled",
        } } });
        assert!(said(container).ends_with("raise resources.limits.memory"));
    }

    #[test]
    fn a_pod_without_a_node_repeats_the_scheduler() {
        let status = json!({ "phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient cpu.",
        }] });
        let failure = PodFailure::of(&pod(status)).unwrap();
        assert_eq!(failure.reason, "Unschedulable");
        assert!(failure.message.contains("Insufficient cpu"), "{}", failure.message);
    }

    #[test]
    fn a_pod_that_starts_or_is_deleted_does_not_fail() {
        let creating = json!({ "state": { "waiting": { "reason": "ContainerCreating" } } });
        assert_eq!(failure(creating), None);
        let mut deleted = pod(json!({ "containerStatuses": [{
            "name": "rookery", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "waiting": { "reason": "ImagePullBackOff" } },
        }] }));
        assert!(PodFailure::of(&deleted).is_some());
        deleted.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        assert_eq!(PodFailure::of(&deleted), None);
    }

    #[test]
    fn text_from_a_log_is_one_short_line_without_control_characters() {
        let log = format!("a\u{1b}[31mb\r{}", "x".repeat(1000));
        let container = json!({ "restartCount": 2, "lastState": { "terminated": {
            "exitCode": 1, "message": log,
        } } });
        let said = said(container);
        assert!(said.len() < 400 && !said.contains(char::is_control), "{said:?}");
    }
}
