//! The [`Authenticator`]: who may connect to a namespace.

use std::sync::Arc;
use std::time::SystemTime;

use crate::auth::{AuthError, Verifier};
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
    /// header, or of the query.
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
            Some(Data::String(token)) if !token.is_empty() => Some(token.as_str()),
            Some(_) => {
                let refusal = Refusal::new(Code::Unauthenticated, "auth.token must be a string");
                return Err(refusal);
            }
        };
        let token = payload
            .or(credentials.and_then(|c| c.header.as_deref()))
            .or(credentials.and_then(|c| c.query.as_deref()))
            .filter(|token| !token.is_empty());
        if let (Some(token), Some(verifier)) = (token, &self.verifier) {
            let claims = verifier.verify(token).await.map_err(|e| refusal(&e))?;
            let subject = Arc::new(claims.subject());
            return Ok(Admission { subject, expires: Some(claims.expires) });
        }
        match (token, &self.anonymous) {
            (_, Some(anonymous)) => Ok(Admission { subject: anonymous.clone(), expires: None }),
            (None, _) => {
                let message =
                    "a token is required: send auth: { token } or an Authorization header";
                Err(Refusal::new(Code::Unauthenticated, message))
            }
            (Some(_), None) => {
                let message = "this server cannot verify tokens: auth.jwt is not configured";
                Err(Refusal::new(Code::Unauthenticated, message))
            }
        }
    }
}

/// The refusal of a token that could not be verified.
pub fn refusal(error: &AuthError) -> Refusal {
    Refusal::new(error.code(), error.to_string())
}
