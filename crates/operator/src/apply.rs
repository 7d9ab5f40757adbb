//! Applies the built objects to the cluster with server-side apply.
//!
//! Needs the cluster. An object that already matches is not written, so an unchanged resource costs
//! no requests.

mod contests;
mod diff;
mod replicas;

use std::sync::Arc;

use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::debug;

pub use self::contests::Contests;
use self::contests::is_of_this_content;
use self::diff::{is_subset, matches_desired, removal_patch};
use self::replicas::Change;
pub use self::replicas::Replicas;
use super::build::AUTOSCALERS;
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

/// Whether applying a Deployment would replace its pods, because its content is another one than
/// that which was applied before. Pure.
pub fn replaces_pods(desired: &DynamicObject, there: &DynamicObject) -> bool {
    let template = "/spec/template";
    let (Some(wanted), Some(found)) =
        (desired.data.pointer(template), there.data.pointer(template))
    else {
        return false;
    };
    !is_of_this_content(desired, there)
        && (!is_subset(wanted, found) || removal_patch(wanted, found).is_some())
}

/// The result of [`Applier::apply`].
#[derive(Debug, Default)]
pub struct Applied {
    /// Every desired object as it is in the cluster now.
    pub objects: Vec<Arc<DynamicObject>>,
    /// What was created, changed or deleted, such as `Deployment chat`.
    pub changed: Vec<String>,
    /// What was left as it is, because somebody else keeps changing it, such as `Service chat`.
    pub contested: Vec<String>,
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

/// Applies the objects of one resource.
pub struct Applier<'a> {
    /// Client of the cluster.
    pub client: &'a Client,
    /// Cache of the objects that the operator created.
    pub owned: &'a OwnedObjects,
    /// What is known about objects that did not stay as they were applied.
    pub contests: &'a Contests,
    /// `metadata.uid` of the resource.
    pub uid: &'a str,
    /// Given to a Deployment when it is created and, without an autoscaler, when it changes.
    pub replicas: Replicas,
}

impl Applier<'_> {
    /// Applies `desired`, and deletes other objects that the resource owns. An object that somebody
    /// else keeps changing back is left alone: see [`Applied::contested`].
    ///
    /// # Errors
    /// See [`ApplyError`]. Objects applied before the failure stay applied.
    pub async fn apply(&self, desired: &[DynamicObject]) -> Result<Applied, ApplyError> {
        let mut applied = Applied::default();
        // KEDA refuses a second autoscaler, and Kubernetes ignores both.
        prune(self.client, self.owned, desired, self.uid, &AUTOSCALERS, &mut applied).await?;
        for object in desired {
            let target = Target::of(self.client, object);
            let before = self.owned.get(&target.kind, &target.namespace, &target.name);
            if let Some(before) = &before
                && is_owned_by_another(before, self.uid)
            {
                return Err(target.foreign());
            }
            let after = match before {
                Some(before) if self.is_settled(&target, object, &before) => before,
                before => self.correct(&target, object, before, &mut applied).await?,
            };
            let after = match target.kind.as_str() {
                "Deployment" => target.scale(after, self.replicas).await?,
                _ => after,
            };
            applied.objects.push(after);
        }
        prune(self.client, self.owned, desired, self.uid, &[], &mut applied).await?;
        Ok(applied)
    }

    fn key(&self, target: &Target) -> contests::Key {
        (self.uid.to_owned(), target.label())
    }

    /// Whether an object is as it should be, or as the cluster's admission makes it.
    fn is_settled(&self, target: &Target, desired: &DynamicObject, there: &DynamicObject) -> bool {
        matches_desired(desired, there)
            || (is_of_this_content(desired, there)
                && there.metadata.deletion_timestamp.is_none()
                && self.contests.is_as_admitted(&self.key(target), there))
    }

    /// Creates an object, or makes it as it should be.
    async fn correct(
        &self,
        target: &Target,
        desired: &DynamicObject,
        before: Option<Arc<DynamicObject>>,
        applied: &mut Applied,
    ) -> Result<Arc<DynamicObject>, ApplyError> {
        let (key, now) = (self.key(target), Instant::now());
        match &before {
            None => target.ensure_not_foreign(self.uid).await?,
            Some(there) if is_of_this_content(desired, there) => {
                if self.contests.is_contested(&key, now) {
                    applied.contested.push(target.label());
                    return Ok(there.clone());
                }
                self.contests.corrected(&key, now);
            }
            Some(_) => {}
        }
        let mut after = target.apply(names::MANAGER, &json!(desired)).await?;
        if let Some(rest) = removal_patch(&desired.data, &after.data) {
            after = target.merge(&rest).await?;
        }
        if !matches_desired(desired, &after) {
            debug!(object = target.label(), "the cluster changes an object at admission");
            self.contests.admitted(&key, &after);
        }
        if before.is_none_or(|b| b.resource_version() != after.resource_version()) {
            applied.changed.push(target.label());
        }
        Ok(Arc::new(after))
    }
}

/// Deletes owned objects that are no longer desired, such as the Ingress after `spec.ingress` was
/// removed; only those of `kinds`, unless it is empty.
async fn prune(
    client: &Client,
    owned: &OwnedObjects,
    desired: &[DynamicObject],
    uid: &str,
    kinds: &[&str],
    applied: &mut Applied,
) -> Result<(), ApplyError> {
    let Some(namespace) = desired.iter().find_map(ResourceExt::namespace) else { return Ok(()) };
    for (kind, object) in owned.of(&namespace, uid) {
        let wanted = desired.iter().any(|wanted| {
            wanted.name_any() == object.name_any()
                && wanted.types.as_ref().is_some_and(|types| types.kind == kind.kind)
        });
        let is_due = kinds.is_empty() || kinds.contains(&kind.kind.as_str());
        if wanted || !is_due || object.metadata.deletion_timestamp.is_some() {
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

    /// Gives the Deployment its replicas, or records what was asked for: see [`Replicas`].
    async fn scale(
        &self,
        deployment: Arc<DynamicObject>,
        replicas: Replicas,
    ) -> Result<Arc<DynamicObject>, ApplyError> {
        let annotations = replicas.annotations();
        let scaled = match replicas.change(&deployment) {
            Change::Keep => return Ok(deployment),
            Change::Record => {
                self.merge(&json!({ "metadata": { "annotations": annotations } })).await?
            }
            Change::Set => {
                let part = json!({
                    "apiVersion": self.api_version,
                    "kind": self.kind,
                    "metadata": {
                        "name": self.name,
                        "namespace": self.namespace,
                        "annotations": annotations,
                    },
                    "spec": { "replicas": replicas.min },
                });
                self.apply(names::REPLICAS_MANAGER, &part).await?
            }
        };
        Ok(Arc::new(scaled))
    }
}

#[cfg(test)]
mod tests;
