//! One attempt to connect to a server, and the delays between attempts.

use std::time::Duration;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, RedisResult};
use rookery_backoff::Backoff;

/// How long a connection may take to be made, greeting included.
const CONNECT: Duration = Duration::from_secs(2);

/// Makes a connection to the server of `client`, whose messages, and whose end, `push` gets.
/// `answer`: how long an answer to a command may take.
///
/// # Errors
/// When the server does not answer in time, refuses, or is older than version 6.
pub(super) async fn open(
    client: &Client,
    answer: Option<Duration>,
    push: impl AsyncPushSender,
) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(answer)
        .set_push_sender(push);
    let connected = client.get_multiplexed_async_connection_with_config(&config);
    tokio::time::timeout(CONNECT, connected).await.unwrap_or_else(|_| {
        let error = std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within 2 s");
        Err(error.into())
    })
}

/// The delays between attempts to connect, from 50 ms to 2 s. They start again after a connection
/// that lasted; one that broke at once does not count, so that a server which accepts and closes is
/// not flooded.
pub struct ReconnectDelays(Backoff);

impl ReconnectDelays {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(2);
    const LASTING: Duration = Duration::from_secs(5);

    /// The delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        self.0.next_delay()
    }

    /// A connection lasted that long.
    pub fn lasted(&mut self, time: Duration) {
        if time >= Self::LASTING {
            self.0.reset();
        }
    }
}

impl Default for ReconnectDelays {
    fn default() -> Self {
        ReconnectDelays(Backoff::new(Self::FIRST, Self::LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_broke_at_once_does_not_start_the_delays_again() {
        let mut delays = ReconnectDelays::default();
        assert!(delays.next_delay() <= ReconnectDelays::FIRST);
        for _ in 0..100 {
            delays.next_delay();
        }
        delays.lasted(Duration::from_secs(1));
        assert!(delays.next_delay() >= ReconnectDelays::LONGEST / 2);
        delays.lasted(Duration::from_secs(60));
        assert!(delays.next_delay() <= ReconnectDelays::FIRST);
    }
}
