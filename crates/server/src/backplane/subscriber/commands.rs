//! SUBSCRIBE and UNSUBSCRIBE as each wire has them.

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};

use crate::backplane::wire::node::NodeWire;

/// Subscribes channels of the wire. On an error, some of them may be subscribed.
///
/// # Errors
/// The first that Redis refuses, or the loss of the connection.
pub async fn subscribe(
    wire: NodeWire,
    connection: &mut MultiplexedConnection,
    channels: &[impl AsRef<[u8]>],
) -> RedisResult<()> {
    match wire {
        NodeWire::Classic => connection.subscribe(names(channels)).await,
        NodeWire::Sharded(_) => each("SSUBSCRIBE", connection, channels).await,
    }
}

/// Unsubscribes channels of the wire.
///
/// # Errors
/// The first that Redis refuses, or the loss of the connection.
pub async fn unsubscribe(
    wire: NodeWire,
    connection: &mut MultiplexedConnection,
    channels: &[impl AsRef<[u8]>],
) -> RedisResult<()> {
    match wire {
        NodeWire::Classic => connection.unsubscribe(names(channels)).await,
        NodeWire::Sharded(_) => each("SUNSUBSCRIBE", connection, channels).await,
    }
}

/// The error of a subscription to `channel`, as a sentence that says what to do.
pub fn explain(wire: NodeWire, error: RedisError, channel: &[u8]) -> RedisError {
    let channel = || String::from_utf8_lossy(channel).into_owned();
    let is_unknown = error.detail().is_some_and(|detail| detail.starts_with("unknown command"));
    match wire {
        NodeWire::Classic if is_forbidden(&error) => {
            (error.kind(), "Redis does not permit SUBSCRIBE", channel()).into()
        }
        NodeWire::Sharded(_) if is_forbidden(&error) => {
            let why = "Redis does not permit SSUBSCRIBE, which `redis.wire: sharded` needs; give the \
                       user the rights listed in docs/redis.md, or use `classic`";
            (error.kind(), why, channel()).into()
        }
        NodeWire::Sharded(_) if is_unknown => {
            let why = "this Redis has no SSUBSCRIBE, which `redis.wire: sharded` needs; update it to \
                       version 7, or use `classic`";
            (error.kind(), why).into()
        }
        _ if error.kind() == ErrorKind::Server(ServerErrorKind::Moved) => {
            let why = "this Redis is a node of a Cluster; write `redis.mode: cluster`, or a \
                       redis-cluster:// URL";
            (error.kind(), why).into()
        }
        _ => error,
    }
}

/// Whether the user lacks a right.
pub fn is_forbidden(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
}

/// One command for each channel: with a Cluster, one command may not name channels of two slots.
async fn each(
    command: &str,
    connection: &mut MultiplexedConnection,
    channels: &[impl AsRef<[u8]>],
) -> RedisResult<()> {
    if channels.is_empty() {
        return Ok(());
    }
    let answers = send_each(command, connection, channels).await?;
    let refused = answers.into_iter().find_map(|answer| match answer {
        Value::ServerError(error) => Some(RedisError::from(error)),
        _ => None,
    });
    refused.map_or(Ok(()), Err)
}

/// Sends one command for each channel, and gives their answers: refusals too.
///
/// # Errors
/// The loss of the connection.
pub async fn send_each(
    command: &str,
    connection: &mut MultiplexedConnection,
    channels: &[impl AsRef<[u8]>],
) -> RedisResult<Vec<Value>> {
    let mut pipeline = redis::pipe();
    for channel in channels {
        pipeline.cmd(command).arg(channel.as_ref());
    }
    connection.send_packed_commands(&pipeline, 0, channels.len()).await
}

fn names(channels: &[impl AsRef<[u8]>]) -> Vec<&[u8]> {
    channels.iter().map(AsRef::as_ref).collect()
}

#[cfg(test)]
mod tests {
    use rookery_config::SubscriptionMode;

    use super::*;

    fn error(text: &str) -> RedisError {
        match redis::parse_redis_value(format!("-{text}\r\n").as_bytes()) {
            Ok(Value::ServerError(error)) => error.into(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_the_sharded_wire_lacks_is_named_with_the_fix() {
        let wire = NodeWire::Sharded(SubscriptionMode::Dynamic);
        for (said, expected) in [
            ("ERR unknown command `SSUBSCRIBE`, with args beginning with: `a`, ", "version 7"),
            ("NOPERM User a has no permissions to run the 'ssubscribe' command", "docs/redis.md"),
            ("NOPERM User a has no permissions to access the 'c' channel", "docs/redis.md"),
        ] {
            let explained = explain(wire, error(said), b"channel").to_string();
            assert!(explained.contains(expected), "{explained}");
            assert!(explained.contains("or use `classic`"), "{explained}");
        }
        let moved = explain(wire, error("MOVED 13059 127.0.0.1:17003"), b"c").to_string();
        assert!(moved.contains("redis.mode: cluster"), "{moved}");
        let other = "ERR something else";
        assert_eq!(explain(wire, error(other), b"c").to_string(), error(other).to_string());
        let classic = explain(NodeWire::Classic, error("NOPERM no"), b"the channel").to_string();
        assert!(classic.contains("does not permit SUBSCRIBE"), "{classic}");
        assert!(classic.contains("the channel"), "{classic}");
    }
}
