//! What remains to do where the metrics API is switched off: remove what an earlier run left.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::api_service;
use super::object_names::ObjectNames;
use crate::names;

/// Delay before a failed removal is retried.
const RETRY_DELAY: Duration = Duration::from_secs(30);

/// Deadline of one attempt.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Removes the APIService, if it is this operator's, and the Secret with its certificates. Retries
/// until it succeeds, access is denied, or `stop` is cancelled. Run it on the leader only.
pub async fn run(client: Client, names: Arc<ObjectNames>, stop: CancellationToken) {
    let remove = async {
        while let Err(error) = remove(&client, &names).await {
            warn!(error = %format!("{error:#}"), "cannot remove what the metrics API left; retrying");
            tokio::time::sleep(RETRY_DELAY).await;
        }
    };
    let _ = stop.run_until_cancelled(remove).await;
}

async fn remove(client: &Client, names: &ObjectNames) -> anyhow::Result<()> {
    let api_service = api_service::remove(client, names);
    let removed = tokio::time::timeout(REQUEST_TIMEOUT, api_service).await?;
    if_permitted(removed, "the APIService v1beta2.custom.metrics.k8s.io")?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &names.namespace);
    let params = DeleteParams::default();
    let secret = secrets.delete(names::METRICS_SECRET, &params);
    match tokio::time::timeout(REQUEST_TIMEOUT, secret).await? {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        deleted => if_permitted(deleted.map(drop), "the Secret of the metrics API's certificates"),
    }
}

/// A denial is final: without the permission there is nothing more to try.
fn if_permitted(result: kube::Result<()>, what: &str) -> anyhow::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 403 => {
            info!(what, reason = status.message, "not permitted to look for a left-over object");
            Ok(())
        }
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests;
