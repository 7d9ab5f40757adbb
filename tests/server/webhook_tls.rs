//! Webhooks over TLS, with an authority of one's own, over HTTP/1.1 and HTTP/2.

use std::sync::Arc;

use axum::http::Version;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::authority::write_certificates;
use crate::backend::{Backend, routes};
use crate::client::Member;
use crate::harness::{Rookery, shared_permit};

/// Serves a backend's routes over TLS with these protocols (RFC 7301); returns the port.
async fn serve(files: &TempDir, backend: &Backend, protocols: &[&str]) -> u16 {
    let folder = files.path();
    let certificate = CertificateDer::from_pem_file(folder.join("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let routes = routes(backend.shared());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, routes) = (acceptor.clone(), routes.clone());
            tokio::spawn(async move {
                // A client that does not trust the certificate ends the handshake.
                let Ok(stream) = acceptor.accept(socket).await else { return };
                let service = TowerToHyperService::new(routes);
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    port
}

fn config(port: u16, more: &str) -> String {
    format!(
        "rooms: open\nevents: []\nbackend: {{ url: 'https://127.0.0.1:{port}/rookery'{more} }}\n"
    )
}

#[tokio::test]
async fn a_backend_of_a_private_authority_is_called_over_http_1_and_2() {
    let _permit = shared_permit().await;
    let files = tempfile::tempdir().unwrap();
    write_certificates(files.path());
    let authority = format!(", caFile: '{}'", files.path().join("ca.pem").display());
    for (protocols, version) in
        [(&["h2", "http/1.1"][..], Version::HTTP_2), (&["http/1.1"], Version::HTTP_11)]
    {
        let backend = Backend::echo().await;
        let port = serve(&files, &backend, protocols).await;
        let server = Rookery::start(&config(port, &authority)).await;
        let mut member = Member::connect(&server).await;
        for n in 0..10 {
            assert_eq!(member.ask("a", json!(n)).await.1, n);
        }
        assert!(backend.calls().iter().all(|call| call.version == version), "{version:?}");
    }
}

#[tokio::test]
async fn a_backend_of_an_unknown_authority_is_not_called() {
    let _permit = shared_permit().await;
    let files = tempfile::tempdir().unwrap();
    write_certificates(files.path());
    let backend = Backend::echo().await;
    let port = serve(&files, &backend, &["h2"]).await;
    let server = Rookery::start(&config(port, ", hooks: [event]")).await;
    let mut member = Member::connect(&server).await;
    let (_, answer) = member.ask("a", json!(1)).await;
    assert_eq!(answer["error"]["code"], "backend_unavailable");
    assert!(backend.calls().is_empty());
    server.logged("a call to the backend failed").await;
    assert!(server.log().contains("ertificate"), "{}", server.log());
}
