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
    /// Elements and words of the claims.
    size: u64,
}

impl Subject {
    /// Creates the subject of a client with a token.
    pub fn new(user: Option<String>, claims: Arc<Map<String, Json>>) -> Self {
        let entries = claims.iter().map(|(key, claim)| (key.clone(), cel_value(claim)));
        let value = Value::from(entries.collect::<HashMap<_, _>>());
        let cel_claims: Box<dyn Val> =
            value.try_into().expect("JSON has no functions, and everything else converts");
        let size = claims.iter().map(|(key, claim)| words(key) + size_of(claim)).sum();
        Subject { user, claims, cel_claims: cel_claims.into(), size }
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

    /// How large the claims are: their values, with a word of 8 bytes of text as one.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The value of the CEL variable `claims`.
    pub(super) fn cel_claims(&self) -> &dyn Val {
        &*self.cel_claims
    }
}

/// The number of values in a claim, with a word of 8 bytes of text as one.
fn size_of(json: &Json) -> u64 {
    match json {
        Json::Null | Json::Bool(_) | Json::Number(_) => 1,
        Json::String(text) => words(text),
        Json::Array(items) => 1 + items.iter().map(size_of).sum::<u64>(),
        Json::Object(fields) => {
            1 + fields.iter().map(|(key, value)| words(key) + size_of(value)).sum::<u64>()
        }
    }
}

fn words(text: &str) -> u64 {
    1 + text.len() as u64 / 8
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
