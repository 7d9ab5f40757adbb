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
    /// How many servers listen to requests in the namespace, this one among them if it does: a pod does
    /// where the namespace is named in the configuration, and where members of it are.
    pub listeners: usize,
}

impl Backplane {
    /// How many pods and how many Node servers listen now: both listen to the request channel,
    /// only pods to their own. `None`: Redis does not say.
    pub async fn audience(&self, namespace: &str, until: Instant) -> Option<Audience> {
        let (channels, namespaces) = (&self.parts.channels, &self.parts.namespaces);
        let mut counts = vec![channels.requests(namespace), channels.pods()];
        let is_of_pattern = namespaces.pattern_of(namespace).is_some();
        if is_of_pattern {
            // Pods without members of the namespace do not listen.
            counts.push(channels.pods_in(namespace));
        }
        let counts: Vec<&str> = counts.iter().map(String::as_str).collect();
        let counted = self.subscribers(&counts, until).await?;
        let [all, pods, ref in_pattern @ ..] = *counted.as_slice() else { return None };
        let listening = in_pattern.first().copied().unwrap_or(pods);
        Some(Audience { pods, nodes: all.saturating_sub(listening), listeners: all.max(listening) })
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
