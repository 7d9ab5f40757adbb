//! Tokens and keys without files, fetches and clocks, for the fuzz targets.

use std::sync::Arc;
use std::time::SystemTime;

use rookery_config::{Algorithm, Jwt};

use super::error::AuthError;
use super::keys::KeySet;
use super::token::{self, Claims, Expected, Failure};

pub use super::keys::MAX_KEYS;

/// Keys that do not change, with which tokens of HS256, RS256, PS256, ES256 and EdDSA are verified.
pub struct FixedKeys {
    keys: [Arc<KeySet>; 2],
    expected: Expected,
}

impl FixedKeys {
    /// A shared secret, and public keys in PEM.
    ///
    /// # Panics
    /// If they are no keys.
    pub fn new(secret: &[u8], public: &str) -> Self {
        use Algorithm::{ES256, EdDSA, HS256, PS256, RS256};
        let jwt = Jwt {
            algorithms: vec![HS256, RS256, PS256, ES256, EdDSA],
            secret_file: None,
            public_key_file: None,
            jwks_url: None,
            jwks_max_age: Jwt::default_jwks_max_age(),
            issuer: None,
            audience: None,
            user_claim: "sub".to_owned(),
        };
        let keys = [KeySet::secret(secret), KeySet::pem(public)];
        FixedKeys {
            keys: keys.map(|set| Arc::new(set.expect("the keys can be used"))),
            expected: Expected::new(&jwt),
        }
    }

    /// Verifies a token at a time.
    ///
    /// # Errors
    /// As [`super::Verifier::verify`].
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Claims, AuthError> {
        token::verify(token, &self.keys, &self.expected, now).map_err(Failure::into_error)
    }
}

/// The number of usable keys in a JSON Web Key Set.
///
/// # Errors
/// If the text is no key set.
pub fn keys_in(json: &[u8]) -> Result<usize, String> {
    KeySet::jwks(json).map(|set| set.len())
}
