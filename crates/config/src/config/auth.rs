//! The section `auth`: clients' tokens and API keys.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Period;

/// Who may connect, and who may use the HTTP API.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Auth {
    /// Whether clients without a token may connect. By default they may only on a loopback address
    /// without `jwt`.
    pub anonymous: Option<bool>,
    /// How clients' tokens are verified.
    pub jwt: Option<Jwt>,
    /// A query parameter that may carry the token, for Socket.IO 2 in browsers.
    pub query_param: Option<String>,
    /// The file of API keys, one `name:key` per line.
    pub api_keys_file: Option<PathBuf>,
}

/// How clients' tokens are verified.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Jwt {
    /// The signature algorithms that are accepted.
    #[serde(default = "Jwt::default_algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// The file that holds the shared secret for HS256, HS384 and HS512.
    pub secret_file: Option<PathBuf>,
    /// The file that holds the public keys in PEM.
    pub public_key_file: Option<PathBuf>,
    /// The URL of the JSON Web Key Set (RFC 7517).
    pub jwks_url: Option<String>,
    /// How long the keys of `jwksUrl` stay in use after the last fetch that succeeded, at least 1s.
    #[serde(default = "Jwt::default_jwks_max_age")]
    pub jwks_max_age: Period,
    /// The `iss` that tokens must have. By default any is accepted.
    pub issuer: Option<String>,
    /// The `aud` that tokens must have. By default any is accepted.
    pub audience: Option<String>,
    /// The claim that names the user.
    #[serde(default = "Jwt::default_user_claim")]
    pub user_claim: String,
}

impl Jwt {
    fn default_algorithms() -> Vec<Algorithm> {
        vec![Algorithm::RS256]
    }

    /// The default of `jwks_max_age`: one day.
    pub fn default_jwks_max_age() -> Period {
        Period(Duration::from_secs(24 * 60 * 60))
    }

    fn default_user_claim() -> String {
        "sub".to_owned()
    }
}

/// Signature algorithms of tokens (RFC 7518, section 3.1, and RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}
