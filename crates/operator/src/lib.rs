//! The Kubernetes operator: what a `Rookery` resource asks for, made and kept.
//!
//! A reconciliation is `observe -> validate -> build -> apply -> status`, one file each;
//! `validate` and `build` are pure and need no cluster, which is how `rookery render` uses them.
//! Of several operators one reconciles (`lease`, `leader`); each serves the custom metrics.

#![forbid(unsafe_code)]

pub mod apply;
pub mod build;
pub mod crd;
pub mod custom_metrics;
pub mod deletion_cost;
pub mod leader;
pub mod lease;
pub mod metrics;
pub mod names;
pub mod observe;
pub mod pods;
pub mod reconcile;
pub mod status;
pub mod validate;
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
use leader::Leader;
use metrics::OperatorMetrics;
use observe::Scope;
use pods::Pods;
use rookery_ops::readiness::Readiness;
use rookery_ops::{admin, listener};
use validate::Defaults;

/// How long a stop may take before what is left is given up.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Time between two looks at what readiness depends on.
const READINESS_INTERVAL: Duration = Duration::from_millis(500);

/// How an operator is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespaces whose resources it looks after; none is all.
    pub watch_namespaces: Vec<String>,
    /// Where /metrics, /livez and /readyz answer.
    pub internal: SocketAddr,
    /// Where custom.metrics.k8s.io answers, with TLS.
    pub metrics_api: SocketAddr,
    /// The image of resources that name none.
    pub image: String,
    /// The Service in front of `metrics_api`.
    pub service: String,
    /// The ClusterRole that the APIService goes with.
    pub cluster_role: String,
    /// The operator's own Deployment, which its Lease and its Secret go with.
    pub deployment: String,
    /// This pod.
    pub pod: String,
    /// The operator's own namespace.
    pub namespace: String,
}

/// Runs an operator until `stop`.
///
/// # Errors
/// When an address is taken, or the cluster does not answer at the start.
pub async fn run(options: Options, client: Client, stop: CancellationToken) -> anyhow::Result<()> {
    let registry = prometheus::Registry::new();
    let process = prometheus::process_collector::ProcessCollector::for_self();
    registry.register(Box::new(process)).context("metrics")?;
    let metrics = OperatorMetrics::register(&registry).context("metrics")?;
    let tracker = TaskTracker::new();
    let readiness = Readiness::default();
    let internal = bind(options.internal, "--internal").await?;
    let metrics_api = bind(options.metrics_api, "--metrics-api").await?;
    let owner = deployment_owner(&client, &options).await?;

    let gather = registry.clone();
    let admin = admin::router(move |_| gather.gather(), readiness.clone());
    tracker.spawn(listener::serve(internal, admin, stop.clone(), Duration::from_secs(1)));

    let scopes = Scope::of(&options.watch_namespaces);
    let pods = Pods::start(&client, &scopes, &registry, &tracker, stop.clone())?;
    let names = custom_metrics::ObjectNames {
        namespace: options.namespace.clone(),
        service: options.service.clone(),
        deployment: options.deployment.clone(),
        cluster_role: options.cluster_role.clone(),
    };
    let custom = CustomMetrics::new(client.clone(), pods.clone(), &registry, names)?;
    custom.start(metrics_api, &tracker, &stop);
    tracker.spawn(update_readiness(readiness, pods.clone(), custom.clone(), stop.clone()));
    info!(
        internal = %options.internal,
        metrics_api = %options.metrics_api,
        namespaces = ?options.watch_namespaces,
        "the operator runs"
    );

    // The Lease is given back when the work under it has ended, not before.
    let release = CancellationToken::new();
    let candidate = lease::Candidate {
        namespace: options.namespace.clone(),
        name: names::LEASE.to_owned(),
        identity: options.pod.clone(),
        owner,
    };
    let leads = lease::campaign(candidate, client.clone(), &tracker, release.clone());
    let leader = Leader {
        client: client.clone(),
        scopes,
        pods: pods.clone(),
        serving: custom.serving(),
        defaults: Defaults { image: options.image, operator_namespace: Some(options.namespace) },
        identity: options.pod,
        metrics,
        known: Arc::default(),
    };
    run_while_leading(leads, leader, &custom, &stop).await;
    custom.on_shutdown().await;
    release.cancel();
    tracker.close();
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, tracker.wait()).await.is_err() {
        warn!("something did not end in time and is given up");
    }
    Ok(())
}

/// Does the leader's work whenever this process leads, until `stop`.
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
    }
}

/// A replica is ready when it can answer about the pods.
async fn update_readiness(
    readiness: Readiness,
    pods: Pods,
    custom: CustomMetrics,
    stop: CancellationToken,
) {
    let listed = readiness.condition("pods", "the servers' pods have not been listed yet");
    let served = readiness.condition(
        "metrics-api",
        "there is no certificate yet, or it is not known how the API server presents itself",
    );
    let mut ticks = tokio::time::interval(READINESS_INTERVAL);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        listed.set(pods.is_synced());
        served.set(custom.is_ready());
    }
}

async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; choose another address by {flag}"))
}

/// The operator's Deployment, as an owner; none where it does not run in one.
async fn deployment_owner(
    client: &Client,
    options: &Options,
) -> anyhow::Result<Option<OwnerReference>> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), &options.namespace);
    let found = api.get_opt(&options.deployment).await.context(
        "the cluster does not answer, or does not let this operator read its Deployment",
    )?;
    Ok(found.and_then(|deployment| deployment.owner_ref(&())))
}
