//! What a watch reports about a server pod.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use super::failure::PodFailure;
use crate::names;

/// Namespace and name of a pod.
pub type Key = (String, String);

/// The parts of a server pod that the operator uses.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedPod {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// UID of the pod, which differs from that of an earlier pod of the same name.
    pub uid: String,
    /// Name of the `Rookery` that the pod belongs to.
    pub instance: String,
    /// Labels of the pod.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Address of its internal listener; `None` unless the pod is running.
    pub address: Option<SocketAddr>,
    /// Whether its condition `Ready` is true.
    pub ready: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Why it cannot start or keep running.
    pub failure: Option<PodFailure>,
    /// When it was created, if it has not started yet and no failure is known.
    pub pending_since: Option<Timestamp>,
    /// Value of its annotation [`names::DELETION_COST`], if it is a number.
    pub deletion_cost: Option<i32>,
}

impl ObservedPod {
    /// Reads a pod; `None` if it does not belong to a `Rookery`.
    pub fn of(pod: &Pod) -> Option<Self> {
        let meta = &pod.metadata;
        let labels = meta.labels.clone()?;
        let failure = PodFailure::of(pod);
        let annotation = meta.annotations.as_ref().and_then(|all| all.get(names::DELETION_COST));
        Some(ObservedPod {
            namespace: meta.namespace.clone()?,
            name: meta.name.clone()?,
            uid: meta.uid.clone()?,
            instance: labels.get(names::INSTANCE)?.clone(),
            labels: Arc::new(labels),
            address: address(pod),
            ready: is_ready(pod),
            terminating: meta.deletion_timestamp.is_some(),
            pending_since: pending_since(pod).filter(|_| failure.is_none()),
            failure,
            deletion_cost: annotation.and_then(|cost| cost.parse().ok()),
        })
    }

    /// Key of the pod in the store.
    pub fn key(&self) -> Key {
        (self.namespace.clone(), self.name.clone())
    }

    /// A duration below `period`, derived from the uid, that spreads scrapes of different pods.
    pub fn offset(&self, period: Duration) -> Duration {
        let mut hasher = DefaultHasher::new();
        self.uid.hash(&mut hasher);
        Duration::from_millis(hasher.finish() % (period.as_millis() as u64).max(1))
    }
}

fn pending_since(pod: &Pod) -> Option<Timestamp> {
    let phase = pod.status.as_ref()?.phase.as_deref();
    let created = pod.metadata.creation_timestamp.as_ref()?;
    (phase == Some("Pending") && pod.metadata.deletion_timestamp.is_none()).then_some(created.0)
}

fn address(pod: &Pod) -> Option<SocketAddr> {
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() != Some("Running") {
        return None;
    }
    let address: IpAddr = status.pod_ip.as_ref()?.parse().ok()?;
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let port = containers
        .flat_map(|container| container.ports.iter().flatten())
        .find(|port| port.name.as_deref() == Some(names::INTERNAL_PORT))
        .and_then(|port| u16::try_from(port.container_port).ok());
    Some(SocketAddr::new(address, port.unwrap_or(names::DEFAULT_INTERNAL_PORT)))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
