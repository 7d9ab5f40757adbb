//! The names of the operator's own objects.

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client};

/// Names of the operator's own objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectNames {
    /// Namespace of the operator's namespaced objects.
    pub namespace: String,
    /// Name of the Service that routes to the API on port 443.
    pub service: String,
    /// Name of the Deployment that owns the Secret.
    pub deployment: String,
    /// Name of the ClusterRole that owns the APIService.
    pub cluster_role: String,
}

impl ObjectNames {
    /// DNS names under which the API server connects to the Service.
    pub fn dns_names(&self) -> Vec<String> {
        vec![format!("{}.{}.svc", self.service, self.namespace)]
    }

    /// The Deployment of the operator; `None` where it does not exist.
    pub async fn deployment(&self, client: &Client) -> kube::Result<Option<Deployment>> {
        let api: Api<Deployment> = Api::namespaced(client.clone(), &self.namespace);
        api.get_opt(&self.deployment).await
    }
}
