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
const DURATION: Duration = Duration::from_secs(15);

/// When a leader that could not renew stops to lead: well before another may begin.
const RENEW_WITHIN: Duration = Duration::from_secs(10);

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(4);

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
pub fn stand(
    candidate: Candidate,
    client: Client,
    tracker: &TaskTracker,
    stop: CancellationToken,
) -> watch::Receiver<bool> {
    let (leads, receiver) = watch::channel(false);
    let api = Api::namespaced(client, &candidate.namespace);
    tracker.spawn(async move {
        let mut term = Term { candidate, api, seen: None, renewed: None };
        loop {
            term.look().await;
            leads
                .send_if_modified(|before| std::mem::replace(before, term.leads()) != term.leads());
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        leads.send_replace(false);
        term.resign().await;
    });
    receiver
}

struct Term {
    candidate: Candidate,
    api: Api<Lease>,
    /// The Lease's last version, and when it was first seen.
    seen: Option<(String, Instant)>,
    /// When this process last asked for a renewal that was granted.
    renewed: Option<Instant>,
}

impl Term {
    fn leads(&self) -> bool {
        self.renewed.is_some_and(|at| at.elapsed() < RENEW_WITHIN)
    }

    async fn look(&mut self) {
        let led = self.leads();
        let asked = Instant::now();
        match tokio::time::timeout(REQUEST, self.stand()).await {
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
    async fn stand(&mut self) -> kube::Result<bool> {
        let name = self.candidate.name.clone();
        let found = self.api.get_opt(&name).await?;
        let now = Timestamp::now();
        let written = match &found {
            None => self.api.create(&PostParams::default(), &self.candidate.first(now)).await,
            Some(lease) => {
                self.remember(lease);
                match decide(lease, &self.candidate.identity, self.unchanged_for()) {
                    Decision::Wait => return Ok(false),
                    Decision::Renew => {
                        let renewed = renew(lease, now);
                        self.api.replace(&name, &PostParams::default(), &renewed).await
                    }
                    Decision::TakeOver => {
                        let taken = take_over(lease, &self.candidate, now);
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
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != version) {
            self.seen = Some((version, Instant::now()));
        }
    }

    fn unchanged_for(&self) -> Duration {
        self.seen.as_ref().map_or(Duration::ZERO, |(_, at)| at.elapsed())
    }

    /// Gives the Lease back, so that the next leader need not wait for its end.
    async fn resign(&mut self) {
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
        match tokio::time::timeout(REQUEST, resigned).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the Lease could not be given back"),
            Err(_) => warn!("the Lease could not be given back in time"),
        }
    }
}

impl Candidate {
    fn first(&self, now: Timestamp) -> Lease {
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                owner_references: self.owner.clone().map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(self.term(now, 0)),
        }
    }

    fn term(&self, now: Timestamp, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
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
    TakeOver,
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
        "" => Decision::TakeOver,
        _ if unchanged_for > valid_for => Decision::TakeOver,
        _ => Decision::Wait,
    }
}

fn renew(lease: &Lease, now: Timestamp) -> Lease {
    let mut lease = lease.clone();
    lease.spec.get_or_insert_default().renew_time = Some(MicroTime(now));
    lease
}

fn take_over(lease: &Lease, candidate: &Candidate, now: Timestamp) -> Lease {
    let mut lease = lease.clone();
    let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0);
    lease.spec = Some(candidate.term(now, transitions.saturating_add(1)));
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
        let lease = candidate("a").first(Timestamp::UNIX_EPOCH);
        assert_eq!(decide(&lease, "a", Duration::from_secs(99)), Decision::Renew);
        assert_eq!(decide(&lease, "b", Duration::ZERO), Decision::Wait);
        assert_eq!(decide(&lease, "b", DURATION), Decision::Wait);
        let long = DURATION + Duration::from_millis(1);
        assert_eq!(decide(&lease, "b", long), Decision::TakeOver);
    }

    #[test]
    fn a_lease_given_back_is_anybodys_at_once() {
        let mut lease = candidate("a").first(Timestamp::UNIX_EPOCH);
        lease.spec.as_mut().unwrap().holder_identity = None;
        assert_eq!(decide(&lease, "b", Duration::ZERO), Decision::TakeOver);
        lease.spec = None;
        assert_eq!(decide(&lease, "b", Duration::ZERO), Decision::TakeOver);
    }

    #[test]
    fn a_take_over_is_counted_and_keeps_the_version_it_is_about() {
        let mut lease = candidate("a").first(Timestamp::UNIX_EPOCH);
        lease.metadata.resource_version = Some("7".to_owned());
        let taken = take_over(&lease, &candidate("b"), Timestamp::UNIX_EPOCH);
        let spec = taken.spec.unwrap();
        assert_eq!(spec.holder_identity.as_deref(), Some("b"));
        assert_eq!(spec.lease_transitions, Some(1));
        assert_eq!(taken.metadata.resource_version.as_deref(), Some("7"));
    }

    #[test]
    fn a_leader_stops_to_lead_before_another_may_begin() {
        assert!(RENEW_WITHIN + LOOK_EVERY < DURATION);
        assert!(REQUEST < RENEW_WITHIN);
    }
}
