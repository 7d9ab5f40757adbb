//! `SSL_CERT_FILE` names the authorities that key sets and collectors are verified by.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::authority::write_certificates;
use crate::harness::{Rookery, shared_permit, within};

/// An HTTPS server with a certificate of a private authority: its port, and the first line of each
/// request. It answers with no keys.
async fn https(files: &TempDir) -> (u16, mpsc::UnboundedReceiver<String>) {
    let folder = files.path();
    let certificate = CertificateDer::from_pem_file(folder.join("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (said, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            // A client that does not trust the certificate ends the handshake.
            let Ok(stream) = acceptor.accept(socket).await else { continue };
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            if stream.read_line(&mut line).await.is_ok() && said.send(line).is_err() {
                return;
            }
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                          content-length: 11\r\nconnection: close\r\n\r\n{\"keys\":[]}";
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (port, requests)
}

/// The first request of an instance with this configuration, in which `PORT` is replaced.
async fn first_request(config: &str, publish: bool) -> String {
    let files = tempfile::tempdir().unwrap();
    write_certificates(files.path());
    let (port, mut requests) = https(&files).await;
    let authorities = files.path().join("ca.pem");
    let environment = [("SSL_CERT_FILE", authorities.to_str().unwrap())];
    let config = config.replace("PORT", &port.to_string());
    let server = Rookery::start_with(&config, &environment).await;
    if publish {
        server.publish("room", "news", "hello".into()).await;
    }
    within("a request arrives", requests.recv()).await.unwrap()
}

#[tokio::test]
async fn a_key_set_is_fetched_from_a_server_of_a_private_authority() {
    let _permit = shared_permit().await;
    let config = "auth: { jwt: { jwksUrl: 'https://127.0.0.1:PORT/keys' } }\n";
    assert!(first_request(config, false).await.starts_with("GET /keys "));
}

#[tokio::test]
async fn spans_are_sent_to_a_collector_of_a_private_authority() {
    let _permit = shared_permit().await;
    let config = "telemetry: { otlp: 'https://127.0.0.1:PORT', traceRatio: 1.0 }\n";
    assert!(first_request(config, true).await.starts_with("POST /v1/traces "));
}
