//! Verifies clients' tokens.
//!
//! [`Verifier`] ties the parts together: `token` checks signature and claims, `keys` parses keys
//! (both pure), `keyfile` and `jwks` keep the keys up to date.

mod error;
#[doc(hidden)]
pub mod fuzzing;
mod jwks;
mod keyfile;
mod keys;
mod presented;
mod signature_verifier;
#[cfg(test)]
mod testing;
mod timing;
mod token;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use rookery_config::{Algorithm, Jwt};

use jwks::Jwks;
use keyfile::{KeyFile, Kind};
use timing::Timing;
use token::{Expected, Failure};

pub use error::{AuthError, SetupError};
pub use keyfile::KeyReloads;
pub use presented::{bare_token, bearer_token};
pub use token::Claims;

/// Verifies clients' tokens as `auth.jwt` says.
pub struct Verifier {
    expected: Expected,
    files: Vec<KeyFile>,
    jwks: Option<Jwks>,
    /// How long a verification may wait for a key set.
    fetch_timeout: Duration,
}

impl Verifier {
    /// Reads the key files, whose changes are counted in `reloads`. [`Verifier::run`] fetches the key
    /// set.
    ///
    /// # Errors
    /// Fails if a key file cannot be read or holds no key, the URL is malformed, there is no source
    /// of keys, or no accepted algorithm uses a file's keys.
    pub fn new(config: &Jwt, reloads: &KeyReloads) -> Result<Arc<Self>, SetupError> {
        Self::with_timing(config, reloads, Timing::default())
    }

    fn with_timing(
        config: &Jwt,
        reloads: &KeyReloads,
        timing: Timing,
    ) -> Result<Arc<Self>, SetupError> {
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
            let file = KeyFile::open(path, kind, timing.file_check, reloads.clone());
            files.push(file.map_err(error)?);
        }
        let jwks = match &config.jwks_url {
            Some(url) => Some(
                Jwks::new(url, config.jwks_max_age.0, timing)
                    .map_err(|message| SetupError { key: "jwksUrl", message })?,
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
            fetch_timeout: timing.fetch_timeout,
        }))
    }

    /// Keeps the key set up to date until `cancel`. To be spawned once: no key set is fetched while it
    /// does not run. Returns at once without a `jwksUrl`.
    pub async fn run(self: Arc<Self>, cancel: CancellationToken) {
        if let Some(jwks) = &self.jwks {
            jwks.run(cancel).await;
        }
    }

    /// Whether there are keys; with `jwksUrl`, false until the first key set has been fetched.
    pub fn is_ready(&self) -> bool {
        self.jwks.as_ref().is_none_or(Jwks::is_ready)
    }

    /// Verifies `token` and returns its claims. A token with an unknown key has the key set fetched,
    /// at most once every 10 s for all tokens together, and waits for that for at most 5 s. The keys
    /// of a set that is older than `jwksMaxAge` are unknown.
    ///
    /// # Errors
    /// Says why the token is not accepted.
    pub async fn verify(&self, token: &str) -> Result<Claims, AuthError> {
        let result = match (self.attempt(token).await, &self.jwks) {
            (Err(Failure::UnknownKey), Some(jwks)) => {
                let retried = async {
                    while jwks.fetch_for_unknown_key().await {
                        match self.attempt(token).await {
                            Err(Failure::UnknownKey) => {}
                            result => return result,
                        }
                    }
                    Err(Failure::UnknownKey)
                };
                timeout(self.fetch_timeout, retried).await.unwrap_or(Err(Failure::UnknownKey))
            }
            (result, _) => result,
        };
        result.map_err(|failure| match (failure, &self.jwks) {
            (Failure::UnknownKey, Some(jwks)) if jwks.is_stale() => AuthError::StaleKeys,
            (failure, _) => failure.into_error(),
        })
    }

    /// The time since the key set was fetched; `None` before that, and without a `jwksUrl`.
    pub fn key_set_age(&self) -> Option<Duration> {
        self.jwks.as_ref().and_then(Jwks::age)
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

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use jsonwebtoken::EncodingKey;
    use serde_json::json;

    use super::testing::{self, ada, sign, signing_key};
    use super::*;

    fn config(algorithms: &[Algorithm]) -> Jwt {
        Jwt {
            algorithms: algorithms.to_vec(),
            secret_file: None,
            public_key_file: None,
            jwks_url: None,
            issuer: None,
            audience: None,
            jwks_max_age: Jwt::default_jwks_max_age(),
            user_claim: "sub".to_owned(),
        }
    }

    fn eager() -> Timing {
        Timing { file_check: Duration::ZERO, ..Timing::default() }
    }

    fn file(directory: &Path, content: &[u8]) -> PathBuf {
        let path = directory.join("key");
        std::fs::write(&path, content).unwrap();
        path
    }

    fn hs256(secret: &[u8]) -> String {
        sign(jsonwebtoken::Algorithm::HS256, &EncodingKey::from_secret(secret), None, &ada())
    }

    /// A secret that is long enough.
    fn long(secret: &[u8]) -> Vec<u8> {
        [secret, &[b'-'; 32]].concat()
    }

    fn problem(config: &Jwt) -> SetupError {
        Verifier::new(config, &KeyReloads::default()).map(|_| ()).unwrap_err()
    }

    #[tokio::test]
    async fn one_trailing_newline_is_not_part_of_a_secret() {
        let directory = tempfile::tempdir().unwrap();
        let secret = long(b" s3cret");
        for (end, kept) in
            [("", ""), ("\n", ""), ("\r\n", ""), ("\r", "\r"), ("\n\n", "\n"), (" \n", " ")]
        {
            let path = file(directory.path(), &[&secret, end.as_bytes()].concat());
            let config = Jwt { secret_file: Some(path), ..config(&[Algorithm::HS256]) };
            let verifier = Verifier::new(&config, &KeyReloads::default()).unwrap();
            let claims =
                verifier.verify(&hs256(&[&secret, kept.as_bytes()].concat())).await.unwrap();
            assert_eq!(claims.user.as_deref(), Some("ada"));
            assert!(verifier.verify(&hs256(b"other")).await.is_err());
            assert!(verifier.is_ready());
        }
    }

    #[tokio::test]
    async fn a_public_key_file_verifies_only_its_own_tokens() {
        let directory = tempfile::tempdir().unwrap();
        let path = file(directory.path(), testing::RSA_PUBLIC.as_bytes());
        let config = Jwt { public_key_file: Some(path), ..config(&[Algorithm::RS256]) };
        let verifier = Verifier::new(&config, &KeyReloads::default()).unwrap();
        let token =
            |pem| sign(jsonwebtoken::Algorithm::RS256, &signing_key(pem), Some("any"), &ada());
        assert!(verifier.verify(&token(testing::RSA)).await.is_ok());
        let error = verifier.verify(&token(testing::RSA2)).await.unwrap_err();
        assert_eq!(error.code().as_str(), "unauthenticated");
    }

    #[tokio::test]
    async fn a_changed_key_file_is_reloaded_and_a_malformed_one_is_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let path = file(directory.path(), &long(b"first"));
        let config = Jwt { secret_file: Some(path.clone()), ..config(&[Algorithm::HS256]) };
        let reloads = KeyReloads::default();
        let verifier = Verifier::with_timing(&config, &reloads, eager()).unwrap();
        let counted = || (reloads.applied.get(), reloads.refused.get());
        let accepts = async |secret: &[u8]| verifier.verify(&hs256(&long(secret))).await.is_ok();
        assert!(accepts(b"first").await);
        std::fs::write(&path, [&long(b"second")[..], b"\n"].concat()).unwrap();
        assert!(!accepts(b"first").await);
        assert!(accepts(b"second").await);
        assert_eq!(counted(), (1, 0));
        for (n, content) in ["short\n", "", "\n"].into_iter().enumerate() {
            std::fs::write(&path, content).unwrap();
            assert!(accepts(b"second").await && !accepts(b"").await);
            assert_eq!(counted(), (1, n as u64 + 1), "{content:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(accepts(b"second").await);
        std::fs::write(&path, long(b"third")).unwrap();
        assert!(accepts(b"third").await);
        assert_eq!(counted(), (2, 4));
    }

    #[tokio::test]
    async fn a_key_file_is_checked_at_most_once_per_period() {
        let directory = tempfile::tempdir().unwrap();
        let path = file(directory.path(), &long(b"first"));
        let config = Jwt { secret_file: Some(path.clone()), ..config(&[Algorithm::HS256]) };
        let timing = Timing { file_check: Duration::from_secs(3600), ..Timing::default() };
        let verifier = Verifier::with_timing(&config, &KeyReloads::default(), timing).unwrap();
        std::fs::write(&path, long(b"second")).unwrap();
        assert!(verifier.verify(&hs256(&long(b"first"))).await.is_ok());
    }

    #[tokio::test]
    async fn keys_of_all_sources_are_accepted() {
        let directory = tempfile::tempdir().unwrap();
        let secret_file = Some(file(directory.path(), &long(b"secret")));
        let public = directory.path().join("public");
        std::fs::write(&public, testing::ED_PUBLIC).unwrap();
        let config = Jwt {
            secret_file,
            public_key_file: Some(public),
            ..config(&[Algorithm::HS256, Algorithm::EdDSA])
        };
        let verifier = Verifier::new(&config, &KeyReloads::default()).unwrap();
        assert!(verifier.verify(&hs256(&long(b"secret"))).await.is_ok());
        let token = sign(jsonwebtoken::Algorithm::EdDSA, &signing_key(testing::ED), None, &ada());
        assert!(verifier.verify(&token).await.is_ok());
        let forged = hs256(testing::ED_PUBLIC.as_bytes());
        assert!(verifier.verify(&forged).await.is_err());
    }

    #[tokio::test]
    async fn an_expired_token_has_its_own_code() {
        let directory = tempfile::tempdir().unwrap();
        let path = file(directory.path(), &long(b"secret"));
        let config = Jwt { secret_file: Some(path), ..config(&[Algorithm::HS256]) };
        let verifier = Verifier::new(&config, &KeyReloads::default()).unwrap();
        let key = EncodingKey::from_secret(&long(b"secret"));
        let token = sign(jsonwebtoken::Algorithm::HS256, &key, None, &json!({"exp": 1}));
        assert_eq!(verifier.verify(&token).await.unwrap_err(), AuthError::Expired);
    }

    #[test]
    fn a_setup_error_names_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let secret_file = Some(file(directory.path(), &long(b"secret")));
        let missing = Some(directory.path().join("missing"));
        let empty = directory.path().join("empty");
        std::fs::write(&empty, "").unwrap();
        let cases = [
            (config(&[]), "algorithms", "[RS256]"),
            (config(&[Algorithm::RS256]), "jwksUrl", "write secretFile, publicKeyFile or jwksUrl"),
            (Jwt { secret_file, ..config(&[Algorithm::RS256]) }, "secretFile", "HS256"),
            (
                Jwt { public_key_file: missing.clone(), ..config(&[Algorithm::HS256]) },
                "publicKeyFile",
                "RS256",
            ),
            (Jwt { secret_file: missing, ..config(&[Algorithm::HS256]) }, "secretFile", "missing"),
            (
                Jwt { secret_file: Some(empty.clone()), ..config(&[Algorithm::HS256]) },
                "secretFile",
                "empty",
            ),
            (
                Jwt { public_key_file: Some(empty), ..config(&[Algorithm::RS256]) },
                "publicKeyFile",
                "BEGIN PUBLIC KEY",
            ),
        ];
        for (config, key, message) in cases {
            let error = problem(&config);
            assert_eq!(error.key, key);
            assert!(error.to_string().contains(message), "{error}");
        }
        for url in ["", "issuer.example", "ftp://issuer.example/keys", "file:///etc/keys"] {
            let config = Jwt { jwks_url: Some(url.to_owned()), ..config(&[Algorithm::RS256]) };
            assert_eq!(problem(&config).key, "jwksUrl", "{url}");
        }
    }
}
