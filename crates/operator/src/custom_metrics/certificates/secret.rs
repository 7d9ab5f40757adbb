//! The Secret through which the replicas share the certificates.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client, Resource as _};
use tokio::sync::watch;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::error::CertificateError;
use super::{CertificateSet, PemPair, renew};
use crate::custom_metrics::object_names::ObjectNames;
use crate::names;

/// Interval between checks whether a renewal is due.
const CHECK_INTERVAL: Duration = Duration::from_secs(3600);

/// Delay before a failed check is retried.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Deadline of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The certificate to serve, and the authorities that clients must trust.
#[derive(Debug)]
pub struct ServingCertificate {
    /// The certificate and its private key.
    pub key: Arc<CertifiedKey>,
    /// Every authority that is trusted, in PEM: an APIService's `caBundle`.
    pub bundle: String,
}

/// Maintains the Secret until `stop` is cancelled: renews what is due and publishes what it holds.
/// Every replica does so: the first one writes, and the others adopt what they see.
pub async fn run(
    client: Client,
    names: Arc<ObjectNames>,
    publish: watch::Sender<Option<Arc<ServingCertificate>>>,
    stop: CancellationToken,
) {
    let keeper = SecretController { client, names, publish, last: None };
    let _ = stop.run_until_cancelled(keeper.run()).await;
}

struct SecretController {
    client: Client,
    names: Arc<ObjectNames>,
    publish: watch::Sender<Option<Arc<ServingCertificate>>>,
    last: Option<CertificateSet>,
}

impl SecretController {
    async fn run(mut self) {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.names.namespace);
        let secrets = watch_object(api.clone(), names::METRICS_SECRET).default_backoff();
        let mut secrets = std::pin::pin!(secrets);
        let mut secret: Option<Option<Secret>> = None;
        let mut next_check = CHECK_INTERVAL;
        loop {
            tokio::select! {
                event = secrets.next() => match event {
                    Some(Ok(seen)) => secret = Some(seen),
                    Some(Err(error)) => {
                        warn!(%error, "cannot watch the Secret of the metrics API's certificates");
                        continue;
                    }
                    None => return,
                },
                () = tokio::time::sleep(next_check) => {}
            }
            let Some(secret) = &secret else { continue };
            next_check = match self.check(&api, secret.as_ref()).await {
                Ok(()) => CHECK_INTERVAL,
                Err(error) => {
                    warn!(%error, "cannot maintain the certificates of the metrics API; retrying");
                    RETRY_DELAY
                }
            };
        }
    }

    /// Publishes the content of the Secret, and renews what is due.
    async fn check(&mut self, api: &Api<Secret>, secret: Option<&Secret>) -> anyhow::Result<()> {
        let set = secret.map(CertificateSet::from_secret).transpose().unwrap_or_else(|error| {
            warn!(%error, "the metrics API's certificates are damaged; making new ones");
            None
        });
        if let Some(set) = &set {
            self.publish(set);
        }
        let Some(set) = renew(set.as_ref(), &self.names.dns_names(), Timestamp::now())? else {
            return Ok(());
        };
        self.write(api, secret, &set).await
    }

    fn publish(&mut self, set: &CertificateSet) {
        if self.last.as_ref() == Some(set) {
            return;
        }
        match ServingCertificate::of(set) {
            Ok(certificate) => {
                self.last = Some(set.clone());
                self.publish.send_replace(Some(Arc::new(certificate)));
            }
            Err(error) => warn!(%error, "the metrics API's certificate cannot be served"),
        }
    }

    /// Writes the set, unless another replica wrote first: the watch then delivers that one.
    async fn write(
        &self,
        api: &Api<Secret>,
        old: Option<&Secret>,
        set: &CertificateSet,
    ) -> anyhow::Result<()> {
        let params =
            PostParams { field_manager: Some(names::MANAGER.into()), ..PostParams::default() };
        let written = match old {
            Some(old) => {
                let mut secret = old.clone();
                secret.data = Some(set.data());
                let write = api.replace(names::METRICS_SECRET, &params, &secret);
                tokio::time::timeout(REQUEST_TIMEOUT, write).await?
            }
            None => {
                let deployment = self.names.deployment(&self.client);
                let deployment = tokio::time::timeout(REQUEST_TIMEOUT, deployment).await??;
                let Some(owner) = owner(deployment.as_ref(), self.last.is_some()) else {
                    return Ok(());
                };
                let secret = set.secret(owner);
                tokio::time::timeout(REQUEST_TIMEOUT, api.create(&params, &secret)).await?
            }
        };
        match written {
            Ok(_) => info!(secret = names::METRICS_SECRET, "wrote the metrics API's certificates"),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Who is to own a new Secret; none if it is not to be made, since the operator is being taken
/// down and this replica is only the last to go: what it made now would be left behind. That is
/// so when its Deployment is going, or when it is gone and the Secret (that `was` there) with it.
/// An operator that never ran in a Deployment has a Secret that nobody owns.
fn owner(deployment: Option<&Deployment>, was: bool) -> Option<Option<OwnerReference>> {
    match deployment {
        Some(found) if found.metadata.deletion_timestamp.is_some() => None,
        Some(found) => Some(found.owner_ref(&())),
        None if was => None,
        None => Some(None),
    }
}

impl ServingCertificate {
    /// A first certificate, as [`run`] makes it.
    #[cfg(test)]
    pub fn for_names(dns_names: &[String], now: Timestamp) -> Self {
        let set = renew(None, dns_names, now).unwrap().unwrap();
        ServingCertificate::of(&set).unwrap()
    }

    fn of(set: &CertificateSet) -> Result<Self, CertificateError> {
        let read = |error: &dyn std::fmt::Display| CertificateError::Read(error.to_string());
        let chain = CertificateDer::pem_slice_iter(set.serving.certificate.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|e| read(&e))?;
        let key =
            PrivateKeyDer::from_pem_slice(set.serving.key.as_bytes()).map_err(|e| read(&e))?;
        let provider = aws_lc_rs::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|e| read(&e))?;
        Ok(ServingCertificate { key: Arc::new(key), bundle: set.ca_bundle.clone() })
    }
}

impl CertificateSet {
    fn from_secret(secret: &Secret) -> Result<Self, CertificateError> {
        let text = |key: &'static str| -> Result<String, CertificateError> {
            let bytes = secret.data.as_ref().and_then(|data| data.get(key));
            let bytes = bytes.ok_or(CertificateError::Missing(key))?;
            Ok(String::from_utf8_lossy(&bytes.0).into_owned())
        };
        let pair = |certificate, key| -> Result<PemPair, CertificateError> {
            Ok(PemPair { certificate: text(certificate)?, key: text(key)? })
        };
        let next = match pair("next-ca.crt", "next-ca.key") {
            Ok(pair) => Some(pair),
            Err(CertificateError::Missing(_)) => None,
            Err(error) => return Err(error),
        };
        Ok(CertificateSet {
            serving: pair("tls.crt", "tls.key")?,
            signing_ca: pair("signer-ca.crt", "signer-ca.key")?,
            next,
            ca_bundle: text("ca.crt")?,
        })
    }

    fn data(&self) -> BTreeMap<String, ByteString> {
        let mut texts = vec![
            ("tls.crt", &self.serving.certificate),
            ("tls.key", &self.serving.key),
            ("ca.crt", &self.ca_bundle),
            ("signer-ca.crt", &self.signing_ca.certificate),
            ("signer-ca.key", &self.signing_ca.key),
        ];
        if let Some(next) = &self.next {
            texts.extend([("next-ca.crt", &next.certificate), ("next-ca.key", &next.key)]);
        }
        let bytes =
            |(key, text): (&str, &String)| (key.to_owned(), ByteString(text.clone().into_bytes()));
        texts.into_iter().map(bytes).collect()
    }

    fn secret(&self, owner: Option<OwnerReference>) -> Secret {
        let labels = [(names::MANAGED_BY.to_owned(), names::MANAGER.to_owned())];
        Secret {
            metadata: ObjectMeta {
                name: Some(names::METRICS_SECRET.to_owned()),
                labels: Some(labels.into()),
                owner_references: owner.map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            type_: Some("kubernetes.io/tls".to_owned()),
            data: Some(self.data()),
            ..Secret::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_read_back_from_its_secret() {
        let now = Timestamp::now();
        let mut set = renew(None, &["a.b.svc".into()], now).unwrap().unwrap();
        assert_eq!(CertificateSet::from_secret(&set.secret(None)).unwrap(), set);
        set.next = Some(super::super::authority(now).unwrap());
        assert_eq!(CertificateSet::from_secret(&set.secret(None)).unwrap(), set);
        let mut damaged = set.secret(None);
        damaged.data.as_mut().unwrap().remove("tls.key");
        let error = CertificateSet::from_secret(&damaged).unwrap_err();
        assert_eq!(error.to_string(), "the Secret has no tls.key");
    }

    #[test]
    fn no_secret_is_created_during_an_uninstall() {
        let metadata = serde_json::json!({"name": "operator", "uid": "1"});
        let here = serde_json::json!({"metadata": metadata});
        let mut going = here.clone();
        going["metadata"]["deletionTimestamp"] = "2026-03-04T05:06:07Z".into();
        let [here, going] = [here, going].map(|json| serde_json::from_value(json).unwrap());
        let owned = owner(Some(&here), true).unwrap().unwrap();
        assert_eq!((owned.kind.as_str(), owned.uid.as_str()), ("Deployment", "1"));
        assert_eq!(owner(Some(&going), false), None);
        assert_eq!(owner(None, true), None);
        assert_eq!(owner(None, false), Some(None));
    }

    #[test]
    fn a_key_of_another_certificate_is_not_served() {
        let now = Timestamp::now();
        let mut set = renew(None, &["a.b.svc".into()], now).unwrap().unwrap();
        assert!(ServingCertificate::of(&set).is_ok());
        set.serving.key = set.signing_ca.key.clone();
        assert!(ServingCertificate::of(&set).is_err());
    }
}
