//! Maintains the APIService that routes the metrics group to this operator. The leader creates it,
//! yields it to any other owner, and never leaves it behind: an APIService without a backend blocks
//! the deletion of every namespace.

mod object;
mod ownership;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::object::{NAME, desired};
use self::ownership::{Action, next_action};
use super::certificates::ServingCertificate;

use super::installation::{Installation, installation};
use super::object_names::ObjectNames;
use super::responses::GROUP;
use super::serving::Serving;
use super::tls::Tls;
use crate::names;

/// Interval between checks, besides one after every change.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Delay before a failed check is retried.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// How often a removal is tried again because the APIService changed meanwhile.
const MAX_CONFLICTS: u32 = 5;

/// Deadline of one check.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Maintains the APIService until `stop` is cancelled, and publishes its state in `serving`. Run it
/// on the leader only. It is created only once this replica can serve requests with `tls`.
pub async fn run(
    client: Client,
    names: Arc<ObjectNames>,
    certificate: watch::Receiver<Option<Arc<ServingCertificate>>>,
    tls: watch::Receiver<Option<Tls>>,
    serving: watch::Sender<Serving>,
    stop: CancellationToken,
) {
    let controller =
        ApiServiceController { client, names, serving, seen: BTreeMap::new(), listed: false };
    let _ = stop.run_until_cancelled(controller.run(certificate, tls)).await;
}

/// Deletes the APIService if it is this operator's. If another server has taken it over, removes
/// what this operator wrote into its metadata instead.
///
/// # Errors
/// If the request is denied, the cluster cannot be reached, or the APIService changes again and
/// again meanwhile.
pub async fn remove(client: &Client, names: &ObjectNames) -> kube::Result<()> {
    let api: Api<APIService> = Api::all(client.clone());
    let mut conflicts = 0;
    loop {
        let removed = match api.get_opt(NAME).await? {
            Some(found) if ownership::is_ours(&found, names) => delete(&api, &found).await,
            Some(found) if ownership::is_taken(&found, names) => release(&api, &found, names).await,
            _ => return Ok(()),
        };
        match removed {
            Err(error) if is_conflict(&error) && conflicts < MAX_CONFLICTS => conflicts += 1,
            removed => return removed,
        }
    }
}

/// Deletes the APIService as it was seen: not one that replaced it, nor after another server has
/// taken it over.
async fn delete(api: &Api<APIService>, seen: &APIService) -> kube::Result<()> {
    let exactly = Preconditions {
        uid: seen.metadata.uid.clone(),
        resource_version: seen.metadata.resource_version.clone(),
    };
    let params = DeleteParams::background().preconditions(exactly);
    match api.delete(NAME, &params).await {
        Ok(_) => {
            info!(name = NAME, "removed the APIService");
            Ok(())
        }
        // Already deleted.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes what this operator wrote into the metadata of an APIService that another server has
/// taken over, so that uninstalling this operator does not delete it.
async fn release(
    api: &Api<APIService>,
    taken: &APIService,
    names: &ObjectNames,
) -> kube::Result<()> {
    let patch = Patch::Merge(ownership::release_patch(taken, names));
    let params = PatchParams { field_manager: Some(names::MANAGER.into()), ..Default::default() };
    match api.patch(&taken.name_any(), &params, &patch).await {
        Ok(_) => {
            info!(
                name = taken.name_any(),
                "another metrics server took over the APIService; removed this operator's owner \
                 reference and labels from it"
            );
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

fn ignore_conflict(result: kube::Result<()>) -> kube::Result<()> {
    match result {
        Err(error) if is_conflict(&error) => Ok(()),
        result => result,
    }
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

struct ApiServiceController {
    client: Client,
    names: Arc<ObjectNames>,
    serving: watch::Sender<Serving>,
    /// APIServices of the group, by name.
    seen: BTreeMap<String, APIService>,
    listed: bool,
}

impl ApiServiceController {
    async fn run(
        mut self,
        mut certificate: watch::Receiver<Option<Arc<ServingCertificate>>>,
        mut tls: watch::Receiver<Option<Tls>>,
    ) {
        let api: Api<APIService> = Api::all(self.client.clone());
        let events = watcher(api.clone(), watcher::Config::default()).default_backoff();
        let mut events = std::pin::pin!(events);
        let mut next_check = CHECK_INTERVAL;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(event)) => {
                        if !self.apply_event(event) {
                            continue;
                        }
                    }
                    Some(Err(error)) => {
                        warn!(%error, "cannot watch APIServices; retrying");
                        continue;
                    }
                    None => return,
                },
                changed = certificate.changed() => if changed.is_err() { return },
                changed = tls.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(next_check) => {}
            }
            let bundle = certificate
                .borrow_and_update()
                .as_ref()
                .map(|certificate| certificate.bundle.clone());
            let is_ready =
                tls.borrow_and_update().as_ref().is_some_and(|tls| tls.front_proxy.is_some());
            let Some(bundle) = bundle.filter(|_| self.listed) else { continue };
            let check = self.check(&api, bundle, is_ready);
            let check = tokio::time::timeout(REQUEST_TIMEOUT, check).await;
            next_check = match check.context("timed out").flatten() {
                Ok(()) => CHECK_INTERVAL,
                Err(error) => {
                    let error = format!("{error:#}");
                    warn!(error, "cannot maintain the APIService {NAME}; retrying");
                    RETRY_DELAY
                }
            };
        }
    }

    /// Records a watch event. Returns whether a check is due.
    fn apply_event(&mut self, event: Event<APIService>) -> bool {
        let of_group = |found: &APIService| {
            found.spec.as_ref().is_some_and(|spec| spec.group.as_deref() == Some(GROUP))
        };
        match event {
            Event::Init => {
                self.seen.clear();
                self.listed = false;
                false
            }
            Event::InitApply(found) => {
                if of_group(&found) {
                    self.seen.insert(found.name_any(), found);
                }
                false
            }
            Event::InitDone => {
                self.listed = true;
                true
            }
            Event::Apply(found) => {
                let matters = of_group(&found);
                if matters {
                    self.seen.insert(found.name_any(), found);
                }
                matters
            }
            Event::Delete(found) => self.seen.remove(&found.name_any()).is_some(),
        }
    }

    async fn check(
        &mut self,
        api: &Api<APIService>,
        bundle: String,
        is_ready: bool,
    ) -> anyhow::Result<()> {
        let owner = match installation(&self.client, &self.names).await? {
            Installation::Active(owner) => owner,
            Installation::Uninstalling(reason) => {
                self.publish_state(Serving::Off { reason });
                return Ok(());
            }
        };
        let desired = desired(&self.names, owner, bundle);
        let serving = match next_action(&self.seen, &desired, &self.names) {
            Action::UpToDate(found) => ownership::availability(found, Timestamp::now()),
            // Without a backend it would block the deletion of every namespace.
            Action::Create if !is_ready => {
                Serving::Off { reason: "this replica cannot serve it yet".to_owned() }
            }
            Action::Create => {
                self.create(api, &desired).await?;
                Serving::Ours
            }
            Action::Update(found) => {
                let resource_version = found.metadata.resource_version.clone();
                update(api, &desired, resource_version).await?;
                Serving::Ours
            }
            Action::Yield { service, ours, taken } => {
                // After a conflict, the next event decides again.
                if let Some(ours) = ours {
                    warn!(%service, "another metrics server registered for {GROUP}; removing this operator's APIService");
                    ignore_conflict(delete(api, ours).await)?;
                }
                if let Some(taken) = taken {
                    ignore_conflict(release(api, taken, &self.names).await)?;
                }
                Serving::Foreign { service }
            }
        };
        self.publish_state(serving);
        Ok(())
    }

    fn publish_state(&self, serving: Serving) {
        self.serving.send_if_modified(|last| {
            let differs = *last != serving;
            if differs {
                info!(?serving, "custom metrics server changed");
                *last = serving;
            }
            differs
        });
    }

    async fn create(&self, api: &Api<APIService>, desired: &APIService) -> anyhow::Result<()> {
        let params =
            PostParams { field_manager: Some(names::MANAGER.into()), ..PostParams::default() };
        match api.create(&params, desired).await {
            Ok(_) => info!(name = NAME, "created the APIService"),
            // Created by another client first: the watch will show it.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Updates the APIService. If it changed since it was seen, the next event decides again instead of
/// overwriting it.
async fn update(
    api: &Api<APIService>,
    desired: &APIService,
    resource_version: Option<String>,
) -> anyhow::Result<()> {
    let mut desired = desired.clone();
    desired.metadata.resource_version = resource_version;
    let params = PatchParams::apply(names::MANAGER).force();
    match api.patch(NAME, &params, &Patch::Apply(&desired)).await {
        Ok(_) => info!(name = NAME, "updated the APIService"),
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
