//! A Redis Cluster of three primaries with a replica each, for one test.

use std::time::Duration;

use redis::{FromRedisValue, Value};
use rookery_config as config;

use super::redis_processes::{RedisFiles, RedisProcess, free_port};
use super::{documented_rights, until};

/// What docs/redis.md adds to a user's rights on a Cluster.
const ON_A_CLUSTER: &str = "+cluster|slots +asking";

const PRIMARIES: usize = 3;

const SLOTS: usize = 16_384;

/// A Cluster; killed when dropped.
pub struct RedisCluster {
    /// The primaries at the start, each with its replica [`PRIMARIES`] further on.
    pub servers: Vec<ClusterServer>,
    wire: config::Wire,
    files: RedisFiles,
}

/// One server of a Cluster.
pub struct ClusterServer {
    pub process: RedisProcess,
    pub port: u16,
    bus: u16,
}

impl RedisCluster {
    /// Without passwords and TLS.
    pub async fn start(wire: config::Wire) -> Self {
        Self::start_with(wire, false).await
    }

    /// With TLS that asks for client certificates, and a user who has the documented rights.
    pub async fn secured(wire: config::Wire) -> Self {
        Self::start_with(wire, true).await
    }

    async fn start_with(wire: config::Wire, is_secured: bool) -> Self {
        let files = RedisFiles::new(is_secured);
        let mut cluster = RedisCluster { servers: Vec::new(), wire, files };
        for _ in 0..2 * PRIMARIES {
            let server = cluster.start_server().await;
            cluster.servers.push(server);
        }
        cluster.join_servers().await;
        until("the Cluster is ready", async || cluster.is_ready().await).await;
        cluster
    }

    async fn start_server(&self) -> ClusterServer {
        loop {
            let (port, bus) = (free_port(), free_port());
            let text = self.text(port, bus);
            let mut process = RedisProcess::start(self.files.folder(), &text, port, &[]);
            // Another process may have taken a port meanwhile.
            while !process.has_ended() {
                if self.files.connection(port).await.is_some() {
                    return ClusterServer { process, port, bus };
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    fn text(&self, port: u16, bus: u16) -> String {
        let rights = match self.wire {
            config::Wire::Sharded => documented_rights::sharded(),
            config::Wire::Classic => documented_rights::classic(),
        };
        let rights = documented_rights::with_bridge(&rights);
        let listener =
            self.files.listener(port, "tls-cluster yes\nrequirepass admin\nmasterauth admin\n");
        format!(
            "bind 127.0.0.1\nsave \"\"\nrepl-diskless-sync-delay 0\ncluster-enabled yes\n\
             cluster-config-file {port}.nodes\ncluster-port {bus}\ncluster-node-timeout 2000\n\
             cluster-replica-validity-factor 0\ncluster-allow-replica-migration no\n\
             user rookery on >secret {rights} {ON_A_CLUSTER}\n{listener}"
        )
    }

    async fn join_servers(&self) {
        let share = SLOTS.div_ceil(PRIMARIES);
        for (index, server) in self.servers.iter().enumerate() {
            let epoch = (index + 1).to_string();
            self.order::<()>(server.port, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await.unwrap();
            if index < PRIMARIES {
                let first = (index * share).to_string();
                let last = (((index + 1) * share).min(SLOTS) - 1).to_string();
                let add = ["CLUSTER", "ADDSLOTSRANGE", &first, &last];
                self.order::<()>(server.port, &add).await.unwrap();
            }
            let (port, bus) = (server.port.to_string(), server.bus.to_string());
            let meet = ["CLUSTER", "MEET", "127.0.0.1", &port, &bus];
            self.order::<()>(self.servers[0].port, &meet).await.unwrap();
        }
        let know_all = async || {
            for server in &self.servers {
                let info: Option<String> = self.order(server.port, &["CLUSTER", "INFO"]).await;
                if !info.is_some_and(|info| info.contains("cluster_known_nodes:6\r\n")) {
                    return false;
                }
            }
            true
        };
        until("the servers know each other", know_all).await;
        for index in 0..PRIMARIES {
            let (id, replica) = (self.id(index).await, self.servers[index + PRIMARIES].port);
            let replicate = ["CLUSTER", "REPLICATE", &id];
            let follows = async || self.order::<()>(replica, &replicate).await.is_some();
            until("the replica follows", follows).await;
        }
    }

    /// Whether each server knows the owner of each slot, with its replica.
    async fn is_ready(&self) -> bool {
        for (index, server) in self.servers.iter().enumerate() {
            let info: Option<String> = self.order(server.port, &["CLUSTER", "INFO"]).await;
            let slots: Option<Vec<Vec<Value>>> =
                self.order(server.port, &["CLUSTER", "SLOTS"]).await;
            let is_ok = info.is_some_and(|info| info.contains("cluster_state:ok"));
            let is_whole = slots.is_some_and(|ranges| {
                ranges.len() == PRIMARIES && ranges.iter().all(|range| range.len() == 4)
            });
            let replication: Option<String> =
                self.order(server.port, &["INFO", "replication"]).await;
            let link = if index < PRIMARIES { "state=online" } else { "master_link_status:up" };
            if !is_ok || !is_whole || !replication.is_some_and(|info| info.contains(link)) {
                return false;
            }
        }
        true
    }

    /// The configuration of a pod: the first two servers are its seeds.
    pub fn config(&self) -> config::Redis {
        let seeds = self.servers[..2].iter().map(|server| format!("127.0.0.1:{}", server.port));
        let mut redis = config::Redis {
            addresses: seeds.collect(),
            mode: Some(config::RedisMode::Cluster),
            wire: self.wire,
            ..config::Redis::at(String::new())
        };
        self.files.authenticate(&mut redis);
        redis
    }

    /// Adds a primary without slots; gives its position.
    pub async fn add_server(&mut self) -> usize {
        let server = self.start_server().await;
        let (port, bus) = (server.port.to_string(), server.bus.to_string());
        self.servers.push(server);
        let meet = ["CLUSTER", "MEET", "127.0.0.1", &port, &bus];
        self.order::<()>(self.servers[0].port, &meet).await.unwrap();
        let is_known = async || {
            for server in &self.servers {
                let info: Option<String> = self.order(server.port, &["CLUSTER", "INFO"]).await;
                let is_ok = info.is_some_and(|info| {
                    info.contains("cluster_known_nodes:7\r\n") && info.contains("cluster_state:ok")
                });
                if !is_ok {
                    return false;
                }
            }
            true
        };
        until("the server is known", is_known).await;
        self.servers.len() - 1
    }

    /// The position of the server that owns the slot of a name, as the first that answers says.
    pub async fn owner(&self, name: &str) -> usize {
        let slot: usize = self.any(&["CLUSTER", "KEYSLOT", name]).await;
        self.owner_of(slot, self.any(&["CLUSTER", "SLOTS"]).await)
    }

    /// The same, as the server at the position `asked` says.
    pub async fn owner_by(&self, asked: usize, name: &str) -> usize {
        let port = self.servers[asked].port;
        let slot: usize = self.order(port, &["CLUSTER", "KEYSLOT", name]).await.unwrap();
        self.owner_of(slot, self.order(port, &["CLUSTER", "SLOTS"]).await.unwrap())
    }

    fn owner_of(&self, slot: usize, ranges: Vec<Vec<Value>>) -> usize {
        let number = |value: &Value| redis::from_redis_value_ref::<usize>(value).unwrap();
        let has = |range: &&Vec<Value>| (number(&range[0])..=number(&range[1])).contains(&slot);
        let Value::Array(address) = &ranges.iter().find(has).unwrap()[2] else {
            panic!("no address");
        };
        let port = number(&address[1]);
        self.servers.iter().position(|server| usize::from(server.port) == port).unwrap()
    }

    /// Moves the slot of a name to a server, as `redis-cli --cluster reshard` does.
    pub async fn move_slot(&self, name: &str, to: usize) {
        self.begin_move(name, to).await;
        self.finish_move(name, to).await;
    }

    /// Begins to move a slot: its owner has the keys still, new ones go to the server `to`.
    pub async fn begin_move(&self, name: &str, to: usize) {
        let from = self.owner(name).await;
        let slot = self.any::<usize>(&["CLUSTER", "KEYSLOT", name]).await.to_string();
        let (old, new) = (self.id(from).await, self.id(to).await);
        let importing = ["CLUSTER", "SETSLOT", &slot, "IMPORTING", &old];
        self.order::<()>(self.servers[to].port, &importing).await.unwrap();
        let migrating = ["CLUSTER", "SETSLOT", &slot, "MIGRATING", &new];
        self.order::<()>(self.servers[from].port, &migrating).await.unwrap();
    }

    /// Gives a slot without keys to the server `to`.
    pub async fn finish_move(&self, name: &str, to: usize) {
        let from = self.owner(name).await;
        let slot = self.any::<usize>(&["CLUSTER", "KEYSLOT", name]).await.to_string();
        let id = self.id(to).await;
        let node = ["CLUSTER", "SETSLOT", &slot, "NODE", &id];
        for index in [to, from] {
            self.order::<()>(self.servers[index].port, &node).await.unwrap();
        }
    }

    /// Sends a command to the server on this port.
    pub async fn order<T: FromRedisValue>(&self, port: u16, words: &[&str]) -> Option<T> {
        self.files.order(port, words).await
    }

    /// Sends a command to the first server that answers.
    async fn any<T: FromRedisValue>(&self, words: &[&str]) -> T {
        for server in &self.servers {
            if let Some(answer) = self.order(server.port, words).await {
                return answer;
            }
        }
        panic!("no server answers {words:?}");
    }

    /// The sum of the keys that the primaries of the start have, and how many of them have some.
    pub async fn keys(&self) -> (usize, usize) {
        let mut counts = Vec::new();
        for server in &self.servers[..PRIMARIES] {
            counts.push(self.order::<usize>(server.port, &["DBSIZE"]).await.unwrap());
        }
        (counts.iter().sum(), counts.iter().filter(|count| **count > 0).count())
    }

    async fn id(&self, index: usize) -> String {
        self.order(self.servers[index].port, &["CLUSTER", "MYID"]).await.unwrap()
    }
}
