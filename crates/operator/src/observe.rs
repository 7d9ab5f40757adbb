//! Watch caches of the objects that the operator created.
//!
//! Needs the cluster. Reads come from memory and lag slightly behind writes.

use std::sync::Arc;

use futures_util::stream::{BoxStream, StreamExt as _};
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};

use super::names;

/// The namespaces that a watch covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole cluster.
    All,
    /// One namespace.
    Namespace(String),
}

impl Scope {
    /// One scope per namespace; [`Scope::All`] if `namespaces` is empty.
    pub fn of(namespaces: &[String]) -> Vec<Scope> {
        match namespaces {
            [] => vec![Scope::All],
            named => named.iter().cloned().map(Scope::Namespace).collect(),
        }
    }

    /// The API of `kind` in this scope.
    pub fn api(&self, client: Client, kind: &ApiResource) -> Api<DynamicObject> {
        match self {
            Scope::All => Api::all_with(client, kind),
            Scope::Namespace(name) => Api::namespaced_with(client, name, kind),
        }
    }
}

/// The objects in one scope that carry the label [`names::MANAGED_BY`]. Cloning is shallow.
#[derive(Clone, Default)]
pub struct OwnedObjects {
    kinds: Arc<Vec<(ApiResource, Store<DynamicObject>)>>,
}

/// A kind and a stream of its changed and deleted objects.
pub type Changes = (ApiResource, BoxStream<'static, Result<DynamicObject, watcher::Error>>);

impl OwnedObjects {
    /// Watches `kinds` in `scope`. The caches are filled as the streams are polled.
    pub fn watch(
        client: &Client,
        scope: &Scope,
        kinds: Vec<ApiResource>,
    ) -> (OwnedObjects, Vec<Changes>) {
        let label = format!("{}={}", names::MANAGED_BY, names::MANAGER);
        let mut stores = Vec::new();
        let mut changes = Vec::new();
        for kind in kinds {
            let writer = Writer::new(kind.clone());
            stores.push((kind.clone(), writer.as_reader()));
            let api = scope.api(client.clone(), &kind);
            let stream = watcher(api, watcher::Config::default().labels(&label))
                .default_backoff()
                .modify(|object| object.managed_fields_mut().clear())
                .reflect(writer)
                .touched_objects()
                .boxed();
            changes.push((kind, stream));
        }
        (OwnedObjects { kinds: Arc::new(stores) }, changes)
    }

    /// Waits until every kind has been listed once.
    ///
    /// # Errors
    /// If a stream that fills a cache was dropped.
    pub async fn ready(&self) -> anyhow::Result<()> {
        for (kind, store) in self.kinds.iter() {
            let ready = store.wait_until_ready().await;
            ready.map_err(|_| anyhow::anyhow!("the watch of {} has ended", kind.kind))?;
        }
        Ok(())
    }

    /// The object of this kind and name, if it is cached.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Arc<DynamicObject>> {
        let (kind, store) = self.kinds.iter().find(|(resource, _)| resource.kind == kind)?;
        store.get(&ObjectRef::new_with(name, kind.clone()).within(namespace))
    }

    /// The least number of pods that the autoscaler of this name keeps, if it is cached.
    pub fn min_replicas(&self, namespace: &str, name: &str) -> Option<i32> {
        let of = |kind, field| {
            let autoscaler = self.get(kind, namespace, name)?;
            autoscaler.data.pointer(field)?.as_i64()?.try_into().ok()
        };
        of("HorizontalPodAutoscaler", "/spec/minReplicas")
            .or_else(|| of("ScaledObject", "/spec/minReplicaCount"))
    }

    /// All objects that the resource with this `uid` owns, with their kinds.
    pub fn of(&self, namespace: &str, uid: &str) -> Vec<(ApiResource, Arc<DynamicObject>)> {
        let owned = |object: &DynamicObject| {
            object.namespace().as_deref() == Some(namespace)
                && object.owner_references().iter().any(|owner| owner.uid == uid)
        };
        let all = self.kinds.iter().flat_map(|(kind, store)| {
            store.state_filter(owned).into_iter().map(move |object| (kind.clone(), object))
        });
        all.collect()
    }
}
