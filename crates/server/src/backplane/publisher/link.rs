//! The sending connection: how it is opened, and how it proves that it is alive.

use std::sync::Arc;
use std::time::Instant;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, RedisError};
use tokio_util::sync::CancellationToken;

use super::ANSWER;
use crate::backplane::clock::Clock;
use crate::backplane::connect::{Connector, HEARTBEAT, HEARTBEAT_ANSWER, Server, check_primary};

/// Round trips that the first estimate of Redis' clock is made of.
const FIRST_SAMPLES: usize = 5;

/// A sending connection.
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    pub(super) server: Server,
    /// Is cancelled when the connection ends.
    pub(super) lost: CancellationToken,
}

/// Connects, and learns Redis' time.
pub(super) async fn open(connector: &Connector, clock: Option<&Clock>) -> Result<Link, RedisError> {
    let lost = CancellationToken::new();
    let ended = lost.clone();
    let push = move |info: PushInfo| -> Result<(), redis::aio::SendError> {
        if info.kind == PushKind::Disconnection {
            ended.cancel();
        }
        Ok(())
    };
    let (mut connection, server) = connector.connect(Some(ANSWER), push).await?;
    check_primary(&mut connection).await?;
    if let Some(clock) = clock {
        clock.reset();
        for _ in 0..FIRST_SAMPLES {
            ask_time(Some(clock), &mut connection).await?;
        }
    }
    Ok(Link { connection, server, lost })
}

/// Asks for the time again and again, which proves that the connection is alive and gives the
/// clock its samples, and whether the server is a primary.
pub(super) async fn heartbeat(
    clock: Option<Arc<Clock>>,
    mut connection: MultiplexedConnection,
) -> String {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let ask = async {
            ask_time(clock.as_deref(), &mut connection).await?;
            check_primary(&mut connection).await
        };
        match tokio::time::timeout(HEARTBEAT_ANSWER, ask).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return format!("no answer for {HEARTBEAT_ANSWER:?}"),
        }
    }
}

async fn ask_time(
    clock: Option<&Clock>,
    connection: &mut MultiplexedConnection,
) -> redis::RedisResult<()> {
    let sent = Instant::now();
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(connection).await?;
    let time = seconds.saturating_mul(1_000_000).saturating_add(micros);
    if let Some(clock) = clock {
        clock.sample(time, sent, Instant::now());
    }
    Ok(())
}
