//! Connections that Redis closes because more waits for them than its `client-output-buffer-limit`
//! permits.
//!
//! Redis does not tell a client why it closed its connection, but versions after 7.0 count such ends of
//! all clients in `client_output_buffer_limit_disconnections` (`INFO stats`). Where that has grown
//! when the subscribing connection was closed, that one was most likely among them.

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;

use crate::telemetry::metrics::Metrics;

/// What a server said about the clients that it closed for this reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Disconnections {
    /// The `run_id` of the server: it counts from 0 when it starts.
    server: String,
    count: u64,
}

/// Tells whether a connection that was closed was one of them.
#[derive(Debug, Default)]
pub(super) struct OutputBuffer {
    /// What the server said last, while the connection was up.
    last: Mutex<Option<Disconnections>>,
}

impl OutputBuffer {
    /// What the server says now; `None` where it does not count them, or does not permit `INFO`.
    pub async fn ask(connection: &mut MultiplexedConnection) -> Option<Disconnections> {
        let info = redis::cmd("INFO").arg("server").arg("stats").to_owned();
        parse(&info.query_async::<String>(connection).await.ok()?)
    }

    /// Asks the server again while the connection is up, if it answered before.
    pub async fn renew(&self, connection: &mut MultiplexedConnection) {
        let is_answered = self.last.lock().is_some();
        if is_answered && let Some(now) = Self::ask(connection).await {
            *self.last.lock() = Some(now);
        }
    }

    /// The connection is up again, to a server that says this; the last one `was_closed`, if it was
    /// not given up by this instance. Counts and logs an end for this reason.
    pub fn opened(&self, now: Option<Disconnections>, was_closed: bool, metrics: &Metrics) {
        let before = std::mem::replace(&mut *self.last.lock(), now.clone());
        if was_closed && is_more(before, now) {
            metrics.redis_output_buffer_disconnections.inc();
            tracing::warn!(
                hint = "raise `client-output-buffer-limit pubsub` of Redis, or give this instance more CPU",
                "Redis closed the connection that subscribes, as its output buffer was full"
            );
        }
    }
}

fn is_more(before: Option<Disconnections>, now: Option<Disconnections>) -> bool {
    let (Some(before), Some(now)) = (before, now) else { return false };
    before.server == now.server && before.count < now.count
}

fn parse(info: &str) -> Option<Disconnections> {
    let value = |name: &str| {
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
    };
    let count = value("client_output_buffer_limit_disconnections")?.parse().ok()?;
    Some(Disconnections { server: value("run_id")?.to_owned(), count })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(server: &str, count: u64) -> Option<Disconnections> {
        let (run, stats) = ("run_id", "client_output_buffer_limit_disconnections");
        parse(&format!("# Server\r\n{run}:{server}\r\n\r\n# Stats\r\na:1\r\n{stats}:{count}\r\n"))
    }

    #[test]
    fn the_count_is_that_of_the_server_that_gave_it() {
        assert_eq!(said("a", 3), Some(Disconnections { server: "a".to_owned(), count: 3 }));
        assert_eq!(parse("# Stats\r\ntotal_connections_received:1\r\n"), None);
        assert!(is_more(said("a", 1), said("a", 2)));
        for (before, now) in
            [(said("a", 1), said("a", 1)), (said("a", 0), said("b", 5)), (None, said("a", 5))]
        {
            assert!(!is_more(before, now));
        }
    }
}
