//! The issuer's key set.

use rookery_server::auth::fuzzing::{MAX_KEYS, keys_in};
use serde_json::Value;

use crate::repeat::repeated;
use crate::target::{Shape, Target};

/// The most bytes of a key set.
const MAX: usize = 1 << 20;

/// The most bytes of an error, which is logged.
const MAX_ERROR_BYTES: usize = 500;

/// A key of RFC 8037, appendix A.2.
const ED: &str =
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// The target.
pub const TARGET: Target = Target {
    name: "jwks",
    run,
    shapes: &[
        Shape {
            name: "keys",
            input: |n| repeated(format!("{{\"keys\":[{ED}"), format!(",{ED}").as_bytes(), b"]}", n),
            max: MAX,
        },
        Shape {
            name: "unusable keys",
            input: |n| repeated("{\"keys\":[0", b",{}", b"]}", n),
            max: MAX,
        },
        Shape {
            name: "a modulus",
            input: |n| repeated(r#"{"keys":[{"kty":"RSA","e":"AQAB","n":""#, b"AQAB", b"\"}]}", n),
            max: MAX,
        },
        Shape {
            name: "operations",
            input: |n| {
                repeated(
                    r#"{"keys":[{"kty":"oct","k":"AA","key_ops":["sign""#,
                    b",\"x\"",
                    b"]}]}",
                    n,
                )
            },
            max: MAX,
        },
        Shape { name: "text", input: |n| repeated("{\"keys\":\"", b"x", b"\"}", n), max: MAX },
        Shape { name: "nesting", input: |n| repeated("{\"keys\":", b"[", b"", n), max: MAX },
    ],
};

/// Parses a key set.
pub fn run(input: &[u8]) {
    match keys_in(input) {
        Ok(keys) => {
            assert!(keys <= MAX_KEYS, "{keys} keys");
            // The reference is stricter about what is ignored.
            if let Ok(set) = serde_json::from_slice::<Value>(input) {
                let listed = set["keys"].as_array().map_or(0, Vec::len);
                assert!(keys <= listed, "{keys} of {listed}");
            }
        }
        Err(error) => assert!(error.len() <= MAX_ERROR_BYTES, "{} bytes: {error}", error.len()),
    }
}
