//! Whether the operator is here to stay.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::api_service;
use super::installation::{Installation, installation};
use super::object_names::ObjectNames;

/// Longest time for the last look, and what follows from it, when a replica stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a failed request rests.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Watches the operator's namespace until `stop`, and removes the APIService as soon as it is
/// being deleted. Every replica does so: the leader may be the first to go. `leaving` is
/// cancelled then.
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
            Err(error) => warn!(%error, "cannot watch the operator's namespace; trying again"),
        }
    }
}

/// What a replica does last: if the operator is being taken down, not just this replica, the
/// APIService goes with it. Takes at most 5 s; what cannot be done by then is logged, with what is
/// left to do by hand.
pub async fn on_shutdown(client: &Client, names: &ObjectNames) {
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, remove_if_uninstalling(client, names)).await.is_err()
    {
        warn!(
            "the APIService may be left behind. If the operator is gone for good, delete it: \
             kubectl delete apiservice v1beta2.custom.metrics.k8s.io"
        );
    }
}

async fn remove_if_uninstalling(client: &Client, names: &ObjectNames) {
    loop {
        match installation(client, names).await {
            Ok(Installation::Active(_)) => return,
            Ok(Installation::Uninstalling(reason)) => {
                info!(reason, "the APIService goes with this operator");
                return remove(client, names).await;
            }
            Err(error) if is_unauthorized(&error) => return log_uninstalled(),
            Err(error) => {
                warn!(%error, "cannot look whether the operator is being taken down");
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    }
}

/// Removes the APIService, however often it takes.
async fn remove(client: &Client, names: &ObjectNames) {
    while let Err(error) = api_service::remove(client, names).await {
        if is_unauthorized(&error) {
            return log_uninstalled();
        }
        warn!(%error, "cannot remove the APIService; trying again");
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

/// Whether the service account or its roles are gone.
fn is_unauthorized(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 403))
}

fn log_uninstalled() {
    info!("the operator's rights are gone already: the APIService goes with its ClusterRole");
}

#[cfg(test)]
mod tests;
