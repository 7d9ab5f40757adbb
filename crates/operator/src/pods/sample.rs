//! The values that the operator uses from a server's `/metrics`.

use std::sync::Arc;

use thiserror::Error;

/// The most bytes of a line that an error quotes.
const MAX_QUOTED_BYTES: usize = 200;

/// The values of one scrape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Number of connections: `rookery_connections`, summed over its labels.
    pub connections: u64,
    /// Whether Redis is connected: `rookery_redis_up`; `None` if the server has no Redis.
    pub redis_up: Option<bool>,
    /// Number of deliveries so far: `rookery_deliveries_total`, written or dropped; `None` if the
    /// server does not say.
    pub deliveries: Option<u64>,
    /// Bytes that wait in outboxes: `rookery_outbox_bytes`; `None` if the server does not say.
    pub outbox_bytes: Option<u64>,
    /// Version of the server: the label of `rookery_build_info`; `None` if it says none.
    pub version: Option<Arc<str>>,
}

/// The label of the deliveries that are no work: their recipient had left.
const GONE: &str = "outcome=\"gone\"";

/// The longest version that is kept, in bytes.
const MAX_VERSION_BYTES: usize = 64;

/// Why a response is not usable.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SampleError {
    /// The family is missing: another program listens on this port.
    #[error("no rookery_connections in the response")]
    MissingConnections,
    /// A value is not a finite, non-negative number. As quoted, the line is cut after 200
    /// bytes.
    #[error("not a count: {0:?}")]
    InvalidValue(String),
}

impl Sample {
    /// Parses the Prometheus text format (version 0.0.4), ignoring all other families.
    ///
    /// # Errors
    /// If the count of connections is missing or invalid.
    pub fn parse(text: &str) -> Result<Self, SampleError> {
        let mut connections = None;
        let mut sample = Sample::default();
        for line in text.lines() {
            let name = line.split(['{', ' ', '\t']).next().unwrap_or_default();
            match name {
                "rookery_connections" => {
                    connections = Some(connections.unwrap_or(0u64).saturating_add(count(line)?));
                }
                "rookery_build_info" => sample.version = version_of(line),
                "rookery_redis_up" => sample.redis_up = Some(count(line)? > 0),
                "rookery_deliveries_total" if !line.contains(GONE) => {
                    let before = sample.deliveries.unwrap_or(0);
                    sample.deliveries = Some(before.saturating_add(count(line)?));
                }
                "rookery_outbox_bytes" => sample.outbox_bytes = Some(count(line)?),
                _ => {}
            }
        }
        let connections = connections.ok_or(SampleError::MissingConnections)?;
        Ok(Sample { connections, ..sample })
    }

    /// Whether it says the same as another, apart from the load, which changes all the time.
    pub fn is_same_state(&self, other: &Sample) -> bool {
        let state = |sample: &Sample| (sample.connections, sample.redis_up, sample.version.clone());
        state(self) == state(other)
    }
}

/// The label `version` of a line, if it is a plain one.
fn version_of(line: &str) -> Option<Arc<str>> {
    let (_, rest) = line.split_once("version=\"")?;
    let (version, _) = rest.split_once('"')?;
    let is_plain = version.bytes().all(|b| b.is_ascii_alphanumeric() || b".-+_".contains(&b));
    (is_plain && version.len() <= MAX_VERSION_BYTES).then(|| version.into())
}

/// The value of a line `name{labels} value [timestamp]`. Label values of these families contain no
/// brace.
fn count(line: &str) -> Result<u64, SampleError> {
    let invalid = || SampleError::InvalidValue(quoted(line));
    let rest = match line.rsplit_once('}') {
        Some((_, rest)) => rest,
        None => line.split_once([' ', '\t']).ok_or_else(invalid)?.1,
    };
    let value: f64 =
        rest.split_whitespace().next().and_then(|v| v.parse().ok()).ok_or_else(invalid)?;
    if value.is_finite() && value >= 0.0 { Ok(value.round() as u64) } else { Err(invalid()) }
}

/// The line as far as an error quotes it: a pod may send one of megabytes, and characters that are
/// escaped take more.
fn quoted(line: &str) -> String {
    let mut left = MAX_QUOTED_BYTES;
    let fits = |character: &char| {
        let size = character.escape_debug().map(char::len_utf8).sum();
        let rest = left.checked_sub(size);
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    line.chars().take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_summed_over_transports() {
        let text = "# HELP rookery_connections Sessions\n# TYPE rookery_connections gauge\n\
            rookery_connections{transport=\"polling\"} 7\n\
            rookery_connections{transport=\"websocket\"} 35\n\
            rookery_connections_other 9\nrookery_redis_up 1\n";
        assert_eq!(
            Sample::parse(text),
            Ok(Sample { connections: 42, redis_up: Some(true), ..Sample::default() })
        );
    }

    #[test]
    fn redis_is_unknown_without_its_metric() {
        assert_eq!(Sample::parse("rookery_connections 0 1712345678\n"), Ok(Sample::default()));
        assert_eq!(
            Sample::parse("rookery_redis_up 0\nrookery_connections{a=\"b\"} 1e3\n"),
            Ok(Sample { connections: 1000, redis_up: Some(false), ..Sample::default() })
        );
    }

    #[test]
    fn the_load_is_read_without_deliveries_to_recipients_that_had_left() {
        let text = "rookery_deliveries_total{outcome=\"written\"} 40\n\
            rookery_deliveries_total{outcome=\"dropped_slow\"} 2\n\
            rookery_deliveries_total{outcome=\"gone\"} 100\n\
            rookery_outbox_bytes 4096\nrookery_connections 1\n";
        let sample = Sample::parse(text).unwrap();
        assert_eq!((sample.deliveries, sample.outbox_bytes), (Some(42), Some(4096)));
        assert!(sample.is_same_state(&Sample { connections: 1, ..Sample::default() }));
        assert!(!sample.is_same_state(&Sample::default()));
    }

    #[test]
    fn the_version_is_read_if_it_is_a_plain_one() {
        let version = |label: &str| {
            let text =
                format!("rookery_build_info{{version=\"{label}\"}} 1\nrookery_connections 0\n");
            Sample::parse(&text).unwrap().version
        };
        assert_eq!(version("0.1.0-rc.1+a"), Some("0.1.0-rc.1+a".into()));
        assert_eq!(version("a b"), None);
        assert_eq!(version(&"9".repeat(65)), None);
    }

    #[test]
    fn an_invalid_count_is_rejected() {
        assert_eq!(Sample::parse("up 1\n"), Err(SampleError::MissingConnections));
        for invalid in
            ["rookery_connections", "rookery_connections NaN", "rookery_connections{a=\"b\"} -1"]
        {
            assert_eq!(Sample::parse(invalid), Err(SampleError::InvalidValue(invalid.to_owned())));
        }
    }

    #[test]
    fn an_error_quotes_the_start_of_a_long_line() {
        let line = format!("rookery_connections {}", "\u{e9}".repeat(1 << 20));
        let Err(SampleError::InvalidValue(quoted)) = Sample::parse(&line) else { panic!() };
        assert!(quoted.len() <= MAX_QUOTED_BYTES && line.starts_with(&quoted));
        let escaped = Sample::parse(&format!("rookery_connections {}", "\u{4}".repeat(1000)));
        assert!(escaped.unwrap_err().to_string().len() < MAX_QUOTED_BYTES + 50);
    }
}
