//! [`Subject`]: the client that a rule decides about.

use std::collections::HashMap;
use std::sync::Arc;

use cel::Value;
use cel::common::value::Val;
use serde_json::{Map, Value as Json};

/// A client as rules see it: its user and the claims of its token.
///
/// Cloning is shallow. The claims are converted for CEL once, when the subject is made.
#[derive(Clone, Debug)]
pub struct Subject {
    user: Option<String>,
    claims: Arc<Map<String, Json>>,
    cel_claims: Arc<dyn Val>,
}

impl Subject {
    /// Creates the subject of a client with a token.
    pub fn new(user: Option<String>, claims: Arc<Map<String, Json>>) -> Self {
        let entries = claims.iter().map(|(key, claim)| (key.clone(), cel_value(claim)));
        let value = Value::from(entries.collect::<HashMap<_, _>>());
        let cel_claims: Box<dyn Val> =
            value.try_into().expect("JSON has no functions, and everything else converts");
        Subject { user, claims, cel_claims: cel_claims.into() }
    }

    /// Creates the subject of a client whose token has these claims; its user is the value of
    /// `user_claim`.
    pub fn from_claims(claims: Arc<Map<String, Json>>, user_claim: &str) -> Self {
        Subject::new(Self::user_of(&claims, user_claim), claims)
    }

    /// The user that the claims name: the value of `user_claim` if it is text or a number.
    pub fn user_of(claims: &Map<String, Json>, user_claim: &str) -> Option<String> {
        match claims.get(user_claim)? {
            Json::String(user) if !user.is_empty() => Some(user.clone()),
            Json::Number(user) => Some(user.to_string()),
            _ => None,
        }
    }

    /// Creates the subject of a client without a token, which has neither user nor claims.
    pub fn anonymous() -> Self {
        Subject::new(None, Arc::default())
    }

    /// The user that the token names; `None` without a token or without the claim.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The token's claims; empty without a token.
    pub fn claims(&self) -> &Arc<Map<String, Json>> {
        &self.claims
    }

    /// The value of the CEL variable `claims`.
    pub(super) fn cel_claims(&self) -> &dyn Val {
        &*self.cel_claims
    }
}

/// Converts JSON to CEL: whole numbers become `int`, or `uint` above its range, others `double`.
fn cel_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(int), _, _) => Value::Int(int),
            (_, Some(uint), _) => Value::UInt(uint),
            (_, _, double) => double.map_or(Value::Null, Value::Float),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::from(items.iter().map(cel_value).collect::<Vec<_>>()),
        Json::Object(fields) => {
            let entries = fields.iter().map(|(key, value)| (key.clone(), cel_value(value)));
            Value::from(entries.collect::<HashMap<_, _>>())
        }
    }
}
