//! What was built, brought into the cluster by server-side apply.
//!
//! Needs the cluster. An object that is as it should be is left alone, so that a quiet resource
//! costs nothing.

use std::sync::Arc;

use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::names;
use super::observe::OwnedObjects;

/// Why an object could not be brought into the cluster.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It is there already, and nobody said that it is ours.
    #[error(
        "{kind} {name} exists and is not this resource's; delete it, or choose another name for \
         the Rookery"
    )]
    Foreign {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// The cluster does not take it.
    #[error("the cluster refuses {kind} {name}: {message}")]
    Refused {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// What the cluster says.
        message: String,
    },
    /// The cluster does not answer.
    #[error("the cluster does not answer: {0}")]
    Cluster(#[from] kube::Error),
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Applied {
    /// Every object as the cluster has it now.
    pub objects: Vec<Arc<DynamicObject>>,
    /// What was created, changed or deleted: `Deployment chat`.
    pub changed: Vec<String>,
}

impl Applied {
    /// The object of this kind.
    pub fn get(&self, kind: &str) -> Option<&DynamicObject> {
        let of_kind = |object: &&Arc<DynamicObject>| {
            object.types.as_ref().is_some_and(|types| types.kind == kind)
        };
        self.objects.iter().find(of_kind).map(|object| &**object)
    }
}

/// Applies `desired`, and deletes what the resource `uid` owns besides. A Deployment gets
/// `replicas` when it is created, and never again.
///
/// # Errors
/// See [`ApplyError`]; what came before the failure stays applied.
pub async fn apply(
    client: &Client,
    owned: &OwnedObjects,
    desired: &[DynamicObject],
    uid: &str,
    replicas: i32,
) -> Result<Applied, ApplyError> {
    let mut applied = Applied::default();
    for object in desired {
        let target = Target::of(client, object);
        let before = owned.get(&target.kind, &target.namespace, &target.name);
        if let Some(before) = &before
            && is_owned_by_another(before, uid)
        {
            return Err(target.foreign());
        }
        let after = match before {
            Some(before) if matches_desired(object, &before) => before,
            before => {
                if before.is_none() {
                    target.ensure_not_foreign(uid).await?;
                }
                let mut after = target.apply(names::MANAGER, &json!(object)).await?;
                if let Some(rest) = removal_patch(&object.data, &after.data) {
                    after = target.merge(&rest).await?;
                }
                let after = Arc::new(after);
                if before.is_none_or(|b| b.resource_version() != after.resource_version()) {
                    applied.changed.push(target.label());
                }
                after
            }
        };
        let after = match target.kind == "Deployment" && needs_initial_replicas(&after) {
            true => Arc::new(
                target
                    .apply(names::REPLICAS_MANAGER, &target.initial_replicas_patch(replicas))
                    .await?,
            ),
            false => after,
        };
        applied.objects.push(after);
    }
    prune(client, owned, desired, uid, &mut applied).await?;
    Ok(applied)
}

/// Deletes what is owned and not desired, such as the Ingress of a resource that has none now.
async fn prune(
    client: &Client,
    owned: &OwnedObjects,
    desired: &[DynamicObject],
    uid: &str,
    applied: &mut Applied,
) -> Result<(), ApplyError> {
    let Some(namespace) = desired.iter().find_map(ResourceExt::namespace) else { return Ok(()) };
    for (kind, object) in owned.of(&namespace, uid) {
        let wanted = desired.iter().any(|wanted| {
            wanted.name_any() == object.name_any()
                && wanted.types.as_ref().is_some_and(|types| types.kind == kind.kind)
        });
        if wanted || object.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let preconditions = Preconditions { uid: object.uid(), resource_version: None };
        let params = DeleteParams::background().preconditions(preconditions);
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &kind);
        match api.delete(&object.name_any(), &params).await {
            Ok(_) => applied.changed.push(format!("{} {}", kind.kind, object.name_any())),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(kube::Error::Api(status)) if status.code == 403 => {
                return Err(ApplyError::Refused {
                    kind: kind.kind.clone(),
                    name: object.name_any(),
                    message: status.message.clone(),
                });
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Field manager of what was put right by a patch: see [`removal_patch`].
const CLEANUP_MANAGER: &str = "rookery-operator-lists";

/// A merge patch of the lists in which somebody has added an item, and of the files that somebody
/// has added to a ConfigMap: server-side apply leaves others' items where they are (Kubernetes
/// documentation, "Server-Side Apply", section "Merge strategy"), so a port or a container that
/// was put in by hand would stay.
fn removal_patch(desired: &Value, there: &Value) -> Option<Value> {
    let (Value::Object(desired), Value::Object(there)) = (desired, there) else { return None };
    let unwanted = NEVER_SET
        .iter()
        .filter(|key| is_non_default(there.get(**key)) && !desired.contains_key(**key));
    let mut parts: serde_json::Map<String, Value> =
        unwanted.map(|key| ((*key).to_owned(), Value::Null)).collect();
    let changed = desired.iter().filter_map(|(key, value)| {
        let found = there.get(key)?;
        let patch = match (value, found) {
            (Value::Array(_), _) => lengths_differ(value, found).then(|| value.clone()),
            (Value::Object(files), Value::Object(found)) if key == CONFIG_MAP_DATA => {
                let more = found.keys().filter(|name| !files.contains_key(*name));
                let gone: serde_json::Map<_, _> =
                    more.map(|name| (name.clone(), Value::Null)).collect();
                (!gone.is_empty()).then_some(Value::Object(gone))
            }
            _ => removal_patch(value, found),
        };
        Some((key.clone(), patch?))
    });
    parts.extend(changed);
    (!parts.is_empty()).then_some(Value::Object(parts))
}

/// Fields that are never asked for, and change what runs or who gets in where somebody sets them:
/// of a Deployment, of a pod, of a Service.
const NEVER_SET: [&str; 6] =
    ["paused", "hostNetwork", "hostPID", "hostIPC", "externalIPs", "loadBalancerIP"];

/// Whether a field says more than its default.
fn is_non_default(found: Option<&Value>) -> bool {
    found.is_some_and(|found| !is_empty_value(found) && *found != Value::Bool(false))
}

/// What a ConfigMap holds.
const CONFIG_MAP_DATA: &str = "data";

/// Whether a list, or one inside it, has another number of items.
fn lengths_differ(desired: &Value, there: &Value) -> bool {
    match (desired, there) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() != b.len() || a.iter().zip(b).any(|(a, b)| lengths_differ(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.iter().any(|(key, a)| b.get(key).is_some_and(|b| lengths_differ(a, b)))
        }
        _ => false,
    }
}

/// Whether an object that carries our label is of another resource than `uid`: `chat` has a Service
/// `chat-internal`, and so has a resource of that name. One whose owner somebody has taken away is
/// taken for this resource's.
fn is_owned_by_another(there: &DynamicObject, uid: &str) -> bool {
    let owners = there.owner_references();
    !owners.is_empty() && !owners.iter().any(|owner| owner.uid == uid)
}

/// Where one object goes.
struct Target {
    api: Api<DynamicObject>,
    kind: String,
    api_version: String,
    namespace: String,
    name: String,
}

impl Target {
    fn of(client: &Client, object: &DynamicObject) -> Self {
        let types = object.types.clone().expect("what is built says its kind");
        let namespace = object.namespace().expect("what is built is in a namespace");
        let gvk = kube::core::GroupVersionKind::try_from(&types)
            .expect("what is built has a valid apiVersion");
        let resource = ApiResource::from_gvk(&gvk);
        Target {
            api: Api::namespaced_with(client.clone(), &namespace, &resource),
            kind: types.kind,
            api_version: types.api_version,
            name: object.name_any(),
            namespace,
        }
    }

    fn label(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }

    /// Nothing is taken from somebody else: an object of the name, if there is one, must be ours.
    async fn ensure_not_foreign(&self, uid: &str) -> Result<(), ApplyError> {
        let Some(found) = self.api.get_metadata_opt(&self.name).await? else { return Ok(()) };
        match found.owner_references().iter().any(|owner| owner.uid == uid) {
            true => Ok(()),
            false => Err(self.foreign()),
        }
    }

    fn foreign(&self) -> ApplyError {
        ApplyError::Foreign { kind: self.kind.clone(), name: self.name.clone() }
    }

    async fn apply(&self, manager: &str, object: &Value) -> Result<DynamicObject, ApplyError> {
        let params = PatchParams::apply(manager).force();
        self.classify(self.api.patch(&self.name, &params, &Patch::Apply(object)).await)
    }

    async fn merge(&self, part: &Value) -> Result<DynamicObject, ApplyError> {
        let params = PatchParams {
            field_manager: Some(CLEANUP_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        self.classify(self.api.patch(&self.name, &params, &Patch::Merge(part)).await)
    }

    fn classify(&self, answer: kube::Result<DynamicObject>) -> Result<DynamicObject, ApplyError> {
        match answer {
            Ok(applied) => Ok(applied),
            Err(kube::Error::Api(status)) if status.code < 500 && status.code != 429 => {
                Err(ApplyError::Refused {
                    kind: self.kind.clone(),
                    name: self.name.clone(),
                    message: status.message.clone(),
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The part of a Deployment that is applied once.
    fn initial_replicas_patch(&self, replicas: i32) -> Value {
        json!({
            "apiVersion": self.api_version,
            "kind": self.kind,
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "annotations": { names::INITIAL_REPLICAS: replicas.to_string() },
            },
            "spec": { "replicas": replicas },
        })
    }
}

/// Whether a Deployment was just created: it says nowhere that it got its first replicas, and
/// has the one that Kubernetes gives where none are written. One that was scaled is left alone,
/// whatever became of the annotation.
fn needs_initial_replicas(deployment: &DynamicObject) -> bool {
    !deployment.annotations().contains_key(names::INITIAL_REPLICAS)
        && deployment.data.pointer("/spec/replicas") == Some(&json!(1))
}

/// Whether `there` was applied from `desired`, and nobody has changed it since.
fn matches_desired(desired: &DynamicObject, there: &DynamicObject) -> bool {
    let (wanted, found) = (json!(desired.metadata), json!(there.metadata));
    there.metadata.deletion_timestamp.is_none()
        && ["labels", "annotations", "ownerReferences"]
            .iter()
            .all(|part| is_subset(&wanted[part], &found[part]))
        && is_subset(&desired.data, &there.data)
        && removal_patch(&desired.data, &there.data).is_none()
}

/// Whether all that `part` says is in `whole` too, which may say more (what the cluster adds).
fn is_subset(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Null, _) => true,
        (Value::Object(part), Value::Object(whole)) => part.iter().all(|(key, value)| {
            whole.get(key).map_or(is_empty_value(value), |found| {
                is_subset(value, found) && (!is_compared_exactly(key) || is_subset(found, value))
            })
        }),
        (Value::Array(part), Value::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(a, b)| is_subset(a, b))
        }
        (part, whole) => part == whole,
    }
}

/// Whether a map of this name is one whole: a label that was added to a selector is a difference.
fn is_compared_exactly(key: &str) -> bool {
    key.ends_with("elector") || key == "matchLabels" || key == CONFIG_MAP_DATA
}

/// Whether the cluster leaves such a value out.
fn is_empty_value(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty_value),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
