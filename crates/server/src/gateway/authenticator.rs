//! The [`Authenticator`]: who may connect to a namespace.

use std::sync::Arc;
use std::time::SystemTime;

use crate::auth::{Claims, Verifier, bare_token};
use rookery_policy::{Code, Refusal, Subject};
use rookery_protocol::Data;

/// Decides who may connect.
pub struct Authenticator {
    /// Verifies tokens; `None` where `auth.jwt` is not configured.
    pub verifier: Option<Arc<Verifier>>,
    /// The subject that all clients without a token share; `None` where a token is required.
    pub anonymous: Option<Arc<Subject>>,
}

/// The tokens that a session's first HTTP request carried.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The bearer token of the `Authorization` header.
    pub header: Option<String>,
    /// The value of the query parameter that `auth.queryParam` names.
    pub query: Option<String>,
}

/// A client that may connect.
pub struct Admission {
    /// The client's user and claims.
    pub subject: Arc<Subject>,
    /// When the client's token expires; `None` for an anonymous client.
    pub expires: Option<SystemTime>,
}

impl Authenticator {
    /// Verifies tokens by `verifier`; `anonymous` says whether clients without one may connect.
    pub fn new(verifier: Option<Arc<Verifier>>, anonymous: bool) -> Self {
        let anonymous = anonymous.then(|| Arc::new(Subject::anonymous()));
        Authenticator { verifier, anonymous }
    }

    /// Admits a client by its first token: that of the auth payload, of the `Authorization`
    /// header, or of the query. A source that holds nothing but white space holds no token.
    ///
    /// # Errors
    /// Why it may not connect. An invalid token is refused even where none is required.
    pub async fn admit(
        &self,
        auth: Option<&Data>,
        credentials: Option<&Credentials>,
    ) -> Result<Admission, Refusal> {
        let payload = match auth.and_then(|a| a.get("token")) {
            None | Some(Data::Null) => None,
            Some(Data::String(token)) => Some(token.as_str()),
            Some(_) => {
                let refusal = Refusal::new(Code::Unauthenticated, "auth.token must be a string");
                return Err(refusal);
            }
        };
        let header = credentials.and_then(|c| c.header.as_deref());
        let query = credentials.and_then(|c| c.query.as_deref());
        let sources = [payload, header, query];
        let presented = sources.iter().flatten().map(|text| bare_token(text));
        let token = presented.clone().find(|token| !token.is_empty());
        if let (Some(token), Some(verifier)) = (token, &self.verifier) {
            let claims = verify(verifier, token).await?;
            let subject = Arc::new(claims.subject());
            return Ok(Admission { subject, expires: Some(claims.expires) });
        }
        let message = match (token, &self.anonymous) {
            (_, Some(anonymous)) => {
                return Ok(Admission { subject: anonymous.clone(), expires: None });
            }
            (None, None) if presented.count() > 0 => EMPTY_TOKEN,
            (None, None) => "a token is required: send auth: { token } or an Authorization header",
            (Some(_), None) => "this server cannot verify tokens: auth.jwt is not configured",
        };
        Err(Refusal::new(Code::Unauthenticated, message))
    }
}

/// The message for a token of which nothing is left.
pub const EMPTY_TOKEN: &str = "the token is empty: send the token itself, as auth: { token }";

/// Verifies a token without white space around it.
///
/// # Errors
/// Why it is refused.
pub async fn verify(verifier: &Verifier, token: &str) -> Result<Claims, Refusal> {
    if let Some(message) = no_value(token) {
        return Err(Refusal::new(Code::Unauthenticated, message));
    }
    verifier.verify(token).await.map_err(|error| Refusal::new(error.code(), error.to_string()))
}

/// What to say of a token that is the text of a JavaScript variable without a value.
fn no_value(token: &str) -> Option<String> {
    let is_value = !matches!(token, "undefined" | "null");
    (!is_value).then(|| format!("the token is the text `{token}`: the client has no token yet"))
}

#[cfg(test)]
mod tests;
