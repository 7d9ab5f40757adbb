//! Clients' tokens, with keys of every kind that are known here.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use jsonwebtoken::{Algorithm, DecodingKey};
use rookery_server::auth::fuzzing::FixedKeys;
use rookery_server::auth::{bare_token, bearer_token};

use crate::repeat::repeated;
use crate::target::{Shape, Target};

/// The most bytes of a token here: that of an event's payload.
const MAX: usize = 1 << 20;

/// The most bytes of an error, which a client is told.
const MAX_ERROR_BYTES: usize = 300;

/// The shared secret of the corpus.
const SECRET: &[u8] = b"a secret of the corpus, of 32 bytes";

/// The public keys of the corpus.
const PUBLIC: [&str; 3] = [
    include_str!("../../../../tests/keys/rsa.pub.pem"),
    include_str!("../../../../tests/keys/ec256.pub.pem"),
    include_str!("../../../../tests/keys/ed25519.pub.pem"),
];

/// When the tokens are verified, in seconds since 1970.
const NOW: Duration = Duration::from_secs(1_700_000_000);

/// A header of a token without an id.
const HEADER: &str = "eyJhbGciOiJIUzI1NiJ9";

/// Parsing the keys takes much longer than verifying with them.
static KEYS: LazyLock<FixedKeys> = LazyLock::new(|| FixedKeys::new(SECRET, &PUBLIC.concat()));

/// The target.
pub const TARGET: Target = Target {
    name: "token",
    run,
    shapes: &[
        Shape { name: "a header", input: |n| repeated("", b"eyJh", b".e30.AAAA", n), max: MAX },
        Shape {
            name: "claims",
            input: |n| repeated(HEADER.to_owned() + ".", b"eyJh", b".AAAA", n),
            max: MAX,
        },
        Shape {
            name: "a signature",
            input: |n| repeated(HEADER.to_owned() + ".e30.", b"AAAA", b"", n),
            max: MAX,
        },
        Shape { name: "dots", input: |n| repeated(HEADER, b".", b"", n), max: MAX },
        Shape { name: "schemes", input: |n| repeated("", b"Bearer ", b"x", n), max: MAX },
        Shape { name: "blanks", input: |n| repeated("", "\u{feff} ".as_bytes(), b"", n), max: MAX },
    ],
};

/// Verifies a token. The signature of one that is accepted is valid for jsonwebtoken too.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let token = bare_token(&text);
    assert_eq!(bare_token(token), token);
    assert_eq!(bare_token(&format!("bEARER \t{text}\r\n")), token);
    assert!(bearer_token(&text).is_none_or(|bare| bare == token));
    match KEYS.verify(token, SystemTime::UNIX_EPOCH + NOW) {
        Ok(claims) => {
            assert!(claims.expires > SystemTime::UNIX_EPOCH + NOW, "an expired token is accepted");
            assert!(is_signed(token), "jsonwebtoken refuses the signature");
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() <= MAX_ERROR_BYTES, "{} bytes: {text}", text.len());
        }
    }
}

/// Whether jsonwebtoken takes the signature.
fn is_signed(token: &str) -> bool {
    let Ok(header) = jsonwebtoken::decode_header(token) else { return false };
    let Some((message, signature)) = token.rsplit_once('.') else { return false };
    let [rsa, ec, ed] = PUBLIC.map(str::as_bytes);
    let key = match header.alg {
        Algorithm::HS256 => Ok(DecodingKey::from_secret(SECRET)),
        Algorithm::ES256 => DecodingKey::from_ec_pem(ec),
        Algorithm::EdDSA => DecodingKey::from_ed_pem(ed),
        _ => DecodingKey::from_rsa_pem(rsa),
    };
    let key = key.expect("the key is one");
    jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, header.alg).unwrap_or(false)
}
