//! Serves `custom.metrics.k8s.io` from the connection counts of the pods, so that autoscalers
//! follow connections in a cluster without another custom metrics server.

mod api_service;
mod authorize;
mod certificates;
mod disabled;
mod front_proxy;
mod installation;
mod listener;
mod object_names;
mod responses;
mod routes;
mod selector;
mod serving;
mod tls;
mod uninstall;

#[cfg(test)]
mod fake_cluster;

use std::sync::Arc;

use kube::Client;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::authorize::Authorizer;
use self::certificates::ServingCertificate;
use self::front_proxy::FrontProxy;
pub use self::object_names::ObjectNames;
pub use self::serving::Serving;
use self::tls::Tls;
use super::pods::Pods;

/// The custom metrics API, its certificates and its APIService. Cloning is shallow.
#[derive(Clone)]
pub struct CustomMetrics {
    client: Client,
    names: Arc<ObjectNames>,
    routes: Arc<routes::Api>,
    certificate: watch::Sender<Option<Arc<ServingCertificate>>>,
    front_proxy: watch::Sender<Option<Arc<FrontProxy>>>,
    tls: watch::Sender<Option<Tls>>,
    serving: watch::Sender<Serving>,
    states: IntGaugeVec,
    leaving: CancellationToken,
    is_enabled: bool,
}

impl CustomMetrics {
    /// Creates the API; [`start`](Self::start) serves it.
    ///
    /// # Errors
    /// If `registry` already has a metric of the same name.
    pub fn new(
        client: Client,
        pods: Pods,
        registry: &Registry,
        names: ObjectNames,
    ) -> prometheus::Result<Self> {
        let requests = IntCounterVec::new(
            Opts::new(
                "rookery_operator_metrics_api_requests_total",
                "Requests to the custom metrics API, by response code.",
            ),
            &["code"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        let front_proxy = watch::Sender::new(None);
        let routes = routes::Api {
            pods,
            authorizer: Authorizer::new(client.clone()),
            front_proxy: front_proxy.subscribe(),
            requests,
        };
        let states = IntGaugeVec::new(
            Opts::new(
                "rookery_operator_metrics_api",
                "1 for the state of custom.metrics.k8s.io as the leader sees it, 0 for the others.",
            ),
            &["state"],
        )?;
        registry.register(Box::new(states.clone()))?;
        for state in Serving::STATES {
            states.with_label_values(&[state]);
        }
        let reason = "this replica is not the leader".to_owned();
        Ok(CustomMetrics {
            client,
            names: Arc::new(names),
            routes: Arc::new(routes),
            certificate: watch::Sender::new(None),
            front_proxy,
            tls: watch::Sender::new(None),
            serving: watch::Sender::new(Serving::Off { reason }),
            states,
            leaving: CancellationToken::new(),
            is_enabled: true,
        })
    }

    /// Serves the API on `listener` until 2 s after `stop` is cancelled. Runs on every replica:
    /// maintains the certificates, follows the API server's front proxy configuration, and watches
    /// for the deletion of the operator's namespace. Without a listener the API is off: nothing is
    /// served, and [`run`](Self::run) removes what an earlier run left.
    pub fn start(
        &mut self,
        listener: Option<TcpListener>,
        tracker: &TaskTracker,
        stop: &CancellationToken,
    ) {
        tracker.spawn(publish_states(self.serving(), self.states.clone(), stop.clone()));
        let Some(listener) = listener else {
            self.is_enabled = false;
            return;
        };
        let client = || self.client.clone();
        let stop = || stop.clone();
        let names = || self.names.clone();
        tracker.spawn(certificates::run(client(), names(), self.certificate.clone(), stop()));
        tracker.spawn(front_proxy::run(client(), self.front_proxy.clone(), stop()));
        let (certificate, front_proxy) =
            (self.certificate.subscribe(), self.front_proxy.subscribe());
        tracker.spawn(tls::run(certificate, front_proxy, self.tls.clone(), stop()));
        tracker.spawn(uninstall::run(client(), names(), self.leaving.clone(), stop()));
        let router = routes::router(self.routes.clone());
        let tls = self.tls.subscribe();
        tracker.spawn(listener::serve(listener, router, tls, stop(), listener::SHUTDOWN_DELAY));
    }

    /// Maintains the APIService until `stop` is cancelled. Run it on the leader only. Afterwards
    /// [`serving`](Self::serving) is [`Serving::Off`], or still [`Serving::Disabled`].
    pub async fn run(&self, stop: CancellationToken) {
        if !self.is_enabled {
            self.serving.send_replace(Serving::Disabled);
            disabled::run(self.client.clone(), self.names.clone(), stop.clone()).await;
            return stop.cancelled().await;
        }
        let run = api_service::run(
            self.client.clone(),
            self.names.clone(),
            self.certificate.subscribe(),
            self.tls.subscribe(),
            self.serving.clone(),
            stop,
        );
        let reason = match self.leaving.run_until_cancelled(run).await {
            Some(()) => "this replica is not the leader",
            None => "the operator's namespace is being deleted",
        };
        self.serving.send_replace(Serving::Off { reason: reason.to_owned() });
    }

    /// The server behind custom.metrics.k8s.io, with its changes.
    pub fn serving(&self) -> watch::Receiver<Serving> {
        self.serving.subscribe()
    }

    /// Whether requests can be served: there is a certificate, and the front proxy configuration is
    /// known. Always true if the API is off.
    pub fn is_ready(&self) -> bool {
        !self.is_enabled || (self.tls.borrow().is_some() && self.front_proxy.borrow().is_some())
    }

    /// The last step of every replica, after [`run`](Self::run) has ended. Removes the APIService
    /// if the operator is being uninstalled: its Deployment is missing, being deleted or scaled to
    /// 0, its ClusterRole is missing, or its namespace is being deleted; or if this is the last
    /// available replica. Takes at most 5 s.
    pub async fn on_shutdown(&self) {
        if !self.is_enabled {
            return;
        }
        uninstall::on_shutdown(&self.client, &self.names).await;
    }
}

/// Keeps the gauge of states current until `stop` is cancelled.
async fn publish_states(
    mut serving: watch::Receiver<Serving>,
    states: IntGaugeVec,
    stop: CancellationToken,
) {
    loop {
        let now = serving.borrow_and_update().state();
        for state in Serving::STATES {
            states.with_label_values(&[state]).set(i64::from(now == Some(state)));
        }
        let changed = stop.run_until_cancelled(serving.changed()).await;
        if !matches!(changed, Some(Ok(()))) {
            return;
        }
    }
}
