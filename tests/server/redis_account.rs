//! An instance logs in to Redis with a user and a password from files, over TLS with a private
//! authority.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::authority::write_certificates;
use crate::client::Member;
use crate::harness::{Rookery, shared_permit, until, within};

/// With characters that a URL would have to encode.
const PASSWORD: &str = "p@ss/w:rd%20#1";

/// A Redis that speaks TLS alone and knows only the user `chat`; killed when dropped.
struct SecuredRedis {
    port: u16,
    child: Child,
    files: TempDir,
}

impl SecuredRedis {
    fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        write_certificates(files.path());
        std::fs::write(files.path().join("password"), format!("{PASSWORD}\n")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("redis-server")
            .current_dir(files.path())
            .args(["--port", "0", "--tls-port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--tls-cert-file", "server.pem", "--tls-key-file", "server.key"])
            .args(["--tls-ca-cert-file", "ca.pem", "--tls-auth-clients", "no"])
            .args(["--user", "default", "off"])
            .args(["--user", "chat", "on", &format!(">{PASSWORD}"), "~*", "&*", "+@all"])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .expect("these tests need redis-server in the PATH");
        SecuredRedis { port, child, files }
    }

    /// The configuration of an instance that verifies the server by the certificates in `ca`.
    fn config(&self, ca: &str) -> String {
        let files = self.files.path().display();
        format!(
            "redis:\n  url: rediss://127.0.0.1:{}\n  username: chat\n  \
             passwordFile: {files}/password\n  tls: {{ caFile: {files}/{ca} }}\n",
            self.port
        )
    }
}

impl Drop for SecuredRedis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn is_connected(server: &Rookery) -> bool {
    server.metric("rookery_redis_up").await == 1.0
}

#[tokio::test]
async fn a_user_with_a_password_file_and_a_private_authority_reaches_redis() {
    let _permit = shared_permit().await;
    let redis = SecuredRedis::start();
    let one = Rookery::start(&redis.config("ca.pem")).await;
    let other = Rookery::start(&redis.config("ca.pem")).await;
    until("both are connected", async || is_connected(&one).await && is_connected(&other).await)
        .await;
    let mut listener = Member::connect(&other).await;
    listener.join("room").await;
    one.publish("room", "news", json!("hello")).await;
    let heard = within("the other hears it", listener.event()).await;
    assert_eq!(heard, ("news".to_owned(), json!("hello")));
    assert!(!one.log().contains(PASSWORD), "{}", one.log());
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_trusted() {
    let _permit = shared_permit().await;
    let redis = SecuredRedis::start();
    let trusted = Rookery::start(&redis.config("ca.pem")).await;
    until("Redis is there", async || is_connected(&trusted).await).await;
    let server = Rookery::start(&redis.config("other.pem")).await;
    until("the certificate is refused", async || {
        server.log().to_lowercase().contains("certificate")
    })
    .await;
    assert!(!is_connected(&server).await);
}
