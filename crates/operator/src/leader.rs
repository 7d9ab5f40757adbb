//! The leader's work: one controller per scope, restarted when the cluster gains or loses a kind.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::runtime::controller::{Config, Controller};
use kube::runtime::events::Reporter;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::{PredicateConfig, WatchStreamExt as _, watcher};
use kube::{Client, Resource as _, ResourceExt as _};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::apply::Contests;
use super::build::{Capabilities, GATEWAY_GROUP, kinds};
use super::crd::Rookery;
use super::custom_metrics::Serving;
use super::deletion_cost::Scaling;
use super::guarded::GuardedRookery;
use super::metrics::OperatorMetrics;
use super::names;
use super::observe::{OwnedObjects, Scope};
use super::pods::Pods;
use super::reconcile::{Context, FailureCounts, RolloutTurns, error_policy, reconcile};
use super::status::{RefusedStatuses, StatusWrites};
use super::validate::Defaults;
use super::validator::Validator;

/// How long a change waits to be merged with further changes of the same resource.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Maximum number of concurrent reconciliations per scope.
const MAX_CONCURRENT_RECONCILES: u16 = 8;

/// Interval between checks for optional kinds.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(60);

/// Deadline of one such check.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the controllers while this process leads. Cloning is shallow.
#[derive(Clone)]
pub struct Leader {
    /// Client of the cluster.
    pub client: Client,
    /// Scopes in which resources are reconciled.
    pub scopes: Vec<Scope>,
    /// Connection counts of the server pods.
    pub pods: Pods,
    /// The server behind custom.metrics.k8s.io.
    pub serving: watch::Receiver<Serving>,
    /// Values for fields that a resource leaves out.
    pub defaults: Defaults,
    /// Name of this process in the events that it publishes.
    pub identity: String,
    /// Metrics of the reconciliations.
    pub metrics: OperatorMetrics,
    /// Caches of this term's controllers, one per scope.
    pub known: Arc<Mutex<Vec<ScopeCache>>>,
}

/// The watch caches of one scope.
#[derive(Clone)]
pub struct ScopeCache {
    resources: Store<GuardedRookery>,
    owned: OwnedObjects,
}

impl ScopeCache {
    fn scaling(&self, namespace: &str, name: &str) -> Option<Scaling> {
        let resource = self.resources.get(&ObjectRef::new(name).within(namespace))?;
        let rookery = resource.0.as_ref().ok()?;
        let min = self.owned.min_replicas(namespace, name)?;
        Some(Scaling {
            connections_per_pod: rookery.spec.autoscaling.connections_per_pod.try_into().ok()?,
            min: min.try_into().ok()?,
        })
    }
}

impl Leader {
    /// How a resource scales, from the caches; `None` if it is unknown or has no autoscaler.
    pub fn scaling(&self, namespace: &str, name: &str) -> Option<Scaling> {
        self.known.lock().iter().find_map(|known| known.scaling(namespace, name))
    }

    /// Reconciles every resource of the scopes until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let mut capabilities = Capabilities::default();
        while !stop.is_cancelled() {
            capabilities = discover_capabilities(&self.client, &self.scopes, capabilities).await;
            let round = stop.child_token();
            let controllers = self
                .scopes
                .iter()
                .map(|scope| self.clone().leader(scope.clone(), capabilities, round.clone()));
            let controllers = futures_util::future::join_all(controllers);
            let changed = async {
                wait_for_kind_change(&self.client, &self.scopes, &capabilities, &round).await;
                round.cancel();
            };
            tokio::join!(controllers, changed);
            self.known.lock().clear();
        }
    }

    /// Runs the controller of one scope until `stop` is cancelled.
    async fn leader(self, scope: Scope, capabilities: Capabilities, stop: CancellationToken) {
        let (owned, changes) =
            OwnedObjects::watch(&self.client, &scope, available_kinds(&capabilities));
        let (reader, writer) = store::<GuardedRookery>();
        self.known.lock().push(ScopeCache { resources: reader.clone(), owned: owned.clone() });
        let resources = watcher(self.resources(&scope), watcher::Config::default())
            .default_backoff()
            .modify(|resource| resource.managed_fields_mut().clear())
            .reflect(writer)
            .applied_objects()
            .predicate_filter(spec_version, PredicateConfig::default());
        let config = Config::default().debounce(DEBOUNCE).concurrency(MAX_CONCURRENT_RECONCILES);
        let mut controller = Controller::for_stream(resources, reader).with_config(config);
        for (kind, stream) in changes {
            controller = controller.watches_stream_with(stream, resources_of, kind);
        }
        let counted = self
            .pods
            .changes()
            .map(|(namespace, name)| ObjectRef::<GuardedRookery>::new(&name).within(&namespace));
        let mut serving = self.serving.clone();
        serving.mark_unchanged();
        let served = changes_of(serving);
        let metrics = self.metrics.clone();
        let context = Arc::new(self.context(owned, capabilities, stop.clone()));
        controller
            .reconcile_on(counted)
            .reconcile_all_on(served)
            .graceful_shutdown_on(stop.cancelled_owned())
            .run(reconcile, error_policy, context)
            .for_each(|result| {
                match result {
                    Ok((resource, _)) => debug!(%resource, "reconciled"),
                    Err(kube::runtime::controller::Error::ObjectNotFound(resource)) => {
                        debug!(%resource, "resource no longer exists");
                        let namespace = resource.namespace.as_deref().unwrap_or_default();
                        metrics.forget(namespace, &resource.name);
                    }
                    // Logged by `error_policy`.
                    Err(kube::runtime::controller::Error::ReconcilerFailed(..)) => {}
                    Err(error) => warn!(%error, "watch failed; retrying"),
                }
                std::future::ready(())
            })
            .await;
    }

    fn resources(&self, scope: &Scope) -> Api<GuardedRookery> {
        match scope {
            Scope::All => Api::all(self.client.clone()),
            Scope::Namespace(name) => Api::namespaced(self.client.clone(), name),
        }
    }

    fn context(
        self,
        owned: OwnedObjects,
        capabilities: Capabilities,
        stop: CancellationToken,
    ) -> Context {
        let reporter =
            Reporter { controller: names::MANAGER.to_owned(), instance: Some(self.identity) };
        Context {
            reporter,
            stop,
            client: self.client,
            owned,
            pods: self.pods,
            serving: self.serving,
            capabilities,
            validator: Validator::new(self.defaults),
            metrics: self.metrics,
            failures: FailureCounts::default(),
            turns: RolloutTurns::default(),
            contests: Contests::default(),
            status_writes: StatusWrites::default(),
            refused: RefusedStatuses::default(),
        }
    }
}

/// The kinds of [`kinds`] that this cluster has.
fn available_kinds(capabilities: &Capabilities) -> Vec<ApiResource> {
    let has = |kind: &ApiResource| capabilities.has(&kind.kind);
    kinds().into_iter().filter(has).collect()
}

/// The resources that an object belongs to: its owners, and the one that its label names, so that
/// an object whose owner was removed is noticed.
fn resources_of(object: DynamicObject) -> Vec<ObjectRef<GuardedRookery>> {
    let namespace = object.namespace().unwrap_or_default();
    let kind = Rookery::kind(&());
    let owners = object.owner_references().iter().filter(|owner| owner.kind == kind);
    let named = object.labels().get(names::INSTANCE);
    let names: BTreeSet<&String> = owners.map(|owner| &owner.name).chain(named).collect();
    names.into_iter().map(|name| ObjectRef::new(name).within(&namespace)).collect()
}

/// Changes whenever a resource must be reconciled again. Status is left out, so that the operator
/// does not react to its own writes.
fn spec_version(resource: &GuardedRookery) -> Option<u64> {
    let meta = resource.meta();
    let mut hash = DefaultHasher::new();
    let is_deleted = meta.deletion_timestamp.is_some();
    (&meta.uid, meta.generation, is_deleted, names::is_paused(meta)).hash(&mut hash);
    Some(hash.finish())
}

/// A stream with one item per change of `receiver`.
fn changes_of<T: Send + Sync + 'static>(
    receiver: watch::Receiver<T>,
) -> impl futures_util::Stream<Item = ()> + Send + 'static {
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.changed().await.ok()?;
        Some(((), receiver))
    })
}

/// Waits until the optional kinds differ from `known`, or until `stop` is cancelled.
async fn wait_for_kind_change(
    client: &Client,
    scopes: &[Scope],
    known: &Capabilities,
    stop: &CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(DISCOVERY_INTERVAL) => {}
        }
        let now = discover_capabilities(client, scopes, *known).await;
        if now != *known {
            info!(before = ?known, ?now, "available optional kinds changed; restarting the controllers");
            return;
        }
    }
}

/// Asks the cluster which optional kinds it has and lets the operator read in every scope. A kind
/// that cannot be determined keeps its value in `known`.
async fn discover_capabilities(
    client: &Client,
    scopes: &[Scope],
    known: Capabilities,
) -> Capabilities {
    let has = |group: &'static str, version: &'static str, kind: &'static str| async move {
        let known = known.has(kind);
        let kind = GroupVersionKind::gvk(group, version, kind);
        let look = kube::discovery::oneshot::pinned_kind(client, &kind);
        match tokio::time::timeout(DISCOVERY_TIMEOUT, look).await {
            Ok(Ok((kind, _))) => may_read(client, scopes, &kind).await.unwrap_or(known),
            Ok(Err(kube::Error::Discovery(_))) => false,
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => false,
            Ok(Err(_)) | Err(_) => known,
        }
    };
    let (service_monitor, pod_monitor, prometheus_rule, scaled_object, http_route) = tokio::join!(
        has("monitoring.coreos.com", "v1", "ServiceMonitor"),
        has("monitoring.coreos.com", "v1", "PodMonitor"),
        has("monitoring.coreos.com", "v1", "PrometheusRule"),
        has("keda.sh", "v1alpha1", "ScaledObject"),
        has(GATEWAY_GROUP, "v1", "HTTPRoute"),
    );
    let session_persistence = http_route && has_session_persistence(client, known).await;
    Capabilities {
        service_monitor,
        pod_monitor,
        prometheus_rule,
        scaled_object,
        http_route,
        session_persistence,
    }
}

/// Whether the operator may list a kind in every scope: an older chart gives no right to the newer
/// kinds, and a watch that is refused would keep the controllers waiting. `None` if that cannot be
/// determined.
async fn may_read(client: &Client, scopes: &[Scope], kind: &ApiResource) -> Option<bool> {
    for scope in scopes {
        let api = scope.api(client.clone(), kind);
        let first = ListParams::default().limit(1);
        match tokio::time::timeout(DISCOVERY_TIMEOUT, api.list_metadata(&first)).await {
            Ok(Ok(_)) => {}
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                debug!(kind = %kind.kind, "the operator may not list this kind: it is not used");
                return Some(false);
            }
            Ok(Err(_)) | Err(_) => return None,
        }
    }
    Some(true)
}

/// Whether the definition of HTTPRoute has `sessionPersistence`, as the API server describes it to
/// everybody.
async fn has_session_persistence(client: &Client, known: Capabilities) -> bool {
    let Ok(request) =
        http::Request::get(format!("/openapi/v3/apis/{GATEWAY_GROUP}/v1")).body(Vec::new())
    else {
        return known.session_persistence;
    };
    let answer = tokio::time::timeout(DISCOVERY_TIMEOUT, client.request_text(request)).await;
    match answer {
        Ok(Ok(text)) => text.contains("\"sessionPersistence\""),
        Ok(Err(_)) | Err(_) => known.session_persistence,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_belongs_to_its_owner_and_to_whom_its_label_names() {
        let names = |metadata: serde_json::Value| {
            let object = json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata });
            let object = resources_of(serde_json::from_value(object).unwrap());
            object.into_iter().map(|one| one.to_string()).collect::<Vec<_>>()
        };
        let owner = json!([{ "apiVersion": "rookery.dev/v1alpha1", "kind": "Rookery", "name": "chat", "uid": "1" }]);
        let labels = json!({ "app.kubernetes.io/instance": "chat" });
        let chat = ["Rookery.v1alpha1.rookery.dev/chat.apps"];
        let both =
            json!({ "name": "x", "namespace": "apps", "ownerReferences": owner, "labels": labels });
        assert_eq!(names(both), chat);
        assert_eq!(names(json!({ "name": "x", "namespace": "apps", "labels": labels })), chat);
        assert_eq!(
            names(json!({ "name": "x", "namespace": "apps", "ownerReferences": owner })),
            chat
        );
        assert_eq!(names(json!({ "name": "x", "namespace": "apps" })), [""; 0]);
    }
}
