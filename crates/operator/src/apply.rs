//! Applies the built objects to the cluster with server-side apply.
//!
//! Needs the cluster. An object that already matches is not written, so an unchanged resource costs
//! no requests.

mod diff;

use std::sync::Arc;

use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use self::diff::{matches_desired, removal_patch};
use super::names;
use super::observe::OwnedObjects;

/// Why an object could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// An object of this name exists and is not owned by the resource.
    #[error(
        "{kind} {name} exists and is not this resource's; delete it, or choose another name for \
         the Rookery"
    )]
    Foreign {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
    },
    /// The cluster rejected the object.
    #[error("the cluster refuses {kind} {name}: {message}")]
    Refused {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// The message of the API server.
        message: String,
    },
    /// The request failed or the API server returned a server error.
    #[error("the cluster does not answer: {0}")]
    Cluster(#[from] kube::Error),
}

/// The result of [`apply`].
#[derive(Debug, Default)]
pub struct Applied {
    /// Every desired object as it is in the cluster now.
    pub objects: Vec<Arc<DynamicObject>>,
    /// What was created, changed or deleted, such as `Deployment chat`.
    pub changed: Vec<String>,
}

impl Applied {
    /// The first object of this kind.
    pub fn get(&self, kind: &str) -> Option<&DynamicObject> {
        let of_kind = |object: &&Arc<DynamicObject>| {
            object.types.as_ref().is_some_and(|types| types.kind == kind)
        };
        self.objects.iter().find(of_kind).map(|object| &**object)
    }
}

/// Applies `desired`, and deletes other objects that the resource `uid` owns. `replicas` is given
/// to a Deployment only when it is created.
///
/// # Errors
/// See [`ApplyError`]. Objects applied before the failure stay applied.
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

/// Deletes owned objects that are no longer desired, such as the Ingress after `spec.ingress` was
/// removed.
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

/// Field manager of the patches of [`removal_patch`].
const CLEANUP_MANAGER: &str = "rookery-operator-lists";

/// Whether the object belongs to a resource other than `uid`: `chat` has a Service `chat-internal`,
/// and so does a resource of that name. An object that lost its owner references is treated as
/// ours.
fn is_owned_by_another(there: &DynamicObject, uid: &str) -> bool {
    let owners = there.owner_references();
    !owners.is_empty() && !owners.iter().any(|owner| owner.uid == uid)
}

/// An object's API and identity.
struct Target {
    api: Api<DynamicObject>,
    kind: String,
    api_version: String,
    namespace: String,
    name: String,
}

impl Target {
    fn of(client: &Client, object: &DynamicObject) -> Self {
        let types = object.types.clone().expect("built objects have a kind");
        let namespace = object.namespace().expect("built objects have a namespace");
        let gvk = kube::core::GroupVersionKind::try_from(&types)
            .expect("built objects have a valid apiVersion");
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

    /// Fails if an object of this name exists without an owner reference to `uid`.
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

    /// The part of a Deployment that is applied once, when it is created.
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

/// Whether a Deployment was just created: it has no annotation [`names::INITIAL_REPLICAS`] and the
/// one replica that Kubernetes defaults to. A Deployment that was scaled is left alone even if it
/// lost the annotation.
fn needs_initial_replicas(deployment: &DynamicObject) -> bool {
    !deployment.annotations().contains_key(names::INITIAL_REPLICAS)
        && deployment.data.pointer("/spec/replicas") == Some(&json!(1))
}

#[cfg(test)]
mod tests;
