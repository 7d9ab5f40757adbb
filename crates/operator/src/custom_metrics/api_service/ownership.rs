//! Decides who owns the metrics group. Pure.

use std::collections::BTreeMap;

use k8s_openapi::Resource as _;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, OwnerReference};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::object::{LABELS, NAME};
use crate::custom_metrics::object_names::ObjectNames;
use crate::custom_metrics::serving::Serving;
use crate::names;

/// What to do about the APIService.
#[derive(Debug, PartialEq)]
pub enum Action<'a> {
    /// Nothing: it exists, is ours and matches.
    UpToDate(&'a APIService),
    /// Create it: the group has no APIService.
    Create,
    /// Update ours, which differs from the desired one.
    Update(&'a APIService),
    /// Leave the group to another server. Autoscalers use a single version, so all versions must
    /// have the same owner.
    Yield {
        /// The Service of the other server, `namespace/name`, or the name of its APIService if it
        /// has none.
        service: String,
        /// Our APIService, which must be deleted.
        ours: Option<&'a APIService>,
        /// An APIService that was ours and now routes to the other server: what we wrote into its
        /// metadata must be removed, or uninstalling this operator would delete it.
        taken: Option<&'a APIService>,
    },
}

/// Decides from the APIServices of the group. The order in which they appeared does not matter: any
/// other server wins, because taking the group from it would break its autoscalers.
pub fn next_action<'a>(
    seen: &'a BTreeMap<String, APIService>,
    desired: &APIService,
    names: &ObjectNames,
) -> Action<'a> {
    let ours = seen.get(NAME).filter(|found| is_ours(found, names));
    let other = seen.values().find(|found| found.name_any() != NAME || ours.is_none());
    match (other, ours) {
        (Some(other), ours) => {
            let taken = seen.values().find(|found| is_taken(found, names));
            Action::Yield { service: service(other), ours, taken }
        }
        (None, None) => Action::Create,
        (None, Some(ours)) if is_up_to_date(ours, desired) => Action::UpToDate(ours),
        (None, Some(ours)) => Action::Update(ours),
    }
}

/// Whether this operator created it: it has our label, and routes to our Service, or to one that
/// does not exist and that we wrote (left by an earlier installation in another namespace). The
/// Service of a server that takes it over may not exist yet either.
pub fn is_ours(found: &APIService, names: &ObjectNames) -> bool {
    let label = found.labels().get(names::MANAGED_BY);
    let service = found.spec.as_ref().and_then(|spec| spec.service.as_ref());
    let routes_here = service.is_some_and(|service| {
        service.namespace.as_deref() == Some(names.namespace.as_str())
            && service.name.as_deref() == Some(names.service.as_str())
    });
    label.is_some_and(|label| label == names::MANAGER)
        && (routes_here
            || (reason(found) == Some("ServiceNotFound") && is_service_written_by_us(found)))
}

/// Whether another server's APIService still has our label or our owner reference, because it was
/// ours before.
pub fn is_taken(found: &APIService, names: &ObjectNames) -> bool {
    let has_label =
        found.labels().get(names::MANAGED_BY).is_some_and(|label| label == names::MANAGER);
    let owners = found.owner_references();
    let has_owner = owners.iter().any(|owner| is_our_owner(owner, names));
    // Another Rookery operator writes the same label, and its own ClusterRole.
    let is_of_another = owners.iter().any(|owner| owner.kind == ClusterRole::KIND);
    !is_ours(found, names) && (has_owner || (has_label && !is_of_another))
}

/// Whether an owner reference is one that this operator writes. The ClusterRole may be deleted
/// already, so its UID is not compared.
fn is_our_owner(owner: &OwnerReference, names: &ObjectNames) -> bool {
    owner.kind == ClusterRole::KIND && owner.name == names.cluster_role
}

/// A merge patch that removes our labels and our owner reference from the version that was seen.
/// Kubernetes refuses it with 409 if the APIService has changed since.
pub fn release_patch(taken: &APIService, names: &ObjectNames) -> Value {
    let owners = taken.owner_references().iter();
    let owners: Vec<_> = owners.filter(|owner| !is_our_owner(owner, names)).collect();
    let is_ours =
        |(key, value): &(&str, &str)| taken.labels().get(*key).is_some_and(|l| l == value);
    let labels = LABELS.into_iter().filter(is_ours).map(|(key, _)| (key.to_owned(), Value::Null));
    json!({ "metadata": {
        "uid": taken.metadata.uid,
        "resourceVersion": taken.metadata.resource_version,
        "ownerReferences": if owners.is_empty() { Value::Null } else { json!(owners) },
        "labels": labels.collect::<serde_json::Map<_, _>>(),
    }})
}

/// Whether this operator was the last to write the Service that an APIService routes to, by its
/// managed fields (Kubernetes API reference, meta/v1, `ManagedFieldsEntry`).
fn is_service_written_by_us(found: &APIService) -> bool {
    let wrote = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        fields.is_some_and(|fields| fields["f:spec"]["f:service"]["f:name"].is_object())
    };
    let mut writers = found.managed_fields().iter().filter(wrote).peekable();
    writers.peek().is_some()
        && writers.all(|entry| entry.manager.as_deref() == Some(names::MANAGER))
}

/// How long the API server may fail to reach this operator, after the APIService was created or a
/// replica replaced, before it is reported.
const GRACE_PERIOD: SignedDuration = SignedDuration::from_secs(15);

/// Whether the API server can reach our APIService.
pub fn availability(ours: &APIService, now: Timestamp) -> Serving {
    let Some(condition) = available(ours).filter(|condition| condition.status == "False") else {
        return Serving::Ours;
    };
    let since = condition.last_transition_time.as_ref().map(|since| now.duration_since(since.0));
    if since.is_some_and(|since| since < GRACE_PERIOD) {
        return Serving::Off { reason: "the API server has not connected yet".to_owned() };
    }
    Serving::Unreachable { message: condition.message.clone().unwrap_or_default() }
}

fn reason(found: &APIService) -> Option<&str> {
    available(found)?.reason.as_deref()
}

fn available(
    found: &APIService,
) -> Option<&k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIServiceCondition> {
    let conditions = found.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Available")
}

fn is_up_to_date(ours: &APIService, desired: &APIService) -> bool {
    let labels = desired.labels();
    ours.spec == desired.spec
        && ours.owner_references() == desired.owner_references()
        && labels.iter().all(|(key, value)| ours.labels().get(key) == Some(value))
}

fn service(found: &APIService) -> String {
    let service = found.spec.as_ref().and_then(|spec| spec.service.as_ref());
    let name = service.and_then(|service| {
        Some(format!("{}/{}", service.namespace.as_ref()?, service.name.as_ref()?))
    });
    name.unwrap_or_else(|| format!("APIService {}", found.name_any()))
}

#[cfg(test)]
mod tests;
