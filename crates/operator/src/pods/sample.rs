//! What is taken from a server's `/metrics`.

use thiserror::Error;

/// A server's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// `rookery_connections`, summed over its labels.
    pub connections: u64,
    /// `rookery_redis_up`, where the server has a Redis.
    pub redis_up: Option<bool>,
}

/// Why a text is not a server's metrics.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SampleError {
    /// The family is missing: something else listens there.
    #[error("no rookery_connections in the answer")]
    MissingConnections,
    /// A value is no number from 0.
    #[error("not a count: {0:?}")]
    InvalidValue(String),
}

impl Sample {
    /// Reads the Prometheus text format (version 0.0.4), of which only two families count.
    ///
    /// # Errors
    /// When there is no count of connections in it.
    pub fn parse(text: &str) -> Result<Self, SampleError> {
        let mut connections = None;
        let mut redis_up = None;
        for line in text.lines() {
            let name = line.split(['{', ' ', '\t']).next().unwrap_or_default();
            match name {
                "rookery_connections" => {
                    connections = Some(connections.unwrap_or(0u64).saturating_add(count(line)?));
                }
                "rookery_redis_up" => redis_up = Some(count(line)? > 0),
                _ => {}
            }
        }
        let connections = connections.ok_or(SampleError::MissingConnections)?;
        Ok(Sample { connections, redis_up })
    }
}

/// The value of a line `name{labels} value [timestamp]`. The labels' values hold no brace here.
fn count(line: &str) -> Result<u64, SampleError> {
    let invalid = || SampleError::InvalidValue(line.to_owned());
    let rest = match line.rsplit_once('}') {
        Some((_, rest)) => rest,
        None => line.split_once([' ', '\t']).ok_or_else(invalid)?.1,
    };
    let value: f64 =
        rest.split_whitespace().next().and_then(|v| v.parse().ok()).ok_or_else(invalid)?;
    if value.is_finite() && value >= 0.0 { Ok(value.round() as u64) } else { Err(invalid()) }
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
        assert_eq!(Sample::parse(text), Ok(Sample { connections: 42, redis_up: Some(true) }));
    }

    #[test]
    fn redis_is_only_known_where_there_is_one() {
        assert_eq!(
            Sample::parse("rookery_connections 0 1712345678\n"),
            Ok(Sample { connections: 0, redis_up: None })
        );
        assert_eq!(
            Sample::parse("rookery_redis_up 0\nrookery_connections{a=\"b\"} 1e3\n"),
            Ok(Sample { connections: 1000, redis_up: Some(false) })
        );
    }

    #[test]
    fn what_is_no_count_is_refused() {
        assert_eq!(Sample::parse("up 1\n"), Err(SampleError::MissingConnections));
        for invalid in
            ["rookery_connections", "rookery_connections NaN", "rookery_connections{a=\"b\"} -1"]
        {
            assert_eq!(Sample::parse(invalid), Err(SampleError::InvalidValue(invalid.to_owned())));
        }
    }
}
