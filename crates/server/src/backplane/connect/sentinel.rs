//! The task that asks one sentinel, and listens to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Client, ErrorKind, PushInfo, PushKind, RedisError, RedisResult, ServerErrorKind};
use rookery_ops::throttle::{Throttle, limited};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::advice::{Asked, advice};
use super::attempts::{ReconnectDelays, open};
use super::sentinels::{Primary, SentinelAnswer, Sentinels};

/// Time between two questions to a sentinel. It also says by itself when there is another primary.
const ASK: Duration = Duration::from_secs(1);

/// How long a sentinel's answer may take.
const ANSWER: Duration = Duration::from_secs(1);

/// The channel on which a sentinel says that there is another primary (Redis documentation, "High
/// availability with Redis Sentinel", section "Pub/Sub messages").
const SWITCHES: &str = "+switch-master";

/// Asks one of the sentinels.
pub(in crate::backplane) struct SentinelWatch {
    /// Its address, for the log.
    address: String,
    index: usize,
    client: Client,
    sentinels: Arc<Sentinels>,
    /// Of the lines about this sentinel.
    lines: Throttle,
}

impl SentinelWatch {
    /// Asks sentinel number `index`, which is at `address`, by connections of `client`.
    pub(super) fn new(
        (index, address): (usize, String),
        client: Client,
        sentinels: Arc<Sentinels>,
        lines: Throttle,
    ) -> Self {
        SentinelWatch { address, index, client, sentinels, lines }
    }

    /// Asks until `shutdown`.
    pub(in crate::backplane) async fn run(self, shutdown: CancellationToken) {
        let mut delays = ReconnectDelays::default();
        while !shutdown.is_cancelled() {
            let since = Instant::now();
            let ended = tokio::select! {
                () = shutdown.cancelled() => return,
                ended = self.ask_until_it_fails() => ended,
            };
            delays.lasted(since.elapsed());
            let why = format!("{}: {ended}", self.address);
            self.sentinels.set(self.index, SentinelAnswer::Away(why));
            let (sentinel, hint) = (&*self.address, advice(&ended.to_string(), Asked::Sentinel));
            limited!(self.lines, warn, %sentinel, error = %ended, hint, "cannot ask a sentinel");
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(delays.next_delay()) => {}
            }
        }
    }

    /// Keeps a connection, and asks on it at least every [`ASK`]; gives why it ended.
    async fn ask_until_it_fails(&self) -> RedisError {
        let says = Arc::new(Notify::new());
        let push = {
            let says = says.clone();
            move |info: PushInfo| -> Result<(), redis::aio::SendError> {
                // After a disconnection the next question fails.
                if matches!(info.kind, PushKind::Message | PushKind::Disconnection) {
                    says.notify_one();
                }
                Ok(())
            }
        };
        let mut connection = match open(&self.client, Some(ANSWER), push).await {
            Ok(connection) => connection,
            Err(error) => return error,
        };
        if let Err(error) = connection.subscribe(SWITCHES).await {
            if !is_refused(&error) {
                return error;
            }
            let sentinel = &*self.address;
            limited!(
                self.lines,
                info,
                %sentinel,
                %error,
                "a sentinel does not permit SUBSCRIBE: failovers are noticed by asking it every second"
            );
        }
        loop {
            match self.ask(&mut connection).await {
                Ok(answer) => self.answered(answer),
                Err(error) => return error,
            }
            // Without a message from it, it is asked again all the same.
            let _ = tokio::time::timeout(ASK, says.notified()).await;
        }
    }

    fn answered(&self, answer: SentinelAnswer) {
        if answer == SentinelAnswer::NoSuchPrimary {
            let (sentinel, primary) = (&*self.address, self.sentinels.name());
            limited!(
                self.lines,
                warn,
                %sentinel,
                %primary,
                "a sentinel does not know the primary; correct redis.sentinel.master, or the end of redis.url"
            );
        }
        self.sentinels.set(self.index, answer);
    }

    async fn ask(&self, connection: &mut MultiplexedConnection) -> RedisResult<SentinelAnswer> {
        let name = self.sentinels.name();
        let master = redis::cmd("SENTINEL").arg("MASTER").arg(name).to_owned();
        match master.query_async::<HashMap<String, String>>(connection).await {
            Ok(fields) => {
                Ok(primary(&fields).map_or(SentinelAnswer::NoSuchPrimary, SentinelAnswer::Primary))
            }
            Err(error) if is_unknown(&error) => Ok(SentinelAnswer::NoSuchPrimary),
            Err(error) if is_refused(&error) => ask_for_address(connection, name).await,
            Err(error) => Err(error),
        }
    }
}

/// Asks for the address alone, which tells no epoch.
async fn ask_for_address(
    connection: &mut MultiplexedConnection,
    name: &str,
) -> RedisResult<SentinelAnswer> {
    let address = redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name).to_owned();
    let address: Option<(String, u16)> = address.query_async(connection).await?;
    Ok(match address {
        Some(address) => SentinelAnswer::Primary(Primary { address, epoch: None }),
        None => SentinelAnswer::NoSuchPrimary,
    })
}

/// The primary in the answer to SENTINEL MASTER.
fn primary(fields: &HashMap<String, String>) -> Option<Primary> {
    let port = fields.get("port")?.parse().ok()?;
    let epoch = fields.get("config-epoch").and_then(|epoch| epoch.parse().ok());
    Some(Primary { address: (fields.get("ip")?.clone(), port), epoch })
}

/// Whether the sentinel lives and refuses this command: an ACL forbids it, or it has none of that
/// name.
fn is_refused(error: &RedisError) -> bool {
    let is_error = error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError);
    let is_forbidden = error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm);
    is_forbidden || (is_error && error.to_string().to_lowercase().contains("unknown"))
}

fn is_unknown(error: &RedisError) -> bool {
    error.to_string().contains("No such master with that name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primary_is_read_from_the_fields_of_a_sentinel() {
        let fields = |all: &[(&str, &str)]| {
            all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let all = fields(&[("name", "m"), ("ip", "::1"), ("port", "6379"), ("config-epoch", "7")]);
        let found = primary(&all).unwrap();
        assert_eq!((found.to_string().as_str(), found.epoch), ("[::1]:6379", Some(7)));
        assert_eq!(primary(&fields(&[("ip", "h"), ("port", "x")])), None);
    }
}
