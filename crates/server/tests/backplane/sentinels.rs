//! A primary, two replicas and three sentinels for one test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use redis::aio::MultiplexedConnection;
use redis::{Client, ClientTlsConfig, TlsCertificates};
use rookery_config as config;
use tempfile::TempDir;

use super::{documented_rights, until};

/// The name by which the sentinels know the primary.
pub const PRIMARY: &str = "mymaster";

/// Redis servers with sentinels; killed when dropped.
pub struct RedisWithSentinels {
    /// The first one is the primary at the start.
    pub servers: Vec<RedisProcess>,
    pub sentinels: Vec<RedisProcess>,
    files: TempDir,
    is_secured: bool,
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

impl RedisWithSentinels {
    /// Without passwords and TLS.
    pub async fn start() -> Self {
        Self::start_with(false).await
    }

    /// With TLS that asks for client certificates, and users who have the documented rights.
    pub async fn secured() -> Self {
        Self::start_with(true).await
    }

    async fn start_with(is_secured: bool) -> Self {
        let files = tempfile::tempdir().unwrap();
        write_certificates(files.path());
        std::fs::write(files.path().join("password"), "secret\n").unwrap();
        std::fs::write(files.path().join("sentinels-password"), "other secret\n").unwrap();
        let mut all =
            RedisWithSentinels { servers: Vec::new(), sentinels: Vec::new(), files, is_secured };
        for _ in 0..3 {
            let server = all.start_server();
            all.servers.push(server);
            let answers = async || all.connection(all.servers.last().unwrap().port).await.is_some();
            until("redis-server answers", answers).await;
        }
        until("the replicas follow", async || all.replicas_of_the_primary().await == 2).await;
        for _ in 0..3 {
            let sentinel = all.start_sentinel();
            all.sentinels.push(sentinel);
        }
        until("the sentinels are ready for a failover", async || all.are_ready().await).await;
        all
    }

    fn start_server(&self) -> RedisProcess {
        let port = free_port();
        let mut text = format!(
            "bind 127.0.0.1\nsave \"\"\nrepl-diskless-sync-delay 0\n{}\
             replica-announce-ip 127.0.0.1\nreplica-announce-port {port}\n",
            self.listener(port)
        );
        if let Some(primary) = self.servers.first() {
            text.push_str(&format!("replicaof 127.0.0.1 {}\n", primary.port));
        }
        if self.is_secured {
            let rights = documented_rights::with_bridge(&documented_rights::classic());
            text.push_str(&format!(
                "requirepass admin\nmasterauth admin\nuser rookery on >secret {rights}\n"
            ));
        }
        RedisProcess::start(self.files.path(), &text, port, &[])
    }

    fn start_sentinel(&self) -> RedisProcess {
        let port = free_port();
        let primary = self.servers[0].port;
        let mut text = format!(
            "bind 127.0.0.1\n{}sentinel monitor {PRIMARY} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {PRIMARY} 1000\n\
             sentinel failover-timeout {PRIMARY} 5000\n",
            self.listener(port)
        );
        if self.is_secured {
            let rights = documented_rights::on_sentinels();
            text.push_str(&format!(
                "sentinel auth-pass {PRIMARY} admin\nrequirepass admin\n\
                 sentinel sentinel-pass admin\nuser rookery on \">other secret\" {rights}\n"
            ));
        }
        RedisProcess::start(self.files.path(), &text, port, &["--sentinel"])
    }

    fn listener(&self, port: u16) -> String {
        match self.is_secured {
            false => format!("port {port}\n"),
            true => format!(
                "port 0\ntls-port {port}\ntls-replication yes\ntls-auth-clients yes\n\
                 tls-cert-file server.pem\ntls-key-file server.key\ntls-ca-cert-file ca.pem\n"
            ),
        }
    }

    /// The configuration of a pod.
    pub fn config(&self) -> config::Redis {
        let addresses = self.sentinels.iter().map(|s| format!("127.0.0.1:{}", s.port));
        let mut sentinel =
            config::RedisSentinel { master: Some(PRIMARY.to_owned()), ..Default::default() };
        let mut redis = config::Redis {
            addresses: addresses.collect(),
            mode: Some(config::RedisMode::Sentinel),
            ..config::Redis::at(String::new())
        };
        if self.is_secured {
            sentinel.username = Some("rookery".to_owned());
            sentinel.password_file = Some(self.file("sentinels-password"));
            redis.username = Some("rookery".to_owned());
            redis.password_file = Some(self.file("password"));
            redis.tls.ca_file = Some(self.file("ca.pem"));
            redis.tls.cert_file = Some(self.file("client.pem"));
            redis.tls.key_file = Some(self.file("client.key"));
        }
        redis.sentinel = Some(sentinel);
        redis
    }

    /// The port of the primary, as the sentinels have it; `None` while they do not agree.
    pub async fn primary(&self) -> Option<u16> {
        let mut ports = Vec::new();
        for sentinel in &self.sentinels {
            let ask = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY];
            let (_, port): (String, u16) = self.order(sentinel.port, &ask).await?;
            ports.push(port);
        }
        ports.iter().all(|port| *port == ports[0]).then_some(ports[0])
    }

    /// Sends a command to the server or sentinel on this port.
    pub async fn order<T: redis::FromRedisValue>(&self, port: u16, words: &[&str]) -> Option<T> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut self.connection(port).await?).await.ok()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// A connection of the test's own.
    async fn connection(&self, port: u16) -> Option<MultiplexedConnection> {
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

    async fn replicas_of_the_primary(&self) -> usize {
        let info: Option<String> = self.order(self.servers[0].port, &["INFO", "replication"]).await;
        info.unwrap_or_default().matches("state=online").count()
    }

    /// Whether each sentinel knows the others and both replicas.
    async fn are_ready(&self) -> bool {
        for sentinel in &self.sentinels {
            for (list, count) in [("SENTINELS", 2), ("REPLICAS", 2)] {
                let listed: Option<Vec<redis::Value>> =
                    self.order(sentinel.port, &["SENTINEL", list, PRIMARY]).await;
                if listed.is_none_or(|listed| listed.len() != count) {
                    return false;
                }
            }
        }
        true
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Writes files in PEM: the certificate of an authority (`ca.pem`), and certificates of it with
/// their keys, of the servers (`server.pem`, `server.key`) and of a client (`client.pem`,
/// `client.key`).
pub fn write_certificates(folder: &Path) {
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
