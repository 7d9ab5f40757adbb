//! Request bodies: bounded JSON, with errors that name the field.

mod budget;

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{FromRef, FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;

use super::problem::Problem;
pub(super) use budget::BodyBudget;
use budget::BodyShare;
use rookery_protocol::MAX_DEPTH;
use rookery_protocol::json::replace_unpaired_surrogates;

/// What serde_json says of JSON that nests 128 levels deep.
const TOO_DEEP: &str = "recursion limit exceeded";

/// The time within which a body must arrive.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The most bytes of a refused body that are read and discarded. Closing a connection with unread
/// bytes resets it, and the peer may then never see the answer (RFC 9112, section 9.6).
const MAX_DISCARDED: usize = 32 << 20;

/// A request body that was read as JSON. It holds its share of the [`BodyBudget`] until dropped.
pub(super) struct JsonBody<T> {
    pub(super) value: T,
    _share: BodyShare,
}

/// A type that is read from a request body.
pub(super) trait RequestBody: DeserializeOwned {
    /// The first character of the JSON text: `{` for an object, `[` for an array.
    const OPENS_WITH: char = '{';

    /// The size limit in bytes, given `socketio.maxPayload`.
    fn limit(max_payload: usize) -> usize {
        let _ = max_payload;
        1 << 20
    }
}

/// The bounds on request bodies. Cloning is shallow.
pub(super) struct BodyLimits {
    /// Memory for the bodies of all requests.
    pub(super) budget: BodyBudget,
    /// `socketio.maxPayload` in bytes.
    pub(super) max_payload: usize,
}

impl<S, T> FromRequest<S> for JsonBody<T>
where
    S: Send + Sync,
    T: RequestBody,
    BodyLimits: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let limits = BodyLimits::from_ref(state);
        let limit = T::limit(limits.max_payload);
        let (head, body) = request.into_parts();
        let mut share = match admit(&head.headers, &body, limit, &limits.budget) {
            Ok(share) => share,
            Err(problem) => {
                discard(&head.headers, body).await;
                return Err(problem);
            }
        };
        let bytes = tokio::time::timeout(READ_TIMEOUT, read(body, limit, &mut share)).await;
        let bytes = bytes.unwrap_or_else(|_| Err(too_slow()))?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let offset = error.valid_up_to();
            malformed(format!("The body is not UTF-8: invalid byte at offset {offset}"))
        })?;
        Ok(JsonBody { value: parse(text, T::OPENS_WITH)?, _share: share })
    }
}

/// Parses one JSON text that starts with `opening`. An unpaired surrogate becomes U+FFFD.
///
/// # Errors
/// 400: with line and column if it is not JSON, with the field if a value is invalid.
pub(super) fn parse<T: DeserializeOwned>(text: &str, opening: char) -> Result<T, Problem> {
    match text.trim_start_matches([' ', '\t', '\r', '\n']).chars().next() {
        None => return Err(malformed("The body is empty: send a JSON document".to_owned())),
        // serde also reads a struct from an array, by position.
        Some(first @ ('{' | '[' | '"' | '0'..='9' | '-' | 't' | 'f' | 'n')) if first != opening => {
            let wanted = if opening == '{' { "an object" } else { "an array" };
            return Err(malformed(format!("Expected {wanted} at the top")));
        }
        Some(_) => {}
    }
    let error = match serde_json::from_str(text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let Some(repaired) = replace_unpaired_surrogates(text) else {
        return Err(explain::<T>(text, &error));
    };
    serde_json::from_str(&repaired).map_err(|error| explain::<T>(&repaired, &error))
}

/// Why a text was refused, with the path of the field at fault. Keeping the path costs as much as
/// parsing, so a text is parsed again for it.
fn explain<T: DeserializeOwned>(text: &str, error: &serde_json::Error) -> Problem {
    let mut json = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Ok(_) => rejected(".", error),
        Err(error) => rejected(&error.path().to_string(), error.inner()),
    }
}

fn rejected(path: &str, error: &serde_json::Error) -> Problem {
    if error.to_string().starts_with(TOO_DEEP) {
        return malformed(format!(
            "The body nests too deep: an argument may nest {MAX_DEPTH} levels of arrays and objects"
        ));
    }
    if !error.is_data() {
        return malformed(format!("The body is not JSON: {error}"));
    }
    let message = error.to_string();
    // serde reports no path for a repeated key.
    let repeated =
        message.strip_prefix("duplicate field `").and_then(|rest| rest.split('`').next());
    match repeated.unwrap_or(path) {
        "." => malformed(message),
        field => Problem::invalid(field.to_owned(), message),
    }
}

fn malformed(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail).code("bad_request")
}

fn too_slow() -> Problem {
    let detail = format!("The body did not arrive within {} s", READ_TIMEOUT.as_secs());
    Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
}

/// This body's share of the budget, if it may be read.
fn admit(
    headers: &HeaderMap,
    body: &Body,
    limit: usize,
    budget: &BodyBudget,
) -> Result<BodyShare, Problem> {
    check_media_type(headers)?;
    let hint = body.size_hint();
    if hint.lower() > limit as u64 {
        return Err(Problem::too_large("The body", limit));
    }
    budget.share(hint.upper().map(|n| n as usize))
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media_type.and_then(|value| value.split(';').next()).map(str::trim);
    if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Send the body as JSON, with `Content-Type: application/json`",
        ));
    }
    match headers.get(header::CONTENT_ENCODING) {
        Some(coding) if !coding.as_bytes().eq_ignore_ascii_case(b"identity") => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Send the body without `Content-Encoding`",
        )
        .header(header::ACCEPT_ENCODING, "identity")),
        _ => Ok(()),
    }
}

async fn read(mut body: Body, limit: usize, share: &mut BodyShare) -> Result<Bytes, Problem> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| malformed(format!("The body ended early: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = first.len() + all.len() + data.len();
        let fits = match length > limit {
            true => Err(Problem::too_large("The body", limit)),
            false => share.grow(length),
        };
        if let Err(problem) = fits {
            drop((first, all));
            drain(body).await;
            return Err(problem);
        }
        if length == data.len() {
            first = data;
            continue;
        }
        all.extend_from_slice(&std::mem::take(&mut first));
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// Reads and discards the body of a refused request.
pub(super) async fn discard(headers: &HeaderMap, body: Body) {
    // A sender that expects `100 Continue` has not sent it yet (RFC 9110, section 10.1.1).
    if !headers.contains_key(header::EXPECT) && body.size_hint().lower() <= MAX_DISCARDED as u64 {
        drain(body).await;
    }
}

async fn drain(body: Body) {
    let mut body = Limited::new(body, MAX_DISCARDED);
    let all = async { while let Some(Ok(_)) = body.frame().await {} };
    // The answer is the same whether the body ends in time or not.
    let _ = tokio::time::timeout(READ_TIMEOUT, all).await;
}
