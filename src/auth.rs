//! Who a client is: tokens, and the keys that they are verified with.
//!
//! [`Verifier`] is the wiring; what a token must hold is `token`'s, keys are `keys`'s (both pure),
//! `keyfile` and `jwks` keep them fresh.

mod jwks;
mod keyfile;
mod keys;
mod token;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::{Algorithm, Jwt};
use crate::policy::Code;

use jwks::Jwks;
use keyfile::{KeyFile, Kind};
use token::{Expected, Failure};

pub use token::Claims;

/// Verifies clients' tokens by `auth.jwt`.
pub struct Verifier {
    expected: Expected,
    files: Vec<KeyFile>,
    jwks: Option<Jwks>,
    patience: Duration,
}

/// Why a token is not accepted. No message holds any of the token's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// It is not valid; the sentence says why, for the client.
    #[error("{0}")]
    Unauthenticated(String),
    /// It was valid once.
    #[error("the token has expired; get a new one")]
    Expired,
}

impl AuthError {
    /// The code that the client sees.
    pub fn code(&self) -> Code {
        match self {
            AuthError::Unauthenticated(_) => Code::Unauthenticated,
            AuthError::Expired => Code::TokenExpired,
        }
    }
}

/// What is wrong with `auth.jwt`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("auth.jwt.{key}: {message}")]
pub struct SetupError {
    /// Which key of `auth.jwt`.
    pub key: &'static str,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// How often keys may be read and fetched.
#[derive(Clone, Copy, Debug)]
struct Timing {
    /// A key file is read at most this often.
    file: Duration,
    /// The key set is fetched this often.
    refresh: Duration,
    /// The first key set is asked for this often until it is there, and later ones at most this
    /// often because of a key that is not known.
    retry: Duration,
    /// How long a fetch, and a verification that waits for one, may take.
    fetch: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            file: Duration::from_secs(1),
            refresh: Duration::from_secs(300),
            retry: Duration::from_secs(10),
            fetch: Duration::from_secs(5),
        }
    }
}

impl Verifier {
    /// Reads the key files. A key set is fetched by [`Verifier::run`].
    ///
    /// # Errors
    /// A key file that cannot be read or holds no key, a URL that is none, no source of keys, or
    /// a file for which no algorithm is accepted.
    pub fn new(config: &Jwt) -> Result<Arc<Self>, SetupError> {
        Self::with_timing(config, Timing::default())
    }

    fn with_timing(config: &Jwt, timing: Timing) -> Result<Arc<Self>, SetupError> {
        if config.algorithms.is_empty() {
            let message = "it is empty; name the accepted ones, such as [RS256]".to_owned();
            return Err(SetupError { key: "algorithms", message });
        }
        let mut files = Vec::new();
        let sources =
            [(&config.secret_file, Kind::Secret), (&config.public_key_file, Kind::Public)];
        for (path, kind) in sources {
            let Some(path) = path else { continue };
            let error = |message| SetupError { key: kind.config_key(), message };
            require_use(kind, &config.algorithms).map_err(error)?;
            files.push(KeyFile::open(path, kind, timing.file).map_err(error)?);
        }
        let jwks = match &config.jwks_url {
            Some(url) => Some(
                Jwks::new(url, timing).map_err(|message| SetupError { key: "jwksUrl", message })?,
            ),
            None if files.is_empty() => {
                let message =
                    "it is missing; write secretFile, publicKeyFile or jwksUrl".to_owned();
                return Err(SetupError { key: "jwksUrl", message });
            }
            None => None,
        };
        Ok(Arc::new(Verifier {
            expected: Expected::new(config),
            files,
            jwks,
            patience: timing.fetch,
        }))
    }

    /// Keeps the key set fresh until `cancel`; to be spawned once. Returns at once where no
    /// `jwksUrl` is configured. While it does not run, no key set is fetched.
    pub async fn run(self: Arc<Self>, cancel: CancellationToken) {
        if let Some(jwks) = &self.jwks {
            jwks.run(cancel).await;
        }
    }

    /// Whether there are keys: false with `jwksUrl` until the first key set is here.
    pub fn is_ready(&self) -> bool {
        self.jwks.as_ref().is_none_or(Jwks::is_ready)
    }

    /// What `token` says, where it is valid now. For a key that is not known this waits for the
    /// key set to be fetched, at most 5 s and at most once every 10 s for all tokens together.
    ///
    /// # Errors
    /// Why the token is not accepted.
    pub async fn verify(&self, token: &str) -> Result<Claims, AuthError> {
        let result = match (self.attempt(token).await, &self.jwks) {
            (Err(Failure::UnknownKey), Some(jwks)) => {
                let late = async {
                    while jwks.fetch_for_unknown_key().await {
                        match self.attempt(token).await {
                            Err(Failure::UnknownKey) => {}
                            result => return result,
                        }
                    }
                    Err(Failure::UnknownKey)
                };
                timeout(self.patience, late).await.unwrap_or(Err(Failure::UnknownKey))
            }
            (result, _) => result,
        };
        result.map_err(Failure::into_error)
    }

    async fn attempt(&self, token: &str) -> Result<Claims, Failure> {
        let mut keys = Vec::with_capacity(2);
        for file in &self.files {
            keys.push(file.keys().await);
        }
        keys.extend(self.jwks.as_ref().map(Jwks::keys));
        token::verify(token, &keys, &self.expected, SystemTime::now())
    }
}

fn require_use(kind: Kind, algorithms: &[Algorithm]) -> Result<(), String> {
    use Algorithm::{HS256, HS384, HS512};
    let is_hmac = |a: &Algorithm| matches!(a, HS256 | HS384 | HS512);
    let (used, suited) = match kind {
        Kind::Secret => (algorithms.iter().any(is_hmac), "HS256"),
        Kind::Public => (algorithms.iter().any(|a| !is_hmac(a)), "RS256, ES256 or EdDSA"),
    };
    match used {
        true => Ok(()),
        false => Err(format!(
            "no algorithm in auth.jwt.algorithms uses it; add the one of your tokens, such as {suited}"
        )),
    }
}
