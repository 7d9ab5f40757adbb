//! The Kubernetes operator: reconciles `Rookery` resources.
//!
//! A reconciliation runs `observe -> validate -> build -> apply -> status`, one file per step.
//! `validate` and `build` are pure and need no cluster, so `rookery render` uses them too. With
//! several replicas, the leader reconciles (`lease`, `leader`) and every replica serves the custom
//! metrics.

#![forbid(unsafe_code)]

pub mod apply;
pub mod build;
pub mod crd;
pub mod custom_metrics;
pub mod deletion_cost;
mod external_scaler;
#[doc(hidden)]
pub mod fuzzing;
mod guarded;
pub mod leader;
pub mod lease;
pub mod manifest;
pub mod metrics;
pub mod names;
pub mod observe;
pub mod pods;
pub mod reconcile;
pub mod status;
mod truncate;
pub mod validate;
pub mod validator;
pub mod values;
pub mod yaml;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::Api;
use kube::{Client, Resource as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use custom_metrics::CustomMetrics;
use external_scaler::ExternalScaler;
use leader::Leader;
use metrics::OperatorMetrics;
use observe::Scope;
use pods::Pods;
use rookery_ops::readiness::Readiness;
use rookery_ops::{admin, listener};
use validate::{Defaults, Rights};

/// How long shutdown waits for tasks before it abandons them.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Interval between updates of the readiness conditions.
const READINESS_INTERVAL: Duration = Duration::from_millis(500);

/// Settings of one operator process.
#[derive(Clone, Debug)]
pub struct Options {
    /// Namespaces whose `Rookery` resources are reconciled; empty means all namespaces.
    pub watch_namespaces: Vec<String>,
    /// Address on which /metrics, /livez and /readyz are served.
    pub internal: SocketAddr,
    /// Address on which custom.metrics.k8s.io is served over TLS; `None` if it is not served.
    pub metrics_api: Option<SocketAddr>,
    /// Address on which KEDA's external scaler is served; `None` if it is not served.
    pub external_scaler: Option<SocketAddr>,
    /// Server image of resources that do not set `spec.image`.
    pub image: String,
    /// Name of the Service that routes to `metrics_api` on port 443.
    pub service: String,
    /// Name of the ClusterRole that owns the APIService.
    pub cluster_role: String,
    /// Name of the operator's Deployment, which owns its Secret and its Lease; also the Lease's name.
    pub deployment: String,
    /// Name of this pod, which identifies this process in the Lease and in events.
    pub pod: String,
    /// Namespace of the operator's own objects.
    pub namespace: String,
    /// What resources may ask for.
    pub rights: Rights,
}

impl Options {
    fn object_names(&self) -> custom_metrics::ObjectNames {
        custom_metrics::ObjectNames {
            namespace: self.namespace.clone(),
            service: self.service.clone(),
            deployment: self.deployment.clone(),
            cluster_role: self.cluster_role.clone(),
        }
    }

    fn defaults(&self) -> Defaults {
        let scaler = self.external_scaler.map(|_| {
            let service = format!("{}{}", self.service, names::SCALER_SUFFIX);
            format!("{service}.{}.svc:{}", self.namespace, names::SCALER_PORT)
        });
        Defaults {
            image: self.image.clone(),
            operator_namespace: Some(self.namespace.clone()),
            rights: self.rights.clone(),
            scaler_address: scaler,
        }
    }

    fn log(&self) {
        info!(
            internal = %self.internal,
            metrics_api = self.metrics_api.map(tracing::field::display),
            external_scaler = self.external_scaler.map(tracing::field::display),
            namespaces = ?self.watch_namespaces,
            "operator started"
        );
    }

    fn candidate(&self, owner: Option<OwnerReference>) -> lease::Candidate {
        lease::Candidate {
            namespace: self.namespace.clone(),
            name: self.deployment.clone(),
            identity: self.pod.clone(),
            owner,
        }
    }
}

/// Runs the operator until `stop` is cancelled.
///
/// # Errors
/// If an address is in use, or the cluster does not answer at startup.
pub async fn run(options: Options, client: Client, stop: CancellationToken) -> anyhow::Result<()> {
    let (registry, metrics) = register_metrics().context("metrics")?;
    let tracker = TaskTracker::new();
    let readiness = Readiness::default();
    let listeners = Listeners::bind(&options).await?;
    let owner = deployment_owner(&client, &options).await?;

    let gather = registry.clone();
    let admin = admin::router(move |_| gather.gather(), readiness.clone());
    let grace = Duration::from_secs(1);
    tracker.spawn(listener::serve(listeners.internal, admin, stop.clone(), grace));

    let scopes = Scope::of(&options.watch_namespaces);
    let pods = Pods::start(&client, &scopes, &registry, &tracker, stop.clone())?;
    let names = options.object_names();
    let mut custom = CustomMetrics::new(client.clone(), pods.clone(), &registry, names)?;
    custom.start(listeners.metrics_api, &tracker, &stop);
    if let Some(listener) = listeners.external_scaler {
        let scaler = ExternalScaler::new(pods.clone(), &registry)?;
        tracker.spawn(scaler.serve(listener, stop.clone(), external_scaler::SHUTDOWN_DELAY));
    }
    tracker.spawn(update_readiness(readiness, pods.clone(), custom.clone(), stop.clone()));
    options.log();

    // Release the Lease only after the leader's work has ended.
    let release = CancellationToken::new();
    let candidate = options.candidate(owner);
    let leads = lease::campaign(candidate, client.clone(), &tracker, release.clone());
    let leader = Leader {
        client: client.clone(),
        scopes,
        pods: pods.clone(),
        serving: custom.serving(),
        defaults: options.defaults(),
        identity: options.pod,
        metrics,
        known: Arc::default(),
    };
    run_while_leading(leads, leader, &custom, &stop).await;
    custom.on_shutdown().await;
    release.cancel();
    tracker.close();
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, tracker.wait()).await.is_err() {
        warn!("some tasks did not stop in time and are abandoned");
    }
    Ok(())
}

fn register_metrics() -> prometheus::Result<(prometheus::Registry, OperatorMetrics)> {
    let registry = prometheus::Registry::new();
    let process = prometheus::process_collector::ProcessCollector::for_self();
    registry.register(Box::new(process))?;
    let metrics = OperatorMetrics::register(&registry)?;
    Ok((registry, metrics))
}

/// Reconciles whenever this process holds the Lease, until `stop` is cancelled.
async fn run_while_leading(
    mut leads: watch::Receiver<bool>,
    leader: Leader,
    custom: &CustomMetrics,
    stop: &CancellationToken,
) {
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => return,
            led = leads.wait_for(|leads| *leads) => if led.is_err() { return },
        }
        leader.metrics.leader.set(1);
        let term = stop.child_token();
        let lost = async {
            tokio::select! {
                () = term.cancelled() => {}
                _ = leads.wait_for(|leads| !*leads) => term.cancel(),
            }
        };
        tokio::join!(
            lost,
            leader.clone().run(term.clone()),
            custom.run(term.clone()),
            deletion_cost::run(
                leader.client.clone(),
                leader.pods.clone(),
                |namespace, name| leader.scaling(namespace, name),
                term.clone(),
            ),
        );
        leader.metrics.leader.set(0);
        leader.metrics.forget_all();
    }
}

/// Keeps readiness current: a replica is ready once it can answer requests for metrics.
async fn update_readiness(
    readiness: Readiness,
    pods: Pods,
    custom: CustomMetrics,
    stop: CancellationToken,
) {
    let listed = readiness.condition("pods", "waiting for the first list of server pods");
    let served = readiness.condition(
        "metrics-api",
        "waiting for the serving certificate and the API server's client CA",
    );
    let mut ticks = tokio::time::interval(READINESS_INTERVAL);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        listed.set(pods.is_synced());
        served.set(custom.is_ready());
    }
}

/// The sockets that the operator listens on.
struct Listeners {
    internal: TcpListener,
    metrics_api: Option<TcpListener>,
    external_scaler: Option<TcpListener>,
}

impl Listeners {
    async fn bind(options: &Options) -> anyhow::Result<Self> {
        Ok(Listeners {
            internal: bind(options.internal, "--internal").await?,
            metrics_api: bind_optional(options.metrics_api, "--metrics-api").await?,
            external_scaler: bind_optional(options.external_scaler, "--external-scaler").await?,
        })
    }
}

async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; choose another address with {flag}"))
}

async fn bind_optional(
    address: Option<SocketAddr>,
    flag: &str,
) -> anyhow::Result<Option<TcpListener>> {
    match address {
        Some(address) => bind(address, flag).await.map(Some),
        None => Ok(None),
    }
}

/// The operator's Deployment as an owner reference; `None` if it does not run in one.
async fn deployment_owner(
    client: &Client,
    options: &Options,
) -> anyhow::Result<Option<OwnerReference>> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), &options.namespace);
    let found = api.get_opt(&options.deployment).await.context(
        "cannot read the operator's own Deployment: the cluster does not answer or denies access",
    )?;
    Ok(found.and_then(|deployment| deployment.owner_ref(&())))
}
