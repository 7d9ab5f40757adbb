//! What the leader does: a controller for each scope, begun anew when the cluster learns a kind.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::api::{Api, ApiResource};
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

use super::build::{Capabilities, kinds};
use super::custom_metrics::Serving;
use super::deletion_cost::Scaling;
use super::metrics::OperatorMetrics;
use super::names;
use super::observe::{OwnedObjects, Scope};
use super::pods::Pods;
use super::reconcile::{Context, FailureCounts, GuardedRookery, error_policy, reconcile};
use super::validate::Defaults;

/// How long a change waits for others of the same resource.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Resources that are reconciled at once.
const MAX_CONCURRENT_RECONCILES: u16 = 8;

/// Time between two looks for the Prometheus operator's kinds.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(60);

/// How long one look may take.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// What the leader works with.
#[derive(Clone)]
pub struct Leader {
    /// The cluster.
    pub client: Client,
    /// Where resources are looked for.
    pub scopes: Vec<Scope>,
    /// The servers' connections.
    pub pods: Pods,
    /// Who serves the custom metrics.
    pub serving: watch::Receiver<Serving>,
    /// What resources have that name none.
    pub defaults: Defaults,
    /// This process, in events.
    pub identity: String,
    /// Counts what is done.
    pub metrics: OperatorMetrics,
    /// What the controllers of this term know, one a scope.
    pub known: Arc<Mutex<Vec<ScopeCache>>>,
}

/// What one scope's controller knows.
#[derive(Clone)]
pub struct ScopeCache {
    resources: Store<GuardedRookery>,
    owned: OwnedObjects,
}

impl ScopeCache {
    fn scaling(&self, namespace: &str, name: &str) -> Option<Scaling> {
        let resource = self.resources.get(&ObjectRef::new(name).within(namespace))?;
        let rookery = resource.0.as_ref().ok()?;
        let autoscaler = self.owned.get("HorizontalPodAutoscaler", namespace, name)?;
        let min = autoscaler.data.pointer("/spec/minReplicas")?.as_u64()?;
        Some(Scaling {
            connections_per_pod: rookery.spec.autoscaling.connections_per_pod.try_into().ok()?,
            min: min.try_into().ok()?,
        })
    }
}

impl Leader {
    /// How a resource scales, from memory; `None` where it is not known, or has no autoscaler.
    pub fn scaling(&self, namespace: &str, name: &str) -> Option<Scaling> {
        self.known.lock().iter().find_map(|known| known.scaling(namespace, name))
    }

    /// Reconciles every resource of the scopes until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut capabilities = Capabilities::default();
        while !stop.is_cancelled() {
            capabilities = discover_capabilities(&self.client, capabilities).await;
            let round = stop.child_token();
            let controllers = self
                .scopes
                .iter()
                .map(|scope| self.clone().leader(scope.clone(), capabilities, round.clone()));
            let controllers = futures_util::future::join_all(controllers);
            let changed = async {
                wait_for_kind_change(&self.client, &capabilities, &round).await;
                round.cancel();
            };
            tokio::join!(controllers, changed);
            self.known.lock().clear();
        }
    }

    /// One scope's controller, until `stop`.
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
            controller = controller.owns_stream_with(stream, kind);
        }
        let counted = self
            .pods
            .changes()
            .map(|(namespace, name)| ObjectRef::<GuardedRookery>::new(&name).within(&namespace));
        let mut serving = self.serving.clone();
        serving.mark_unchanged();
        let served = changes_of(serving);
        let context = Arc::new(self.context(owned, capabilities, stop.clone()));
        controller
            .reconcile_on(counted)
            .reconcile_all_on(served)
            .graceful_shutdown_on(stop.cancelled_owned())
            .run(reconcile, error_policy, context)
            .for_each(|result| async move {
                match result {
                    Ok((resource, _)) => debug!(%resource, "reconciled"),
                    Err(kube::runtime::controller::Error::ObjectNotFound(resource)) => {
                        debug!(%resource, "gone");
                    }
                    // Told by `error_policy`.
                    Err(kube::runtime::controller::Error::ReconcilerFailed(..)) => {}
                    Err(error) => warn!(%error, "a watch is troubled"),
                }
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
            defaults: self.defaults,
            metrics: self.metrics,
            failures: FailureCounts::default(),
        }
    }
}

/// The kinds that this cluster has.
fn available_kinds(capabilities: &Capabilities) -> Vec<ApiResource> {
    let has = |kind: &ApiResource| match kind.kind.as_str() {
        "ServiceMonitor" => capabilities.service_monitor,
        "PrometheusRule" => capabilities.prometheus_rule,
        _ => true,
    };
    kinds().into_iter().filter(has).collect()
}

/// What of a resource must change before it is reconciled: a status that the operator wrote
/// itself is no reason.
fn spec_version(resource: &GuardedRookery) -> Option<u64> {
    let meta = resource.meta();
    let mut hash = DefaultHasher::new();
    (&meta.uid, meta.generation, meta.deletion_timestamp.is_some()).hash(&mut hash);
    Some(hash.finish())
}

/// An item for each change of `receiver`.
fn changes_of<T: Send + Sync + 'static>(
    receiver: watch::Receiver<T>,
) -> impl futures_util::Stream<Item = ()> + Send + 'static {
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.changed().await.ok()?;
        Some(((), receiver))
    })
}

/// Waits until the optional kinds are others than `known`, or until `stop`.
async fn wait_for_kind_change(client: &Client, known: &Capabilities, stop: &CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(DISCOVERY_INTERVAL) => {}
        }
        let now = discover_capabilities(client, *known).await;
        if now != *known {
            info!(before = ?known, ?now, "the cluster's optional kinds have changed");
            return;
        }
    }
}

/// Which optional kinds there are; `known` stays where the cluster does not say.
async fn discover_capabilities(client: &Client, known: Capabilities) -> Capabilities {
    let has = |kind: &'static str, known: bool| async move {
        let kind = GroupVersionKind::gvk("monitoring.coreos.com", "v1", kind);
        let look = kube::discovery::oneshot::pinned_kind(client, &kind);
        match tokio::time::timeout(DISCOVERY_TIMEOUT, look).await {
            Ok(Ok(_)) => true,
            Ok(Err(kube::Error::Discovery(_))) => false,
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => false,
            Ok(Err(_)) | Err(_) => known,
        }
    };
    let (service_monitor, prometheus_rule) = tokio::join!(
        has("ServiceMonitor", known.service_monitor),
        has("PrometheusRule", known.prometheus_rule),
    );
    Capabilities { service_monitor, prometheus_rule }
}
