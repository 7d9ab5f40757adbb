//! The TLS configuration: it changes with the certificate and with the front proxy's authorities.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::{NoClientAuth, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::certificates::ServingCertificate;
use super::front_proxy::FrontProxy;

/// What new connections are accepted with.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Certificate, client's authorities, protocols.
    pub config: Arc<ServerConfig>,
    /// How the API servers present themselves; `None` until it is known.
    pub front_proxy: Option<Arc<FrontProxy>>,
    /// Cancelled when the authorities of client certificates are replaced.
    pub superseded: CancellationToken,
}

impl Tls {
    /// Whether a client whose certificate was verified, and has this common name, is an API
    /// server.
    pub fn admits(&self, client: Option<&str>) -> bool {
        let proxy = self.front_proxy.as_deref();
        proxy.zip(client).is_some_and(|(proxy, client)| proxy.admits(client))
    }
}

/// Publishes a configuration whenever the certificate or the authorities change, until `stop`;
/// none before there is a certificate.
pub async fn run(
    mut certificate: watch::Receiver<Option<Arc<ServingCertificate>>>,
    mut front_proxy: watch::Receiver<Option<Arc<FrontProxy>>>,
    publish: watch::Sender<Option<Tls>>,
    stop: CancellationToken,
) {
    let mut trusted: Option<Arc<FrontProxy>> = None;
    let mut superseded = CancellationToken::new();
    loop {
        let proxy = front_proxy.borrow_and_update().clone();
        let same = match (&trusted, &proxy) {
            (Some(old), Some(new)) => old.has_authorities_of(new),
            (old, new) => old.is_none() && new.is_none(),
        };
        let current = certificate.borrow_and_update().clone();
        if let Some(current) = current {
            match config(current.key.clone(), proxy.as_deref()) {
                Ok(config) => {
                    let before = superseded.clone();
                    if !same {
                        superseded = CancellationToken::new();
                    }
                    let config = Arc::new(config);
                    let (front_proxy, superseded) = (proxy.clone(), superseded.clone());
                    publish.send_replace(Some(Tls { config, front_proxy, superseded }));
                    if !same {
                        before.cancel();
                    }
                    trusted = proxy;
                }
                Err(error) => warn!(%error, "the metrics API keeps its last TLS configuration"),
            }
        }
        let changed = tokio::select! {
            changed = certificate.changed() => changed,
            changed = front_proxy.changed() => changed,
            () = stop.cancelled() => return,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// A certificate from a client is asked for and, if it comes, checked; without one only the
/// probes answer, so that whoever asks past the API server is told so in words.
///
/// # Errors
/// When none of the authorities can be used.
pub fn config(
    key: Arc<CertifiedKey>,
    front_proxy: Option<&FrontProxy>,
) -> anyhow::Result<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = match front_proxy {
        Some(proxy) => {
            WebPkiClientVerifier::builder_with_provider(Arc::new(proxy.roots()), provider.clone())
                .allow_unauthenticated()
                .build()?
        }
        None => Arc::new(NoClientAuth),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
