//! [`AuthError`] and [`SetupError`]: why a token, or the configuration of tokens, is not accepted.

use rookery_policy::Code;

/// Why a token is not accepted. No message quotes the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The token is not valid; the sentence tells the client why.
    #[error("{0}")]
    Unauthenticated(String),
    /// The keys of `auth.jwt.jwksUrl` are older than `auth.jwt.jwksMaxAge`.
    #[error(
        "the server's keys for tokens are out of date: it has not reached its issuer for too long; \
         try again later"
    )]
    StaleKeys,
    /// The token has expired.
    #[error("the token has expired; get a new one")]
    Expired,
}

impl AuthError {
    /// The code that the client receives.
    pub fn code(&self) -> Code {
        match self {
            AuthError::Unauthenticated(_) | AuthError::StaleKeys => Code::Unauthenticated,
            AuthError::Expired => Code::TokenExpired,
        }
    }
}

/// Why tokens cannot be verified as `auth.jwt` says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("auth.jwt.{key}: {message}")]
pub struct SetupError {
    /// The key of `auth.jwt` that is wrong.
    pub key: &'static str,
    /// What is wrong, and what to write instead.
    pub message: String,
}
