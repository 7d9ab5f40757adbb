//! Removes the APIService when the operator is uninstalled, or its last replica stops: without a
//! backend, an APIService blocks the deletion of every namespace.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::api_service;
use super::installation::{Installation, installation};
use super::object_names::ObjectNames;

/// Maximum time for the check and the removal on shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Delay before a failed request is retried.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Watches the operator's namespace until `stop` is cancelled, and removes the APIService as soon
/// as the namespace is being deleted; `leaving` is cancelled then. Runs on every replica, because
/// the leader may be the first to stop.
pub async fn run(
    client: Client,
    names: Arc<ObjectNames>,
    leaving: CancellationToken,
    stop: CancellationToken,
) {
    let api: Api<Namespace> = Api::all(client.clone());
    let namespaces = watch_object(api, &names.namespace).default_backoff();
    let mut namespaces = std::pin::pin!(namespaces);
    while let Some(Some(event)) = stop.run_until_cancelled(namespaces.next()).await {
        match event {
            Ok(Some(found)) if found.metadata.deletion_timestamp.is_none() => {}
            Ok(_) => {
                info!(namespace = names.namespace, "the operator's namespace is being deleted");
                leaving.cancel();
                let _ = stop.run_until_cancelled(remove(&client, &names)).await;
            }
            Err(error) => warn!(%error, "cannot watch the operator's namespace; retrying"),
        }
    }
}

/// How long the last replica waits to learn that no other is available.
const LAST_REPLICA_WAIT: Duration = Duration::from_secs(2);

/// Removes the APIService if the operator is being uninstalled, or if no other replica is available
/// to serve it: the next one creates it again. Takes at most 5 s; on a timeout it logs how to
/// remove the APIService by hand.
pub async fn on_shutdown(client: &Client, names: &ObjectNames) {
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, remove_if_uninstalling(client, names)).await.is_err()
    {
        warn!(
            "timed out checking whether to remove the APIService. If the operator was uninstalled, run: \
             kubectl delete apiservice v1beta2.custom.metrics.k8s.io"
        );
    }
}

async fn remove_if_uninstalling(client: &Client, names: &ObjectNames) {
    loop {
        match installation(client, names).await {
            Ok(Installation::Active(_)) if is_last(client, names).await => {
                info!("no other replica of the operator is available; removing the APIService");
                return remove(client, names).await;
            }
            Ok(Installation::Active(_)) => return,
            Ok(Installation::Uninstalling(reason)) => {
                info!(reason, "the operator is being uninstalled; removing the APIService");
                return remove(client, names).await;
            }
            Err(error) if is_unauthorized(&error) => return log_uninstalled(),
            Err(error) => {
                warn!(%error, "cannot check whether the operator is being uninstalled; retrying");
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    }
}

/// Whether no other replica is available. The Deployment may still count this one for a moment, and
/// others that stop at the same time, so it is read again for up to 2 s.
async fn is_last(client: &Client, names: &ObjectNames) -> bool {
    let others = async {
        loop {
            let Ok(found) = names.deployment(client).await else { return true };
            match found.as_ref().and_then(available_replicas) {
                Some(0) => return false,
                Some(_) => tokio::time::sleep(RETRY_DELAY).await,
                None => return true,
            }
        }
    };
    matches!(tokio::time::timeout(LAST_REPLICA_WAIT, others).await, Ok(false))
}

/// The number of available pods; `None` before the Deployment controller has counted them.
fn available_replicas(deployment: &Deployment) -> Option<i32> {
    let status = deployment.status.as_ref()?;
    status.observed_generation.map(|_| status.available_replicas.unwrap_or(0))
}

/// Removes the APIService, retrying until it succeeds or access is denied.
async fn remove(client: &Client, names: &ObjectNames) {
    while let Err(error) = api_service::remove(client, names).await {
        if is_unauthorized(&error) {
            return log_uninstalled();
        }
        warn!(%error, "cannot remove the APIService; retrying");
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

/// Whether access was denied, because the service account or its roles are deleted.
fn is_unauthorized(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 403))
}

fn log_uninstalled() {
    info!("access denied: the ClusterRole is deleted, and the APIService with it");
}

#[cfg(test)]
mod tests;
