//! What is known of each pod. No clock and no network: both are handed in.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::core::{Selector, SelectorExt as _};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::changes::Instance;
use super::observed::{Facts, Key};
use super::sample::Sample;
use super::server_pod::PodCount;

/// How often a pod is read whose count changes, and one that could not be read.
pub const READ_EVERY: Duration = Duration::from_secs(2);

/// How often a pod is read whose count has long been the same. Two of these and a read's
/// deadline are within [`STALE_AFTER`].
pub const READ_QUIET_EVERY: Duration = Duration::from_secs(4);

/// Age from which a count is not served.
pub const STALE_AFTER: Duration = Duration::from_secs(10);

/// Reads with the same answer after which a pod is quiet.
const QUIET_AFTER: u32 = 5;

/// The pods, by namespace and name.
pub struct Book {
    pods: BTreeMap<Key, Entry>,
    /// Watches that have not listed their scope yet.
    unlisted: usize,
    listed: HashSet<Option<String>>,
    synced: bool,
    readings: u64,
}

struct Entry {
    facts: Facts,
    reading: Option<(u64, DropGuard)>,
    tried: bool,
    last: Option<Last>,
}

struct Last {
    sample: Sample,
    at: Instant,
    wall: Timestamp,
    same: u32,
    told_stale: bool,
}

/// A task that reads a pod: it runs until `stop`.
pub struct Reading {
    /// Tells its answers from those of an earlier task.
    pub id: u64,
    /// Cancelled when the pod is gone or has moved.
    pub stop: CancellationToken,
}

impl Book {
    /// An empty one, in which `scopes` watches will write.
    pub fn new(scopes: usize) -> Self {
        Book {
            pods: BTreeMap::new(),
            unlisted: scopes,
            listed: HashSet::new(),
            synced: scopes == 0,
            readings: 0,
        }
    }

    /// Takes down what a pod is now. Gives the reading to begin, if it is a new pod, or one that
    /// has moved.
    pub fn apply(
        &mut self,
        facts: Facts,
        stop: &CancellationToken,
    ) -> Option<(SocketAddr, Reading)> {
        let entry = self.pods.entry(facts.key());
        let entry = entry.or_insert_with(|| Entry {
            facts: Facts { address: None, ..facts.clone() },
            reading: None,
            tried: false,
            last: None,
        });
        if entry.facts.uid != facts.uid {
            *entry = Entry { facts: facts.clone(), reading: None, tried: false, last: None };
        }
        let same = entry.reading.is_some() && entry.facts.address == facts.address;
        entry.facts = facts;
        if same {
            return None;
        }
        entry.reading = None;
        let address = entry.facts.address?;
        self.readings += 1;
        let stop = stop.child_token();
        entry.reading = Some((self.readings, stop.clone().drop_guard()));
        Some((address, Reading { id: self.readings, stop }))
    }

    /// Forgets a pod. Gives its instance, if a count went with it.
    pub fn remove(&mut self, facts: &Facts) -> Option<Instance> {
        let key = facts.key();
        if self.pods.get(&key).is_none_or(|entry| entry.facts.uid != facts.uid) {
            return None;
        }
        let entry = self.pods.remove(&key)?;
        entry.last.map(|_| (entry.facts.namespace, entry.facts.instance))
    }

    /// Forgets the pods of a scope (none: all namespaces) that its list does not have. Gives the
    /// instances whose counts went.
    pub fn listed(&mut self, scope: Option<&str>, keys: &HashSet<Key>) -> Vec<Instance> {
        let mut gone = Vec::new();
        self.pods.retain(|key, entry| {
            let stays = scope.is_some_and(|scope| scope != key.0) || keys.contains(key);
            if !stays && entry.last.is_some() {
                gone.push((entry.facts.namespace.clone(), entry.facts.instance.clone()));
            }
            stays
        });
        self.answered(scope);
        gone
    }

    /// A scope was answered about, if only by a refusal: one whose namespace is gone, and with it
    /// the right to look, must not keep this replica from being ready for the others.
    pub fn answered(&mut self, scope: Option<&str>) {
        if self.listed.insert(scope.map(str::to_owned)) {
            self.unlisted = self.unlisted.saturating_sub(1);
        }
    }

    /// Takes down the answer of a reading, none if it failed. Gives the instance, if that changed
    /// what is served, and the time until the next read.
    pub fn note(
        &mut self,
        key: &Key,
        reading: u64,
        sample: Option<Sample>,
        now: Instant,
    ) -> (Option<Instance>, Duration) {
        let Some(entry) = self.pods.get_mut(key) else { return (None, READ_EVERY) };
        if entry.reading.as_ref().is_none_or(|(id, _)| *id != reading) {
            return (None, READ_EVERY);
        }
        entry.tried = true;
        let (changed, pace) = match sample {
            Some(sample) => entry.read(sample, now),
            None => (entry.went_stale(now), READ_EVERY),
        };
        let instance =
            changed.then(|| (entry.facts.namespace.clone(), entry.facts.instance.clone()));
        (instance, pace)
    }

    /// See [`super::Pods::is_synced`].
    pub fn is_synced(&mut self) -> bool {
        self.synced = self.synced
            || self.unlisted == 0
                && self.pods.values().all(|entry| entry.tried || entry.facts.address.is_none());
        self.synced
    }

    /// How many pods there are.
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// See [`super::Pods::of`].
    pub fn of(&self, namespace: &str, instance: &str, now: Instant) -> Vec<PodCount> {
        let entries = self.within(namespace).filter(|entry| entry.facts.instance == instance);
        entries.map(|entry| entry.count(now)).collect()
    }

    /// See [`super::Pods::matching`].
    pub fn matching(&self, namespace: &str, selector: &Selector, now: Instant) -> Vec<PodCount> {
        let entries = self.within(namespace);
        let entries = entries.filter(|entry| selector.matches(&entry.facts.labels));
        entries.map(|entry| entry.count(now)).collect()
    }

    /// See [`super::Pods::all`].
    pub fn all(&self, now: Instant) -> Vec<PodCount> {
        self.pods.values().map(|entry| entry.count(now)).collect()
    }

    fn within(&self, namespace: &str) -> impl Iterator<Item = &Entry> {
        let from = (namespace.to_owned(), String::new());
        self.pods
            .range(from..)
            .take_while(move |(key, _)| key.0 == namespace)
            .map(|(_, entry)| entry)
    }
}

impl Entry {
    fn read(&mut self, sample: Sample, now: Instant) -> (bool, Duration) {
        let same = match &self.last {
            Some(last) if last.sample == sample && !last.told_stale => last.same + 1,
            _ => 0,
        };
        let wall = Timestamp::now();
        self.last = Some(Last { sample, at: now, wall, same, told_stale: false });
        (same == 0, if same < QUIET_AFTER { READ_EVERY } else { READ_QUIET_EVERY })
    }

    fn went_stale(&mut self, now: Instant) -> bool {
        let Some(last) = &mut self.last else { return false };
        let stale = now.duration_since(last.at) >= STALE_AFTER && !last.told_stale;
        last.told_stale |= stale;
        stale
    }

    fn count(&self, now: Instant) -> PodCount {
        let fresh = self.last.as_ref().filter(|last| now.duration_since(last.at) < STALE_AFTER);
        PodCount {
            namespace: self.facts.namespace.clone(),
            name: self.facts.name.clone(),
            instance: self.facts.instance.clone(),
            ready: self.facts.ready,
            terminating: self.facts.terminating,
            connections: fresh.map(|last| last.sample.connections),
            redis_up: fresh.and_then(|last| last.sample.redis_up),
            read_at: fresh.map(|last| last.wall),
            deletion_cost: self.facts.deletion_cost,
        }
    }
}
