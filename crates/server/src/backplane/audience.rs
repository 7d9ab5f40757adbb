//! The [`Audience`] of a question: how many servers listen.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisResult, Value};
use tokio::time::{timeout, timeout_at};

use super::Backplane;
use super::connect::CommandConnection;
use super::wire::node::NodeWire;

/// How long a node of a Cluster may take to say how many listen there; who listens at one that is
/// away does not hear the question either.
const NODE_ANSWER: Duration = Duration::from_secs(1);

/// How many servers can be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audience {
    /// How many pods listen, this one included.
    pub pods: usize,
    /// How many Node servers listen.
    pub nodes: usize,
}

impl Backplane {
    /// How many pods and how many Node servers listen now: both listen to the request channel,
    /// only pods to their own. `None`: Redis does not say.
    pub async fn audience(&self, namespace: &str, until: Instant) -> Option<Audience> {
        let channels = &self.parts.channels;
        let (requests, pods) = (channels.requests(namespace), channels.pods());
        let counted = self.subscribers(&[&requests, &pods], until).await?;
        let [all, pods] = *counted.as_slice() else { return None };
        Some(Audience { pods, nodes: all.saturating_sub(pods) })
    }

    /// Whether this pod listens now. `None`: Redis does not say.
    pub async fn hears(&self, pod: &str, until: Instant) -> Option<bool> {
        let counted = self.subscribers(&[&self.parts.channels.answers(pod)], until).await?;
        counted.first().map(|listening| *listening > 0)
    }

    /// How many subscribe each of these channels; `None`: Redis does not say.
    async fn subscribers(&self, channels: &[&str], until: Instant) -> Option<Vec<usize>> {
        if !self.is_up() {
            return None;
        }
        let counted = async {
            match (self.parts.connector.cluster(), self.parts.channels.wire()) {
                (None, _) => {
                    let mut connection = self.parts.commands.lock().clone()?;
                    read(self.count(channels).query_async(&mut connection).await)
                }
                (Some(_), NodeWire::Classic) => self.count_at_every_node(channels).await,
                // Channels of different slots cannot be in one command.
                (Some(_), NodeWire::Sharded(_)) => {
                    let counts = channels.iter().map(|channel| self.count_at_owner(channel));
                    join_all(counts).await.into_iter().collect()
                }
            }
        };
        timeout_at(until.into(), counted).await.ok()?
    }

    fn count(&self, channels: &[&str]) -> Cmd {
        let mut command = redis::cmd("PUBSUB");
        command.arg(self.parts.channels.wire().count_command()).arg(channels);
        command
    }

    /// Sharded channels have subscribers at the owner of their slot alone.
    async fn count_at_owner(&self, channel: &str) -> Option<usize> {
        let cluster = self.parts.connector.cluster()?.clone();
        let mut owner = CommandConnection::to_owner(cluster, channel.as_bytes());
        read(owner.query(&self.count(&[channel])).await)?.first().copied()
    }

    /// The sum of what all nodes say: each knows its own subscribers, replicas too.
    async fn count_at_every_node(&self, channels: &[&str]) -> Option<Vec<usize>> {
        let cluster = self.parts.connector.cluster()?;
        let (map, command) = (cluster.map(), self.count(channels));
        let counts = map.nodes().map(async |node| {
            let count = async {
                let mut connection: MultiplexedConnection = cluster.commands_at(node).await?;
                command.query_async(&mut connection).await
            };
            read(timeout(NODE_ANSWER, count).await.ok()?)
        });
        let counts = join_all(counts).await.into_iter().flatten();
        counts.reduce(|sum, more| sum.iter().zip(more).map(|(sum, more)| sum + more).collect())
    }
}

/// The numbers in an answer of names, each with a number.
fn read(answer: RedisResult<Vec<Value>>) -> Option<Vec<usize>> {
    let answer = answer.ok()?;
    answer.chunks_exact(2).map(|pair| redis::from_redis_value_ref(&pair[1]).ok()).collect()
}
