//! Leader election by a Lease (Kubernetes API reference, coordination.k8s.io/v1): of several
//! operators one reconciles.
//!
//! A Lease is judged by when this process saw it change, never by its own times: the clocks of
//! two nodes may differ.

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

/// How long a leader that does not renew is still the leader.
const LEASE_DURATION: Duration = Duration::from_secs(15);

/// When a leader that could not renew stops to lead: well before another may begin.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);

/// Time between two looks.
const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// Who stands for election, and where.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The Lease's namespace.
    pub namespace: String,
    /// The Lease's name.
    pub name: String,
    /// This process among all: the pod's name.
    pub identity: String,
    /// What the Lease goes with, when it is deleted.
    pub owner: Option<OwnerReference>,
}

/// Stands for election until `stop`, then gives the Lease back. The receiver says whether this
/// process leads; it is false when the task has ended.
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
    /// The Lease's last version, and when it was first seen.
    observed: Option<(String, Instant)>,
    /// When this process last asked for a renewal that was granted.
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
            Ok(Err(error)) => warn!(%error, "the Lease cannot be read or written"),
            Err(_) => warn!("the cluster does not answer about the Lease"),
        }
        match (led, self.leads()) {
            (false, true) => info!(identity = self.candidate.identity, "this operator leads"),
            (true, false) => {
                info!(identity = self.candidate.identity, "this operator leads no more")
            }
            _ => {}
        }
    }

    /// Creates, renews or takes over the Lease where that is right; whether it is ours now.
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
                        let taken = acquired_lease(lease, &self.candidate, now);
                        self.api.replace(&name, &PostParams::default(), &taken).await
                    }
                }
            }
        };
        match written {
            Ok(lease) => {
                self.remember(&lease);
                Ok(true)
            }
            // Somebody else was faster.
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

    /// Gives the Lease back, so that the next leader need not wait for its end.
    async fn release(&mut self) {
        if !self.leads() {
            return;
        }
        let name = self.candidate.name.clone();
        let resigned = async {
            let mut lease = self.api.get(&name).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(&self.candidate.identity) {
                spec.holder_identity = None;
                self.api.replace(&name, &PostParams::default(), &lease).await?;
            }
            Ok::<_, kube::Error>(())
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, resigned).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the Lease could not be given back"),
            Err(_) => warn!("the Lease could not be given back in time"),
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

/// What `identity` may do about a Lease that nobody has changed for so long.
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
    fn the_holder_renews_and_others_wait_until_it_has_been_silent_for_long() {
        let lease = candidate("a").new_lease(Timestamp::UNIX_EPOCH);
        assert_eq!(decide(&lease, "a", Duration::from_secs(99)), Decision::Renew);
        assert_eq!(decide(&lease, "b", Duration::ZERO), Decision::Wait);
        assert_eq!(decide(&lease, "b", LEASE_DURATION), Decision::Wait);
        let long = LEASE_DURATION + Duration::from_millis(1);
        assert_eq!(decide(&lease, "b", long), Decision::Acquire);
    }

    #[test]
    fn a_lease_given_back_is_anybodys_at_once() {
        let mut lease = candidate("a").new_lease(Timestamp::UNIX_EPOCH);
        lease.spec.as_mut().unwrap().holder_identity = None;
        assert_eq!(decide(&lease, "b", Duration::ZERO), Decision::Acquire);
        lease.spec = None;
        assert_eq!(decide(&lease, "b", Duration::ZERO), Decision::Acquire);
    }

    #[test]
    fn a_take_over_is_counted_and_keeps_the_version_it_is_about() {
        let mut lease = candidate("a").new_lease(Timestamp::UNIX_EPOCH);
        lease.metadata.resource_version = Some("7".to_owned());
        let taken = acquired_lease(&lease, &candidate("b"), Timestamp::UNIX_EPOCH);
        let spec = taken.spec.unwrap();
        assert_eq!(spec.holder_identity.as_deref(), Some("b"));
        assert_eq!(spec.lease_transitions, Some(1));
        assert_eq!(taken.metadata.resource_version.as_deref(), Some("7"));
    }

    #[test]
    fn a_leader_stops_to_lead_before_another_may_begin() {
        assert!(RENEW_DEADLINE + RETRY_PERIOD < LEASE_DURATION);
        assert!(REQUEST_TIMEOUT < RENEW_DEADLINE);
    }
}
