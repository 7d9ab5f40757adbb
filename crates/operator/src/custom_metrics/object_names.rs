//! The names of the operator's own objects.

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client};

/// What the operator's own objects are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectNames {
    /// The operator's namespace.
    pub namespace: String,
    /// The Service in front of the API, whose port is 443.
    pub service: String,
    /// The Deployment that owns the Secret.
    pub deployment: String,
    /// The ClusterRole that owns the APIService.
    pub cluster_role: String,
}

impl ObjectNames {
    /// What the API server calls the Service by.
    pub fn dns_names(&self) -> Vec<String> {
        vec![format!("{}.{}.svc", self.service, self.namespace)]
    }

    /// The Deployment of the operator; `None` where it does not exist.
    pub async fn deployment(&self, client: &Client) -> kube::Result<Option<Deployment>> {
        let api: Api<Deployment> = Api::namespaced(client.clone(), &self.namespace);
        api.get_opt(&self.deployment).await
    }
}
