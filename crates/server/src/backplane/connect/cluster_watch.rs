//! [`ClusterWatch`]: the task that asks the nodes of a Cluster who owns the slots.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use redis::{ErrorKind, RedisResult, Value};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::attempts::ReconnectDelays;
use super::cluster::Cluster;
use super::slot_map::{Address, SlotMap, most_common};
use crate::backplane::clock::Clock;

/// Time between two questions while nothing seems to change.
const ASK: Duration = Duration::from_secs(3);

/// The least time between two questions.
const AT_LEAST: Duration = Duration::from_millis(100);

/// How long a node's answer may take, connection included.
const ANSWER: Duration = Duration::from_secs(1);

/// Nodes that are asked at once.
const ASKED: usize = 5;

/// Asks who owns the slots, and what time it is.
pub(in crate::backplane) struct ClusterWatch {
    cluster: Arc<Cluster>,
    clock: Arc<Clock>,
    /// The channel whose owner's clock all instances use.
    clock_channel: String,
    /// Whose clock was asked last.
    clock_of: Option<Address>,
    /// Counts the questions, so that other nodes are asked each time.
    asked: usize,
}

impl ClusterWatch {
    /// Keeps what `cluster` knows, and `clock`: all instances use the clock of the node that owns
    /// `clock_channel`, because those of two nodes may differ.
    pub(super) fn new(cluster: Arc<Cluster>, clock: Arc<Clock>, clock_channel: String) -> Self {
        ClusterWatch { cluster, clock, clock_channel, clock_of: None, asked: 0 }
    }

    /// Asks until `shutdown`: every 3 s, and at once when something seems to have changed.
    pub(in crate::backplane) async fn run(mut self, shutdown: CancellationToken) {
        let mut delays = ReconnectDelays::default();
        while !shutdown.is_cancelled() {
            let answered = tokio::select! {
                () = shutdown.cancelled() => return,
                answered = self.ask() => answered,
            };
            let (least, most) = match answered {
                true => {
                    delays = ReconnectDelays::default();
                    (AT_LEAST, ASK)
                }
                false => {
                    let delay = delays.next_delay();
                    (delay, delay)
                }
            };
            let pause = async {
                tokio::time::sleep(least).await;
                let _ = timeout(most.saturating_sub(least), self.cluster.suspected()).await;
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = pause => {}
            }
        }
    }

    /// Asks some nodes at once; false: none answered.
    async fn ask(&mut self) -> bool {
        let nodes = self.nodes();
        let answers = join_all(nodes.iter().map(|node| slots(&self.cluster, node))).await;
        let mut maps = Vec::new();
        for (node, answer) in nodes.iter().zip(answers) {
            match answer {
                Ok(map) if !map.is_empty() => maps.push(map),
                Ok(_) => {}
                Err(error) => self.cluster.not_answered(node, &error),
            }
        }
        let Some(map) = most_common(maps) else { return false };
        self.cluster.learned(map);
        self.ask_time().await;
        true
    }

    /// The primaries that are asked: others each time where there are many. Before one is known,
    /// the nodes of the configuration; and one of them later too, as the others may all be gone.
    fn nodes(&mut self) -> Vec<Address> {
        self.asked += 1;
        let (map, seeds) = (self.cluster.map(), self.cluster.seeds());
        let mut nodes: Vec<Address> = map.primaries().cloned().collect();
        if nodes.is_empty() {
            nodes = seeds.to_vec();
        }
        let first = self.asked % nodes.len().max(1);
        nodes.rotate_left(first);
        nodes.truncate(ASKED - 1);
        let seed = seeds.get(self.asked % seeds.len().max(1));
        nodes.extend(seed.filter(|seed| !nodes.contains(seed)).cloned());
        nodes
    }

    /// Takes a sample of the clock that all instances use.
    async fn ask_time(&mut self) {
        let asked = async {
            let name = self.clock_channel.as_bytes();
            let (mut connection, owner) = self.cluster.commands_for(name).await?;
            let sent = Instant::now();
            let (seconds, micros): (u64, u64) =
                redis::cmd("TIME").query_async(&mut connection).await?;
            let time = seconds.saturating_mul(1_000_000).saturating_add(micros);
            RedisResult::Ok((owner, time, sent))
        };
        // Without an answer the last samples count.
        let Ok(Ok((owner, time, sent))) = timeout(ANSWER, asked).await else { return };
        if self.clock_of.as_ref() != Some(&owner) {
            self.clock.reset();
            self.clock_of = Some(owner);
        }
        self.clock.sample(time, sent, Instant::now());
    }
}

/// Asks one node who owns the slots.
async fn slots(cluster: &Arc<Cluster>, node: &Address) -> RedisResult<SlotMap> {
    let asked = async {
        let mut connection = cluster.commands_at(node).await?;
        redis::cmd("CLUSTER").arg("SLOTS").query_async::<Value>(&mut connection).await
    };
    let answer = timeout(ANSWER, asked).await.unwrap_or_else(|_| {
        let error = std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within 1 s");
        Err(error.into())
    })?;
    SlotMap::read(&answer, node).ok_or_else(|| {
        (ErrorKind::UnexpectedReturnType, "no answer to CLUSTER SLOTS can be read").into()
    })
}
