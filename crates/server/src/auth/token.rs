//! Verifies a token's signature and claims. Pure: the time is passed in.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::decode_header;
use serde_json::{Map, Value};

use rookery_config::{Algorithm, Jwt};
use rookery_policy::Subject;

use super::error::AuthError;
use super::keys::KeySet;

/// How far this host's clock may be behind the issuer's when `nbf` is checked.
const NOT_BEFORE_LEEWAY: Duration = Duration::from_secs(5);

/// The claims of a valid token.
#[derive(Clone, Debug)]
pub struct Claims {
    /// All claims.
    pub map: Arc<Map<String, Value>>,
    /// The value of `userClaim` if it is text or a number.
    pub user: Option<String>,
    /// When the token expires. It may be so far in the future that adding to it overflows.
    pub expires: SystemTime,
}

impl Claims {
    /// The client with this token, as rules see it.
    pub fn subject(&self) -> Subject {
        Subject::new(self.user.clone(), self.map.clone())
    }
}

/// What `auth.jwt` requires of a token.
pub(super) struct Expected {
    algorithms: Vec<jsonwebtoken::Algorithm>,
    issuer: Option<String>,
    audience: Option<String>,
    user_claim: String,
}

impl Expected {
    pub(super) fn new(config: &Jwt) -> Self {
        Expected {
            algorithms: config.algorithms.iter().map(|a| library_name(*a)).collect(),
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            user_claim: config.user_claim.clone(),
        }
    }
}

/// Why a token was not verified.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The token's key is unknown, but a newer key set may have it.
    UnknownKey,
    /// The token is not accepted.
    Refused(AuthError),
}

impl Failure {
    /// The error for the client.
    pub(super) fn into_error(self) -> AuthError {
        match self {
            Failure::UnknownKey => {
                AuthError::Unauthenticated("the token is signed with an unknown key".to_owned())
            }
            Failure::Refused(error) => error,
        }
    }
}

/// Verifies the signature with every key that may have made it, then the claims.
pub(super) fn verify(
    token: &str,
    keys: &[Arc<KeySet>],
    expected: &Expected,
    now: SystemTime,
) -> Result<Claims, Failure> {
    let header = decode_header(token)
        .map_err(|_| refused("the token is not a JWT signed with a known algorithm (RFC 7519)"))?;
    if !expected.algorithms.contains(&header.alg) {
        return Err(refused(format!("the token's algorithm {:?} is not accepted", header.alg)));
    }
    // RFC 7515, section 4.1.11: a token whose extensions are not understood must be refused.
    if header.crit.is_some() {
        return Err(refused("the token's header has `crit`, which is not supported"));
    }
    let id = header.kid.as_deref();
    let (message, signature) = token.rsplit_once('.').expect("a token with a header has parts");
    let mut candidates = keys.iter().flat_map(|set| set.candidates(header.alg, id)).peekable();
    let none = candidates.peek().is_none();
    let signature = URL_SAFE_NO_PAD.decode(signature).ok();
    let is_signed = signature.is_some_and(|signature| {
        candidates.any(|key| key.verifies(message.as_bytes(), &signature))
    });
    if is_signed {
        return accept(claims(message)?, expected, now).map_err(Failure::Refused);
    }
    match id {
        Some(id) if !keys.iter().any(|set| set.has(id)) => Err(Failure::UnknownKey),
        None if none => Err(Failure::UnknownKey),
        _ => Err(refused("the token's signature is not valid")),
    }
}

/// The claims of a signed message, which consists of header and claims.
fn claims(message: &str) -> Result<Map<String, Value>, Failure> {
    let (_, payload) = message.split_once('.').expect("a token with a header has parts");
    let json = URL_SAFE_NO_PAD.decode(payload).ok();
    json.and_then(|json| serde_json::from_slice(&json).ok())
        .ok_or_else(|| refused("the token's claims are not a JSON object"))
}

/// Checks the claims of a token whose signature is valid (RFC 7519, section 4.1).
fn accept(
    claims: Map<String, Value>,
    expected: &Expected,
    now: SystemTime,
) -> Result<Claims, AuthError> {
    let unauthenticated = |message: &str| Err(AuthError::Unauthenticated(message.to_owned()));
    if let Some(issuer) = &expected.issuer
        && claims.get("iss").and_then(Value::as_str) != Some(issuer)
    {
        return unauthenticated("the token's `iss` is not the configured issuer");
    }
    if let Some(audience) = &expected.audience
        && !names(claims.get("aud"), audience)
    {
        return unauthenticated("the token's `aud` does not name the configured audience");
    }
    match claims.get("nbf").map(numeric_date) {
        Some(None) => return unauthenticated("the token's `nbf` is not a time"),
        Some(Some(start)) if start > now + NOT_BEFORE_LEEWAY => {
            return unauthenticated("the token is not valid yet");
        }
        _ => {}
    }
    let expires = match claims.get("exp").map(numeric_date) {
        None => return unauthenticated("the token has no `exp`"),
        Some(None) => return unauthenticated("the token's `exp` is not a time"),
        Some(Some(end)) if now >= end => return Err(AuthError::Expired),
        Some(Some(end)) => end,
    };
    let user = Subject::user_of(&claims, &expected.user_claim);
    Ok(Claims { map: Arc::new(claims), user, expires })
}

fn names(claim: Option<&Value>, audience: &str) -> bool {
    match claim {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(audience)),
        _ => false,
    }
}

/// Parses a time in seconds since 1970, which may have a fraction (RFC 7519, section 2, NumericDate).
/// Times before 1970 become 1970.
fn numeric_date(value: &Value) -> Option<SystemTime> {
    let since = match (value.as_u64(), value.as_f64()) {
        (Some(seconds), _) => Duration::from_secs(seconds),
        (None, Some(seconds)) if seconds < 0.0 => Duration::ZERO,
        (None, Some(seconds)) => Duration::try_from_secs_f64(seconds).ok()?,
        (None, None) => return None,
    };
    UNIX_EPOCH.checked_add(since)
}

fn refused(message: impl Into<String>) -> Failure {
    Failure::Refused(AuthError::Unauthenticated(message.into()))
}

fn library_name(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    use jsonwebtoken::Algorithm as Library;
    match algorithm {
        Algorithm::HS256 => Library::HS256,
        Algorithm::HS384 => Library::HS384,
        Algorithm::HS512 => Library::HS512,
        Algorithm::RS256 => Library::RS256,
        Algorithm::RS384 => Library::RS384,
        Algorithm::RS512 => Library::RS512,
        Algorithm::PS256 => Library::PS256,
        Algorithm::PS384 => Library::PS384,
        Algorithm::PS512 => Library::PS512,
        Algorithm::ES256 => Library::ES256,
        Algorithm::ES384 => Library::ES384,
        Algorithm::EdDSA => Library::EdDSA,
    }
}

#[cfg(test)]
mod tests;
