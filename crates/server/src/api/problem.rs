//! [`Problem`]: the error document of the HTTP API.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::{Serialize, Serializer};
use utoipa::{ToResponse, ToSchema};

/// The media type of problem documents.
///
/// Source: RFC 9457, section 3.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// An error, as a problem document (RFC 9457).
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status is the kind of problem (section 4.2.1).
    #[serde(rename = "type")]
    kind: &'static str,
    /// The reason phrase of the status.
    title: &'static str,
    /// The HTTP status; for an item of a batch, the status of the same request sent alone.
    #[serde(serialize_with = "as_number")]
    #[schema(value_type = u16, example = 400)]
    status: StatusCode,
    /// What went wrong, and what to do about it.
    detail: String,
    /// The field, path or query parameter at fault, such as `rooms[3]` or `args[0].file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "rooms[3]")]
    field: Option<String>,
    /// The error code, one of those that clients get too; absent if none fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "room_invalid")]
    code: Option<&'static str>,
    /// A header of the response besides the content type.
    #[serde(skip)]
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl Problem {
    /// A problem with this status. `detail` says what to do about it.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status,
            detail: detail.into(),
            field: None,
            code: None,
            header: None,
        }
    }

    /// 400 with code `bad_request`, about one field of the request.
    pub fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail).field(field).code("bad_request")
    }

    /// 413, stating the limit in bytes.
    pub fn too_large(what: &str, limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("{what} is limited to {limit} bytes"))
    }

    /// 503 with `Retry-After: 1` (second).
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).header(header::RETRY_AFTER, "1")
    }

    /// Sets the field at fault.
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Sets the error code.
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// Sets the additional header of the response, replacing an earlier one.
    pub fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.header = Some(Box::new((name, HeaderValue::from_static(value))));
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

/// The request is refused: `detail` says why, and `field` names the field at fault.
#[derive(ToResponse)]
#[response(content_type = "application/problem+json")]
pub(super) struct ProblemResponse(#[allow(dead_code)] Problem);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).expect("a problem has only text and numbers");
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some((name, value)) = self.header.map(|header| *header) {
            headers.insert(name, value);
        }
        response
    }
}

fn as_number<S: Serializer>(status: &StatusCode, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_u16(status.as_u16())
}
