//! The [`LiveNamespaces`]: namespaces of patterns that clients are in or ask for. Others take nothing.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rookery_policy::{Namespace, Namespaces};

use crate::hashing::HashMap;

/// Namespaces of patterns that one connection may be in.
pub const MAX_OF_SESSION: usize = 50;

/// What the protocol engine does about namespaces of patterns.
pub struct NamespaceHooks {
    /// Accepts clients in one from now on.
    pub open: Box<dyn Fn(&Namespace) + Send + Sync>,
    /// Forgets one that has no clients. Ends no [`NamespaceLease`].
    pub close: Box<dyn Fn(&Namespace) + Send + Sync>,
}

/// The namespaces of patterns that clients are in or ask for, on this instance.
pub struct LiveNamespaces {
    served: Arc<Namespaces>,
    hooks: OnceLock<NamespaceHooks>,
    live: Mutex<HashMap<Arc<str>, Live>>,
}

struct Live {
    namespace: Namespace,
    /// Its leases; at least one.
    leases: usize,
}

/// Keeps a namespace of a pattern while a client is in it or asks for it.
pub struct NamespaceLease {
    namespaces: Arc<LiveNamespaces>,
    namespace: Namespace,
}

/// Where a lease is kept until somebody takes it.
#[derive(Default)]
pub struct LeaseSlot(Mutex<Option<NamespaceLease>>);

impl LeaseSlot {
    /// Keeps a lease, in place of an earlier one.
    pub fn put(&self, lease: Option<NamespaceLease>) {
        let earlier = std::mem::replace(&mut *self.0.lock(), lease);
        drop(earlier);
    }

    /// The lease, which is not kept any more.
    pub fn take(&self) -> Option<NamespaceLease> {
        self.0.lock().take()
    }
}

/// There are as many as there may be.
#[derive(Debug, PartialEq, Eq)]
pub struct TooManyNamespaces;

impl LiveNamespaces {
    /// None of those that are served.
    pub fn new(served: Arc<Namespaces>) -> Arc<Self> {
        Arc::new(LiveNamespaces { served, hooks: OnceLock::new(), live: Mutex::default() })
    }

    /// Sets what is done with each; the first call counts.
    pub fn set_hooks(&self, hooks: NamespaceHooks) {
        // The engine is made once.
        let _ = self.hooks.set(hooks);
    }

    /// A lease of the namespace of this name, of which `most` may exist; `None` where it is of no
    /// pattern.
    ///
    /// # Errors
    /// There are `most`, and it is not among them.
    pub fn acquire(
        self: &Arc<Self>,
        name: &str,
        most: u32,
    ) -> Result<Option<NamespaceLease>, TooManyNamespaces> {
        if self.served.pattern_of(name).is_none() {
            return Ok(None);
        }
        let mut live = self.live.lock();
        let is_full = live.len() >= most as usize;
        let namespace = match live.get_mut(name) {
            Some(live) => {
                live.leases += 1;
                live.namespace.clone()
            }
            None if is_full => return Err(TooManyNamespaces),
            None => {
                let Some(namespace) = self.served.get(name) else { return Ok(None) };
                let entry = Live { namespace: namespace.clone(), leases: 1 };
                live.insert(namespace.name().clone(), entry);
                if let Some(hooks) = self.hooks.get() {
                    (hooks.open)(&namespace);
                }
                namespace
            }
        };
        Ok(Some(NamespaceLease { namespaces: self.clone(), namespace }))
    }

    /// Those that are served: by name, and by pattern.
    pub fn served(&self) -> &Arc<Namespaces> {
        &self.served
    }

    /// Their names.
    pub fn names(&self) -> Vec<Arc<str>> {
        self.live.lock().keys().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.live.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn release(&self, namespace: &Namespace) {
        // Held while the engine is told, so that nobody asks for it meanwhile.
        let mut all = self.live.lock();
        let Some(live) = all.get_mut(namespace.name()) else { return };
        live.leases -= 1;
        if live.leases == 0 {
            all.remove(namespace.name());
            if let Some(hooks) = self.hooks.get() {
                (hooks.close)(namespace);
            }
        }
    }
}

impl NamespaceLease {
    /// The namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}

impl Drop for NamespaceLease {
    fn drop(&mut self) {
        self.namespaces.release(&self.namespace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With what the engine was told, `+` for opened and `-` for closed.
    fn live() -> (Arc<LiveNamespaces>, Arc<Mutex<Vec<String>>>) {
        let served = Namespaces::compile(&["/", "/tenant-{id}"]).unwrap();
        let (live, told) =
            (LiveNamespaces::new(Arc::new(served)), Arc::<Mutex<Vec<String>>>::default());
        let tell = |sign: char| {
            let told = told.clone();
            Box::new(move |namespace: &Namespace| told.lock().push(format!("{sign}{namespace}")))
        };
        live.set_hooks(NamespaceHooks { open: tell('+'), close: tell('-') });
        (live, told)
    }

    #[test]
    fn a_namespace_exists_from_its_first_lease_to_its_last() {
        let (live, told) = live();
        let lease = || live.acquire("/tenant-7", 10).unwrap().unwrap();
        let (first, second) = (lease(), lease());
        assert_eq!(&**first.namespace().name(), "/tenant-7");
        drop(first);
        assert_eq!((live.len(), told.lock().join(" ")), (1, "+/tenant-7".to_owned()));
        drop(second);
        assert!(live.is_empty());
        drop(lease());
        assert_eq!(told.lock().join(" "), "+/tenant-7 -/tenant-7 +/tenant-7 -/tenant-7");
    }

    #[test]
    fn there_are_no_more_than_allowed_and_those_that_exist_stay_open_to_others() {
        let (live, _) = live();
        let held: Vec<_> =
            ["/tenant-1", "/tenant-2"].map(|name| live.acquire(name, 2).unwrap().unwrap()).into();
        assert_eq!(live.acquire("/tenant-3", 2).err(), Some(TooManyNamespaces));
        assert!(live.acquire("/tenant-2", 2).unwrap().is_some());
        drop(held);
        assert!(live.acquire("/tenant-3", 2).unwrap().is_some());
    }

    #[test]
    fn what_is_named_or_matches_no_pattern_has_no_lease() {
        let (live, told) = live();
        for name in ["/", "/other", "/tenant-7-8"] {
            assert!(live.acquire(name, 0).unwrap().is_none(), "{name}");
        }
        assert!(live.is_empty() && told.lock().is_empty());
    }
}
