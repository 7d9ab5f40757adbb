//! Whether the operator is installed to stay, or being uninstalled.

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Client, Resource as _};

use super::object_names::ObjectNames;

/// What the cluster says of the operator's installation.
#[derive(Clone, Debug, PartialEq)]
pub enum Installation {
    /// It stays. Cluster-scoped objects are owned by this, its ClusterRole: once that is deleted,
    /// so are they, whether an operator runs or not.
    Active(OwnerReference),
    /// It is being taken down, or cannot be taken down properly; with the reason.
    Uninstalling(String),
}

/// Looks at the operator's Deployment, ClusterRole and namespace.
///
/// # Errors
/// When the cluster refuses or cannot be reached.
pub async fn installation(client: &Client, names: &ObjectNames) -> kube::Result<Installation> {
    let leaving = |kind: &str, name: &str, how: &str| {
        Ok(Installation::Uninstalling(format!("the operator's {kind} {name} {how}")))
    };
    let namespaces: Api<Namespace> = Api::all(client.clone());
    match namespaces.get_opt(&names.namespace).await? {
        Some(found) if found.metadata.deletion_timestamp.is_none() => {}
        _ => return leaving("namespace", &names.namespace, "is being deleted"),
    }
    match names.deployment(client).await? {
        None => return leaving("Deployment", &names.deployment, "does not exist"),
        Some(found) if found.metadata.deletion_timestamp.is_some() => {
            return leaving("Deployment", &names.deployment, "is being deleted");
        }
        Some(found) if found.spec.as_ref().is_some_and(|spec| spec.replicas == Some(0)) => {
            return leaving("Deployment", &names.deployment, "is scaled to 0");
        }
        Some(_) => {}
    }
    let roles: Api<ClusterRole> = Api::all(client.clone());
    let role = roles.get_opt(&names.cluster_role).await?;
    let role = role.filter(|role| role.metadata.deletion_timestamp.is_none());
    match role.and_then(|role| role.owner_ref(&())) {
        Some(owner) => Ok(Installation::Active(owner)),
        None => leaving(
            "ClusterRole",
            &names.cluster_role,
            "does not exist: name the right one with --cluster-role",
        ),
    }
}
