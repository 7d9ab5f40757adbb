//! The servers' pods and how many connections each holds, read from the pods themselves.

mod changes;
mod observed;
mod sample;
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
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use self::changes::Broadcaster;
use self::observed::ObservedPod;
use self::sample::Sample;
use self::scraper::Scraper;
pub use self::server_pod::ServerPod;
pub use self::store::STALE_AFTER;
use self::store::{PodStore, SCRAPE_INTERVAL};
use super::names;
use super::observe::Scope;

/// Longest time that a read may take.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads at once. Further ones wait for a place; each place is free again within a deadline.
const MAX_CONCURRENT_SCRAPES: usize = 32;

/// The servers' pods, followed by watches and read every few seconds. Cloning is shallow.
#[derive(Clone)]
pub struct Pods {
    shared: Arc<Shared>,
}

struct Shared {
    store: Mutex<PodStore>,
    changes: Broadcaster,
    permits: Semaphore,
    read: IntCounter,
    failed: IntCounter,
    timed_out: IntCounter,
    tracked: IntGauge,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Pods {
    /// Follows the servers of `scopes` and reads them, until `stop`. A watch that fails is logged
    /// and begun again after a growing pause; what was known stays meanwhile.
    ///
    /// # Errors
    /// When `registry` has metrics of these names already.
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
            Opts::new("rookery_operator_scrapes_total", "Reads of servers' connection counts"),
            &["outcome"],
        )?;
        let tracked = IntGauge::new("rookery_operator_pods", "Servers' pods that are followed")?;
        registry.register(Box::new(scrapes.clone()))?;
        registry.register(Box::new(tracked.clone()))?;
        let shared = Shared {
            store: Mutex::new(PodStore::new(scopes)),
            changes: Broadcaster::default(),
            permits: Semaphore::new(MAX_CONCURRENT_SCRAPES),
            read: scrapes.with_label_values(&["ok"]),
            failed: scrapes.with_label_values(&["error"]),
            timed_out: scrapes.with_label_values(&["timeout"]),
            tracked,
            tracker: tracker.clone(),
            stop,
        };
        Ok(Pods { shared: Arc::new(shared) })
    }

    /// The pods of the `Rookery` called `name`, in the order of their names.
    pub fn of(&self, namespace: &str, name: &str) -> Vec<ServerPod> {
        self.shared.store.lock().of(namespace, name, Instant::now())
    }

    /// The servers' pods of a namespace whose labels `selector` matches, in the order of their
    /// names.
    pub fn matching(&self, namespace: &str, selector: &Selector) -> Vec<ServerPod> {
        self.shared.store.lock().matching(namespace, selector, Instant::now())
    }

    /// Every server's pod, in the order of namespaces and names.
    pub fn all(&self) -> Vec<ServerPod> {
        self.shared.store.lock().all(Instant::now())
    }

    /// Whether every scope has been listed and every pod of those lists has been tried once.
    /// Once true, it stays so.
    pub fn is_synced(&self) -> bool {
        self.shared.store.lock().is_synced()
    }

    /// Instances, as (namespace, name), one of whose pods has another count or another state of
    /// Redis than before, or none any more. The first change is told at once, and an instance at
    /// most once in [`changes::NOTIFY_INTERVAL`]; what changes in between is one item. So a slow reader
    /// has at most one item waiting for each instance. Each call gives a stream of its own, which
    /// never ends.
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
                    warn!(%error, "cannot watch the servers' pods; trying again");
                    if is_denied(&error) {
                        self.store.lock().mark_listed(scope.as_deref());
                    }
                }
            }
            self.tracked.set(self.store.lock().len() as i64);
        }
    }

    /// Takes down what a pod is now, and reads it from now on if it can be read.
    fn track(self: &Arc<Self>, observed: ObservedPod) {
        let key = observed.key();
        let offset = observed.offset(SCRAPE_INTERVAL);
        let Some((address, task)) = self.store.lock().apply(observed, &self.stop) else { return };
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
        // After the first read, so that pods which were found together are not read together.
        let mut pause = Some(offset);
        loop {
            let sample = self.read(&mut scraper).await;
            let (instance, pace) = self.store.lock().record(key, task, sample, Instant::now());
            if let Some(instance) = instance {
                self.changes.mark(instance);
            }
            tokio::time::sleep(pause.take().unwrap_or(pace)).await;
        }
    }

    async fn read(&self, scraper: &mut Scraper) -> Option<Sample> {
        let _permit = self.permits.acquire().await.ok()?;
        let (outcome, sample) = match tokio::time::timeout(SCRAPE_TIMEOUT, scraper.read()).await {
            Ok(Ok(sample)) => (&self.read, Some(sample)),
            Ok(Err(error)) => {
                debug!(%error, address = %scraper.address(), "cannot read a pod's connections");
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

/// Whether a pod serves nobody any more, but is kept to be looked at: one that was evicted.
fn is_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

/// Whether the cluster answers, and does not let this operator look.
fn is_denied(error: &watcher::Error) -> bool {
    let watcher::Error::InitialListFailed(kube::Error::Api(status)) = error else { return false };
    matches!(status.code, 403 | 404)
}

#[cfg(test)]
mod tests;
