//! The server pods and their connection counts, scraped from the pods themselves.

mod changes;
mod events;
mod failure;
mod fair_permits;
mod load;
mod observed;
mod readings;
pub(crate) mod sample;
mod scraper;
mod server_pod;
mod store;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::core::Selector;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use self::changes::Broadcaster;
pub use self::events::explain_pending;
pub use self::failure::PodFailure;
use self::fair_permits::FairPermits;
pub use self::load::PodMetric;
use self::observed::ObservedPod;
pub use self::readings::{Reading, readings, redistributed};
use self::sample::Sample;
use self::scraper::Scraper;
pub use self::server_pod::ServerPod;
pub use self::store::STALE_AFTER;
use self::store::{PodStore, SCRAPE_INTERVAL};
use super::names;
use super::observe::Scope;

/// Deadline of one scrape.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum number of concurrent scrapes; further ones wait for a permit, the namespaces in turn.
const MAX_CONCURRENT_SCRAPES: usize = 32;

/// The server pods, discovered by watches and scraped every few seconds. Cloning is shallow.
#[derive(Clone)]
pub struct Pods {
    shared: Arc<Shared>,
}

struct Shared {
    store: Mutex<PodStore>,
    changes: Broadcaster,
    permits: FairPermits,
    succeeded: IntCounter,
    failed: IntCounter,
    timed_out: IntCounter,
    tracked: IntGauge,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Pods {
    /// Watches the server pods of `scopes` and scrapes them until `stop` is cancelled. A watch that
    /// fails is logged and retried with backoff; the known pods are kept meanwhile.
    ///
    /// # Errors
    /// If `registry` already has metrics of these names.
    pub fn start(
        client: &Client,
        scopes: &[Scope],
        registry: &Registry,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> prometheus::Result<Self> {
        let api = |scope: &Scope| match scope {
            Scope::All => (None, Api::all(client.clone())),
            Scope::Namespace(name) => (Some(name.clone()), Api::namespaced(client.clone(), name)),
        };
        let apis: Vec<_> = scopes.iter().map(api).collect();
        let pods = Self::new(apis.len(), registry, tracker, stop.clone())?;
        for (scope, api) in apis {
            let (shared, stop) = (pods.shared.clone(), stop.clone());
            tracker.spawn(async move {
                let _ = stop.run_until_cancelled(shared.watch(scope, api)).await;
            });
        }
        Ok(pods)
    }

    fn new(
        scopes: usize,
        registry: &Registry,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> prometheus::Result<Self> {
        let scrapes = IntCounterVec::new(
            Opts::new("rookery_operator_scrapes_total", "Scrapes of server pods, by outcome."),
            &["outcome"],
        )?;
        let tracked =
            IntGauge::new("rookery_operator_pods", "Server pods that are watched and scraped.")?;
        registry.register(Box::new(scrapes.clone()))?;
        registry.register(Box::new(tracked.clone()))?;
        let shared = Shared {
            store: Mutex::new(PodStore::new(scopes)),
            changes: Broadcaster::default(),
            permits: FairPermits::new(MAX_CONCURRENT_SCRAPES),
            succeeded: scrapes.with_label_values(&["ok"]),
            failed: scrapes.with_label_values(&["error"]),
            timed_out: scrapes.with_label_values(&["timeout"]),
            tracked,
            tracker: tracker.clone(),
            stop,
        };
        Ok(Pods { shared: Arc::new(shared) })
    }

    /// The server pods of the `Rookery` called `name`, ordered by name.
    pub fn of(&self, namespace: &str, name: &str) -> Vec<ServerPod> {
        self.shared.store.lock().of(namespace, name, Instant::now())
    }

    /// The server pods of a namespace whose labels match `selector`, ordered by name.
    pub fn matching(&self, namespace: &str, selector: &Selector) -> Vec<ServerPod> {
        self.shared.store.lock().matching(namespace, selector, Instant::now())
    }

    /// All server pods, ordered by namespace and name.
    pub fn all(&self) -> Vec<ServerPod> {
        self.shared.store.lock().all(Instant::now())
    }

    /// Whether every scope has been listed and every listed pod scraped at least once. Once true,
    /// it stays true.
    pub fn is_synced(&self) -> bool {
        self.shared.store.lock().is_synced()
    }

    /// A stream of `Rookery` resources, as (namespace, name), whose served counts or Redis state
    /// changed. The first change is reported at once, then a resource at most once per
    /// [`changes::NOTIFY_INTERVAL`], with changes in between merged. A slow reader thus has at most
    /// one waiting item per resource. Each call returns an independent stream, which never ends.
    pub fn changes(&self) -> impl Stream<Item = (String, String)> + Send + use<> {
        self.shared.changes.subscribe()
    }
}

impl Shared {
    async fn watch(self: Arc<Self>, scope: Option<String>, api: Api<Pod>) {
        let labels =
            format!("{}={},{}=server", names::MANAGED_BY, names::MANAGER, names::COMPONENT);
        let events = watcher(api, watcher::Config::default().labels(&labels)).default_backoff();
        let mut events = std::pin::pin!(events);
        let mut listed = HashSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(pod)) => {
                    if let Some(observed) = ObservedPod::of(&pod).filter(|_| !is_finished(&pod)) {
                        listed.insert(observed.key());
                        self.track(observed);
                    }
                }
                Ok(Event::InitDone) => {
                    let gone = self.store.lock().listed(scope.as_deref(), &listed);
                    gone.into_iter().for_each(|instance| self.changes.mark(instance));
                    listed.clear();
                }
                Ok(Event::Apply(pod)) if !is_finished(&pod) => {
                    if let Some(observed) = ObservedPod::of(&pod) {
                        self.track(observed);
                    }
                }
                Ok(Event::Apply(pod) | Event::Delete(pod)) => {
                    let gone = ObservedPod::of(&pod)
                        .and_then(|observed| self.store.lock().remove(&observed));
                    gone.into_iter().for_each(|instance| self.changes.mark(instance));
                }
                Err(error) => {
                    warn!(%error, "cannot watch server pods; retrying");
                    if is_denied(&error) {
                        self.store.lock().mark_listed(scope.as_deref());
                    }
                }
            }
            self.tracked.set(self.store.lock().len() as i64);
        }
    }

    /// Records the state of a pod, and starts to scrape it if it is new or its address changed.
    fn track(self: &Arc<Self>, observed: ObservedPod) {
        let key = observed.key();
        let offset = observed.offset(SCRAPE_INTERVAL);
        let instance = (observed.namespace.clone(), observed.instance.clone());
        let (is_news, task) = {
            let mut store = self.store.lock();
            (store.has_news(&observed), store.apply(observed, &self.stop))
        };
        if is_news {
            self.changes.mark(instance);
        }
        let Some((address, task)) = task else { return };
        let shared = self.clone();
        self.tracker.spawn(async move {
            let run = shared.scrape_until_stopped(&key, address, task.id, offset);
            let _ = task.stop.run_until_cancelled(run).await;
        });
    }

    async fn scrape_until_stopped(
        &self,
        key: &(String, String),
        address: SocketAddr,
        task: u64,
        offset: Duration,
    ) {
        let mut scraper = Scraper::new(address);
        // An offset after the first scrape spreads pods that were discovered together.
        let mut pause = Some(offset);
        loop {
            let sample = self.scrape(&key.0, &mut scraper).await;
            let (instance, pace) = self.store.lock().record(key, task, sample, Instant::now());
            if let Some(instance) = instance {
                self.changes.mark(instance);
            }
            tokio::time::sleep(pause.take().unwrap_or(pace)).await;
        }
    }

    async fn scrape(&self, namespace: &str, scraper: &mut Scraper) -> Option<Sample> {
        let _permit = self.permits.acquire(namespace).await;
        let (outcome, sample) = match tokio::time::timeout(SCRAPE_TIMEOUT, scraper.scrape()).await {
            Ok(Ok(sample)) => (&self.succeeded, Some(sample)),
            Ok(Err(error)) => {
                debug!(%error, address = %scraper.address(), "cannot scrape a pod");
                (&self.failed, None)
            }
            Err(_) => {
                scraper.close();
                (&self.timed_out, None)
            }
        };
        outcome.inc();
        sample
    }
}

/// Whether a pod has terminated but still exists, as an evicted one does.
fn is_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

/// Whether the cluster denied the list, rather than failed to answer.
fn is_denied(error: &watcher::Error) -> bool {
    let watcher::Error::InitialListFailed(kube::Error::Api(status)) = error else { return false };
    matches!(status.code, 403 | 404)
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
