//! [`CommandConnection`]: a connection for commands about one key, wherever the key is.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind, Value};

use super::cluster::Cluster;
use super::slot_map::Address;

/// Times that a command is sent again, to another node or after a pause.
const ATTEMPTS: usize = 8;

/// Pause before a command is sent again that the nodes do not agree about yet.
const PAUSE: Duration = Duration::from_millis(25);

/// A connection for commands about one key. Cloning is shallow.
#[derive(Clone)]
pub struct CommandConnection {
    target: Target,
}

#[derive(Clone)]
enum Target {
    /// The one server.
    Server(MultiplexedConnection),
    /// The node that owns the key's slot.
    Owner { cluster: Arc<Cluster>, key: Arc<[u8]> },
}

impl From<MultiplexedConnection> for CommandConnection {
    fn from(connection: MultiplexedConnection) -> Self {
        CommandConnection { target: Target::Server(connection) }
    }
}

impl CommandConnection {
    /// A connection to the node of a Cluster that owns the slot of `key`.
    pub(in crate::backplane) fn to_owner(cluster: Arc<Cluster>, key: &[u8]) -> Self {
        CommandConnection { target: Target::Owner { cluster, key: key.into() } }
    }

    /// Sends a command, and gives the answer. On a Cluster, MOVED and ASK are followed.
    ///
    /// # Errors
    /// When the server refuses, or cannot be reached.
    pub async fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        match &mut self.target {
            Target::Server(connection) => command.query_async(connection).await,
            Target::Owner { cluster, key } => {
                let answer = query_owner(cluster, key, command).await?;
                Ok(redis::from_redis_value(answer)?)
            }
        }
    }

    /// Sends commands in this order, and gives their answers; in one round trip, but on a Cluster.
    ///
    /// # Errors
    /// When the server refuses one, or cannot be reached. What follows may have been carried out.
    pub async fn query_all(&mut self, commands: Vec<Cmd>) -> RedisResult<Vec<Value>> {
        match &mut self.target {
            Target::Server(connection) => {
                let mut pipeline = redis::pipe();
                commands.into_iter().for_each(|command| {
                    pipeline.add_command(command);
                });
                pipeline.query_async(connection).await
            }
            Target::Owner { cluster, key } => {
                let mut answers = Vec::with_capacity(commands.len());
                for command in commands {
                    answers.push(query_owner(cluster, key, &command).await?);
                }
                Ok(answers)
            }
        }
    }
}

/// Sends a command to the owner of the slot of `key`, and follows redirections (Redis
/// documentation, "Redis cluster specification", section "Redirection and resharding").
async fn query_owner(cluster: &Arc<Cluster>, key: &[u8], command: &Cmd) -> RedisResult<Value> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let (mut connection, node) = cluster.commands_for(key).await?;
        let answer = command.query_async::<Value>(&mut connection).await;
        let Err(error) = answer else { return answer };
        if attempt == ATTEMPTS {
            return Err(error);
        }
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Ask) => {
                let Some(other) = redirected_to(&error, &node) else { return Err(error) };
                let mut connection = cluster.commands_at(&other).await?;
                let answer = query_importing(&mut connection, command).await;
                if !answer.as_ref().is_err_and(is_passing) {
                    return answer;
                }
                tokio::time::sleep(PAUSE).await;
            }
            // The first one names the owner; where nodes contradict each other, they need time.
            _ if cluster.moved(&error, &node) && attempt == 1 => {}
            _ if is_passing(&error) => tokio::time::sleep(PAUSE).await,
            _ => return Err(error),
        }
    }
}

/// Sends a command to a node that is taking the slot over: only after ASKING does it answer.
async fn query_importing(
    connection: &mut MultiplexedConnection,
    command: &Cmd,
) -> RedisResult<Value> {
    let mut both = redis::pipe();
    both.cmd("ASKING").ignore().add_command(command.clone());
    let answers: Vec<Value> = both.query_async(connection).await?;
    Ok(answers.into_iter().next().unwrap_or(Value::Nil))
}

fn redirected_to(error: &RedisError, asked: &Address) -> Option<Address> {
    Address::read(error.redirect_node()?.0, asked)
}

/// Whether the nodes need time to agree.
fn is_passing(error: &RedisError) -> bool {
    let ErrorKind::Server(kind) = error.kind() else { return false };
    matches!(kind, ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::TryAgain)
}
