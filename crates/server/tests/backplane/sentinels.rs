//! A primary, two replicas and three sentinels for one test.

use rookery_config as config;

use super::redis_processes::{RedisFiles, RedisProcess, free_port};
use super::{documented_rights, until};

/// The name by which the sentinels know the primary.
pub const PRIMARY: &str = "mymaster";

/// Redis servers with sentinels; killed when dropped.
pub struct RedisWithSentinels {
    /// The first one is the primary at the start.
    pub servers: Vec<RedisProcess>,
    pub sentinels: Vec<RedisProcess>,
    files: RedisFiles,
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
        let files = RedisFiles::new(is_secured);
        files.write("sentinels-password", "other secret\n");
        let mut all = RedisWithSentinels { servers: Vec::new(), sentinels: Vec::new(), files };
        for _ in 0..3 {
            let server = all.start_server();
            all.servers.push(server);
            let answers =
                async || all.files.connection(all.servers.last().unwrap().port).await.is_some();
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
            self.files.listener(port, "")
        );
        if let Some(primary) = self.servers.first() {
            text.push_str(&format!("replicaof 127.0.0.1 {}\n", primary.port));
        }
        if self.files.is_secured {
            let rights = documented_rights::with_bridge(&documented_rights::classic());
            text.push_str(&format!(
                "requirepass admin\nmasterauth admin\nuser rookery on >secret {rights}\n"
            ));
        }
        RedisProcess::start(self.files.folder(), &text, port, &[])
    }

    fn start_sentinel(&self) -> RedisProcess {
        let port = free_port();
        let primary = self.servers[0].port;
        let mut text = format!(
            "bind 127.0.0.1\n{}sentinel monitor {PRIMARY} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {PRIMARY} 1000\n\
             sentinel failover-timeout {PRIMARY} 5000\n",
            self.files.listener(port, "")
        );
        if self.files.is_secured {
            let rights = documented_rights::on_sentinels();
            text.push_str(&format!(
                "sentinel auth-pass {PRIMARY} admin\nrequirepass admin\n\
                 sentinel sentinel-pass admin\nuser rookery on \">other secret\" {rights}\n"
            ));
        }
        RedisProcess::start(self.files.folder(), &text, port, &["--sentinel"])
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
        if self.files.is_secured {
            sentinel.username = Some("rookery".to_owned());
            sentinel.password_file = Some(self.files.file("sentinels-password"));
        }
        redis.sentinel = Some(sentinel);
        self.files.authenticate(&mut redis);
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
        self.files.order(port, words).await
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
