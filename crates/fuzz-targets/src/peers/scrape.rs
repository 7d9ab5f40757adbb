//! What server pods answer to the operator's scrapes.

use rookery_operator::fuzzing::Sample;

use crate::repeat::{numbered, repeated};
use crate::target::{Shape, Target};

/// The most bytes of an answer.
const MAX: usize = 4 << 20;

/// The most bytes of an error, which is logged.
const MAX_ERROR_BYTES: usize = 500;

/// The target.
pub const TARGET: Target = Target {
    name: "scrape",
    run,
    shapes: &[
        Shape { name: "series", input: series, max: MAX },
        Shape {
            name: "other families",
            input: |n| repeated("", b"up 1\n", b"rookery_connections 1\n", n),
            max: MAX,
        },
        Shape {
            name: "a line",
            input: |n| repeated("rookery_connections", b"}", b"", n),
            max: MAX,
        },
        Shape {
            name: "blanks",
            input: |n| repeated("rookery_connections", b" \t", b"1", n),
            max: MAX,
        },
        Shape {
            name: "a number",
            input: |n| repeated("rookery_connections ", b"9", b"", n),
            max: MAX,
        },
    ],
};

/// Parses an answer, also with other families around it.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let sample = Sample::parse(&text);
    let around =
        format!("# TYPE up gauge\nup 1\n{text}\nrookery_connections_total{{a=\"b\"}} -1\n");
    assert_eq!(Sample::parse(&around).ok(), sample.as_ref().ok().cloned());
    match sample {
        Ok(sample) => {
            assert!(text.contains("rookery_connections"));
            let (connections, redis_up) = (sample.connections, sample.redis_up);
            let redis = redis_up.map(|up| format!("rookery_redis_up {}\n", u8::from(up)));
            // A count above 2^53 is not exact in the text format.
            if connections < 1 << 53 {
                let version = sample.version.as_deref();
                let version = version.map(|v| format!("rookery_build_info{{version=\"{v}\"}} 1\n"));
                let rest = redis.unwrap_or_default() + &version.unwrap_or_default();
                let written = format!("rookery_connections {connections}\n{rest}");
                assert_eq!(Sample::parse(&written), Ok(sample));
            }
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() <= MAX_ERROR_BYTES, "{} bytes", text.len());
        }
    }
}

fn series(size: usize) -> Vec<u8> {
    numbered("", |n| format!("rookery_connections{{a=\"{n}\"}} 1"), "\n", "\n", size)
}
