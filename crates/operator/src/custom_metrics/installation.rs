//! Whether the operator is installed to stay, or being uninstalled.

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Client, Resource as _};

use super::object_names::ObjectNames;

/// State of the operator's installation.
#[derive(Clone, Debug, PartialEq)]
pub enum Installation {
    /// The operator is installed. Its ClusterRole, given here, owns its cluster-scoped objects, so
    /// that deleting it deletes them even if no operator runs.
    Active(OwnerReference),
    /// The operator is being uninstalled, or its ClusterRole is unknown; with the reason.
    Uninstalling(String),
}

/// Reads the operator's namespace, Deployment and ClusterRole.
///
/// # Errors
/// If a request is denied or the cluster cannot be reached.
pub async fn installation(client: &Client, names: &ObjectNames) -> kube::Result<Installation> {
    let uninstalling = |kind: &str, name: &str, how: &str| {
        Ok(Installation::Uninstalling(format!("the operator's {kind} {name} {how}")))
    };
    let namespaces: Api<Namespace> = Api::all(client.clone());
    match namespaces.get_opt(&names.namespace).await? {
        Some(found) if found.metadata.deletion_timestamp.is_none() => {}
        _ => return uninstalling("namespace", &names.namespace, "is being deleted"),
    }
    match names.deployment(client).await? {
        None => return uninstalling("Deployment", &names.deployment, "does not exist"),
        Some(found) if found.metadata.deletion_timestamp.is_some() => {
            return uninstalling("Deployment", &names.deployment, "is being deleted");
        }
        Some(found) if found.spec.as_ref().is_some_and(|spec| spec.replicas == Some(0)) => {
            return uninstalling("Deployment", &names.deployment, "is scaled to 0");
        }
        Some(_) => {}
    }
    let roles: Api<ClusterRole> = Api::all(client.clone());
    let role = roles.get_opt(&names.cluster_role).await?;
    let role = role.filter(|role| role.metadata.deletion_timestamp.is_none());
    match role.and_then(|role| role.owner_ref(&())) {
        Some(owner) => Ok(Installation::Active(owner)),
        None => uninstalling(
            "ClusterRole",
            &names.cluster_role,
            "does not exist; set the right name with --cluster-role",
        ),
    }
}
