//! Leader election with a Lease (Kubernetes API reference, coordination.k8s.io/v1).
//!
//! A Lease expires by the time since this process last saw it change, never by the times written in
//! it, because the clocks of two nodes may differ.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt as _};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// Time without a renewal after which others may acquire the Lease.
const LEASE_DURATION: Duration = Duration::from_secs(15);

/// Time without a successful renewal after which the leader stops leading. Shorter than
/// [`LEASE_DURATION`], so that two processes never lead at once.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);

/// Interval between attempts to acquire or renew.
const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// Deadline of one attempt.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// A participant in the election.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Identity of this process, unique among the candidates: the name of its pod.
    pub identity: String,
    /// Owner of the Lease, whose deletion deletes it too; `None` leaves it without one.
    pub owner: Option<OwnerReference>,
}

/// Takes part in the election until `stop` is cancelled, then releases the Lease. The receiver
/// holds whether this process leads; it is false once the task has ended.
pub fn campaign(
    candidate: Candidate,
    client: Client,
    tracker: &TaskTracker,
    stop: CancellationToken,
) -> watch::Receiver<bool> {
    let (leads, receiver) = watch::channel(false);
    let api = Api::namespaced(client, &candidate.namespace);
    tracker.spawn(async move {
        let mut elector = Elector { candidate, api, observed: None, renewed: None };
        loop {
            elector.renew_leadership().await;
            leads.send_if_modified(|before| {
                std::mem::replace(before, elector.leads()) != elector.leads()
            });
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(RETRY_PERIOD) => {}
            }
        }
        leads.send_replace(false);
        elector.release().await;
    });
    receiver
}

struct Elector {
    candidate: Candidate,
    api: Api<Lease>,
    /// Last seen resource version of the Lease, and when it was first seen.
    observed: Option<(String, Instant)>,
    /// When the last successful acquisition or renewal was requested.
    renewed: Option<Instant>,
}

impl Elector {
    fn leads(&self) -> bool {
        self.renewed.is_some_and(|at| at.elapsed() < RENEW_DEADLINE)
    }

    async fn renew_leadership(&mut self) {
        let led = self.leads();
        let asked = Instant::now();
        match tokio::time::timeout(REQUEST_TIMEOUT, self.try_acquire_or_renew()).await {
            Ok(Ok(true)) => self.renewed = Some(asked),
            Ok(Ok(false)) => self.renewed = None,
            Ok(Err(error)) => warn!(%error, "cannot acquire or renew the Lease"),
            Err(_) => warn!("timed out acquiring or renewing the Lease"),
        }
        match (led, self.leads()) {
            (false, true) => info!(identity = self.candidate.identity, "started leading"),
            (true, false) => {
                info!(identity = self.candidate.identity, "stopped leading")
            }
            _ => {}
        }
    }

    /// Creates, renews or takes over the Lease if allowed. Returns whether this process now holds
    /// it.
    async fn try_acquire_or_renew(&mut self) -> kube::Result<bool> {
        let name = self.candidate.name.clone();
        let found = self.api.get_opt(&name).await?;
        let now = Timestamp::now();
        let written = match &found {
            None => self.api.create(&PostParams::default(), &self.candidate.new_lease(now)).await,
            Some(lease) => {
                self.remember(lease);
                match decide(lease, &self.candidate.identity, self.unchanged_for()) {
                    Decision::Wait => return Ok(false),
                    Decision::Renew => {
                        let renewed = renewed_lease(lease, now);
                        self.api.replace(&name, &PostParams::default(), &renewed).await
                    }
                    Decision::Acquire => {
                        let acquired = acquired_lease(lease, &self.candidate, now);
                        self.api.replace(&name, &PostParams::default(), &acquired).await
                    }
                }
            }
        };
        match written {
            Ok(lease) => {
                self.remember(&lease);
                Ok(true)
            }
            // Another candidate wrote it first.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn remember(&mut self, lease: &Lease) {
        let version = lease.resource_version().unwrap_or_default();
        if self.observed.as_ref().is_none_or(|(observed, _)| *observed != version) {
            self.observed = Some((version, Instant::now()));
        }
    }

    fn unchanged_for(&self) -> Duration {
        self.observed.as_ref().map_or(Duration::ZERO, |(_, at)| at.elapsed())
    }

    /// Releases the Lease, so that the next leader need not wait for it to expire.
    async fn release(&mut self) {
        if !self.leads() {
            return;
        }
        let name = self.candidate.name.clone();
        let released = async {
            let mut lease = self.api.get(&name).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(&self.candidate.identity) {
                spec.holder_identity = None;
                self.api.replace(&name, &PostParams::default(), &lease).await?;
            }
            Ok::<_, kube::Error>(())
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, released).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "cannot release the Lease"),
            Err(_) => warn!("timed out releasing the Lease"),
        }
    }
}

impl Candidate {
    fn new_lease(&self, now: Timestamp) -> Lease {
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                owner_references: self.owner.clone().map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(self.spec(now, 0)),
        }
    }

    fn spec(&self, now: Timestamp, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            acquire_time: Some(MicroTime(now)),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Renew,
    Acquire,
    Wait,
}

/// What `identity` may do with a Lease that has not changed for `unchanged_for`.
fn decide(lease: &Lease, identity: &str, unchanged_for: Duration) -> Decision {
    let spec = lease.spec.as_ref();
    let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
    let valid_for = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    match holder {
        holder if holder == identity => Decision::Renew,
        "" => Decision::Acquire,
        _ if unchanged_for > valid_for => Decision::Acquire,
        _ => Decision::Wait,
    }
}

fn renewed_lease(lease: &Lease, now: Timestamp) -> Lease {
    let mut lease = lease.clone();
    lease.spec.get_or_insert_default().renew_time = Some(MicroTime(now));
    lease
}

fn acquired_lease(lease: &Lease, candidate: &Candidate, now: Timestamp) -> Lease {
    let mut lease = lease.clone();
    let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0);
    lease.spec = Some(candidate.spec(now, transitions.saturating_add(1)));
    lease
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(identity: &str) -> Candidate {
        Candidate {
            namespace: "rookery".to_owned(),
            name: "rookery-operator".to_owned(),
            identity: identity.to_owned(),
            owner: None,
        }
    }

    #[test]
    fn only_the_holder_renews_and_others_acquire_after_the_lease_duration() {
        let lease = candidate("a").new_lease(Timestamp::UNIX_EPOCH);
        assert_eq!(decide(&lease, "a", Duration::from_secs(99)), Decision::Renew);
        assert_eq!(decide(&lease, "b", Duration::ZERO), Decision::Wait);
        assert_eq!(decide(&lease, "b", LEASE_DURATION), Decision::Wait);
        let long = LEASE_DURATION + Duration::from_millis(1);
        assert_eq!(decide(&lease, "b", long), Decision::Acquire);
    }

    #[test]
    fn a_released_lease_can_be_acquired_at_once() {
        let mut lease = candidate("a").new_lease(Timestamp::UNIX_EPOCH);
        lease.spec.as_mut().unwrap().holder_identity = None;
        assert_eq!(decide(&lease, "b", Duration::ZERO), Decision::Acquire);
        lease.spec = None;
        assert_eq!(decide(&lease, "b", Duration::ZERO), Decision::Acquire);
    }

    #[test]
    fn acquiring_counts_a_transition_and_keeps_the_resource_version() {
        let mut lease = candidate("a").new_lease(Timestamp::UNIX_EPOCH);
        lease.metadata.resource_version = Some("7".to_owned());
        let acquired = acquired_lease(&lease, &candidate("b"), Timestamp::UNIX_EPOCH);
        let spec = acquired.spec.unwrap();
        assert_eq!(spec.holder_identity.as_deref(), Some("b"));
        assert_eq!(spec.lease_transitions, Some(1));
        assert_eq!(acquired.metadata.resource_version.as_deref(), Some("7"));
    }

    #[test]
    fn a_leader_stops_leading_before_its_lease_can_be_acquired() {
        assert!(RENEW_DEADLINE + RETRY_PERIOD < LEASE_DURATION);
        assert!(REQUEST_TIMEOUT < RENEW_DEADLINE);
    }
}
