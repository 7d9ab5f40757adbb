//! Processes of redis-server for one test, and the way to them: certificates, passwords, connections.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use redis::aio::MultiplexedConnection;
use redis::{Client, ClientTlsConfig, FromRedisValue, TlsCertificates};
use rookery_config as config;
use tempfile::TempDir;

/// The files of a test's servers, and whether they ask for certificates and passwords.
pub struct RedisFiles {
    files: TempDir,
    pub is_secured: bool,
}

/// A process of redis-server; killed when dropped.
pub struct RedisProcess {
    pub port: u16,
    child: Child,
}

impl RedisProcess {
    /// With the configuration `text`, in `folder`.
    pub fn start(folder: &Path, text: &str, port: u16, more: &[&str]) -> Self {
        let file = folder.join(format!("{port}.conf"));
        std::fs::write(&file, text).unwrap();
        let child = Command::new("redis-server")
            .arg(&file)
            .args(more)
            .current_dir(folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("these tests need redis-server in the PATH");
        RedisProcess { port, child }
    }

    /// Whether it ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends it a signal, such as STOP.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }
}

impl Drop for RedisProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

impl RedisFiles {
    /// With certificates of the servers and a client, and the password of the user `rookery`.
    pub fn new(is_secured: bool) -> Self {
        let files = RedisFiles { files: tempfile::tempdir().unwrap(), is_secured };
        write_certificates(files.folder());
        files.write("password", "secret\n");
        files
    }

    /// Where the servers run.
    pub fn folder(&self) -> &Path {
        self.files.path()
    }

    /// The path of a file.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).unwrap();
    }

    /// The lines by which a server listens on a port; `more`: what it has over TLS alone.
    pub fn listener(&self, port: u16, more: &str) -> String {
        match self.is_secured {
            false => format!("port {port}\n"),
            true => format!(
                "port 0\ntls-port {port}\ntls-replication yes\ntls-auth-clients yes\n\
                 tls-cert-file server.pem\ntls-key-file server.key\ntls-ca-cert-file ca.pem\n{more}"
            ),
        }
    }

    /// Gives a pod's configuration the user and its certificate, where servers ask for them.
    pub fn authenticate(&self, redis: &mut config::Redis) {
        if self.is_secured {
            redis.username = Some("rookery".to_owned());
            redis.password_file = Some(self.file("password"));
            redis.tls.ca_file = Some(self.file("ca.pem"));
            redis.tls.cert_file = Some(self.file("client.pem"));
            redis.tls.key_file = Some(self.file("client.key"));
        }
    }

    /// Sends a command to the server on this port.
    pub async fn order<T: FromRedisValue>(&self, port: u16, words: &[&str]) -> Option<T> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut self.connection(port).await?).await.ok()
    }

    /// A connection of the test's own.
    pub async fn connection(&self, port: u16) -> Option<MultiplexedConnection> {
        let client = match self.is_secured {
            false => Client::open(format!("redis://127.0.0.1:{port}")),
            true => {
                let read = |name: &str| std::fs::read(self.file(name)).unwrap();
                let client_tls = Some(ClientTlsConfig {
                    client_cert: read("client.pem"),
                    client_key: read("client.key"),
                });
                let certificates = TlsCertificates { client_tls, root_cert: Some(read("ca.pem")) };
                Client::build_with_tls(format!("rediss://:admin@127.0.0.1:{port}"), certificates)
            }
        };
        client.unwrap().get_multiplexed_async_connection().await.ok()
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Writes files in PEM: the certificate of an authority (`ca.pem`), and certificates of it with
/// their keys, of the servers (`server.pem`, `server.key`) and of a client (`client.pem`,
/// `client.key`).
fn write_certificates(folder: &Path) {
    // OpenSSL takes a certificate whose subject is that of its issuer for a self-signed one.
    let named = |name: &str, hosts: Vec<String>| {
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let mut params = named("authority", Vec::new());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    write("ca.pem", authority.pem());
    for (name, of) in [("server", "127.0.0.1"), ("client", "rookery")] {
        let key = KeyPair::generate().unwrap();
        let params = named(name, vec![of.to_owned()]);
        write(&format!("{name}.pem"), params.signed_by(&key, &authority).unwrap().pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
}
