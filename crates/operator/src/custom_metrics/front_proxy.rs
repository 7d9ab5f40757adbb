//! Authenticates requests forwarded by the API server: its client certificate proves that a request
//! comes from it, and only then are the headers trusted that name the user (Kubernetes, "Configure
//! the Aggregation Layer").

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use http::HeaderMap;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client};
use percent_encoding::percent_decode_str;
use tokio::sync::watch;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Where every cluster says how its API server presents itself.
const NAMESPACE: &str = "kube-system";
const CONFIG_MAP: &str = "extension-apiserver-authentication";

/// How the API server authenticates itself, and names the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontProxy {
    /// The authorities of its client certificate; there is at least one.
    authorities: Vec<CertificateDer<'static>>,
    /// Common names that its certificate may have; empty: any.
    allowed_names: Vec<String>,
    user_headers: Vec<String>,
    uid_headers: Vec<String>,
    group_headers: Vec<String>,
    extra_prefixes: Vec<String>,
}

/// For whom a request is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct User {
    /// The user's name.
    pub name: String,
    /// The user's id, where the API server forwards it.
    pub uid: Option<String>,
    /// The user's groups.
    pub groups: Vec<String>,
    /// What else was found out about the user, by lower-case keys.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Watches the cluster's configuration until `stop` is cancelled, and publishes it. An unusable
/// configuration is logged and the last one stays in force; without any, every request is rejected.
pub async fn run(
    client: Client,
    publish: watch::Sender<Option<Arc<FrontProxy>>>,
    stop: CancellationToken,
) {
    let api: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
    let maps = watch_object(api, CONFIG_MAP).default_backoff();
    let mut maps = std::pin::pin!(maps);
    while let Some(Some(event)) = stop.run_until_cancelled(maps.next()).await {
        let found = match event {
            Ok(Some(map)) => FrontProxy::parse(&map.data.unwrap_or_default()),
            Ok(None) => Err(anyhow::anyhow!("it does not exist")),
            Err(error) => Err(error.into()),
        };
        match found {
            Ok(found) => {
                let published = publish.send_if_modified(|last| {
                    let differs = last.as_deref() != Some(&found);
                    if differs {
                        *last = Some(Arc::new(found));
                    }
                    differs
                });
                if published {
                    info!("front proxy configuration loaded");
                }
            }
            Err(error) => {
                let error = format!("{error:#}");
                warn!(error, "cannot use ConfigMap {NAMESPACE}/{CONFIG_MAP}");
            }
        }
    }
}

impl FrontProxy {
    /// Reads the data of the ConfigMap. Headers that it does not name are the usual ones.
    ///
    /// # Errors
    /// When there is no authority in it, or a list is none.
    pub fn parse(data: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        const CA: &str = "requestheader-client-ca-file";
        let pem = data.get(CA).with_context(|| format!("it has no {CA}"))?;
        let authorities: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .with_context(|| format!("its {CA} is no PEM"))?;
        anyhow::ensure!(!authorities.is_empty(), "its {CA} holds no certificate");
        let list = |key: &str, usual: &[&str]| -> anyhow::Result<Vec<String>> {
            let Some(text) = data.get(key).filter(|text| !text.trim().is_empty()) else {
                return Ok(usual.iter().map(|&name| name.to_owned()).collect());
            };
            serde_json::from_str(text).with_context(|| format!("its {key} is no list of texts"))
        };
        Ok(FrontProxy {
            authorities,
            allowed_names: list("requestheader-allowed-names", &[])?,
            user_headers: list("requestheader-username-headers", &["X-Remote-User"])?,
            uid_headers: list("requestheader-uid-headers", &["X-Remote-Uid"])?,
            group_headers: list("requestheader-group-headers", &["X-Remote-Group"])?,
            extra_prefixes: list("requestheader-extra-headers-prefix", &["X-Remote-Extra-"])?,
        })
    }

    /// The authorities as TLS takes them. Those that it cannot take are left out.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.authorities.iter().cloned());
        roots
    }

    /// Whether the other has the same authorities.
    pub fn has_authorities_of(&self, other: &FrontProxy) -> bool {
        self.authorities == other.authorities
    }

    /// Whether an API server's certificate may have this common name.
    pub fn admits(&self, client: &str) -> bool {
        self.allowed_names.is_empty() || self.allowed_names.iter().any(|name| name == client)
    }

    /// The user of a request that came over a connection whose client certificate, checked
    /// against [`roots`](Self::roots), has the common name `client`.
    ///
    /// # Errors
    /// With the reason why the headers are not believed.
    pub fn user(&self, client: Option<&str>, headers: &HeaderMap) -> Result<User, &'static str> {
        let client = client.ok_or("no client certificate: ask through the API server")?;
        if !self.admits(client) {
            return Err("the client certificate is not that of the API server's front proxy");
        }
        let first = |names: &[String]| names.iter().find_map(|name| text(headers.get(name)?));
        let name = first(&self.user_headers).filter(|name| !name.is_empty());
        let groups = self.group_headers.iter().flat_map(|name| headers.get_all(name));
        Ok(User {
            name: name.ok_or("the request names no user")?,
            uid: first(&self.uid_headers),
            groups: groups.filter_map(text).collect(),
            extra: self.extra(headers),
        })
    }

    /// Header names arrive in lower case; keys in them are percent-encoded.
    fn extra(&self, headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for prefix in &self.extra_prefixes {
            let prefix = prefix.to_ascii_lowercase();
            for (name, value) in headers {
                let Some(key) = name.as_str().strip_prefix(&prefix) else { continue };
                let key = percent_decode_str(key).decode_utf8_lossy().to_lowercase();
                extra.entry(key).or_default().extend(text(value));
            }
        }
        extra
    }
}

fn text(value: &http::HeaderValue) -> Option<String> {
    std::str::from_utf8(value.as_bytes()).ok().map(str::to_owned)
}

/// The common name of a certificate's subject.
pub fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests;
