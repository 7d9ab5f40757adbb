//! Names in requests: rooms, namespaces and other text that must be valid.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use super::problem::Problem;
use rookery_policy::{Namespace, Namespaces};
use rookery_protocol::{MAX_ROOM_BYTES, Room};

/// The room in a path, percent-decoded (`%2F` is a slash within the name).
pub(super) struct RoomPath(pub(super) Room);

impl<S: Send + Sync> FromRequestParts<S> for RoomPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(name) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::invalid("room", error.body_text()).code("room_invalid"))?;
        room("room", &name).map(RoomPath)
    }
}

/// A valid room name. `field` is the field of the request that holds it.
///
/// # Errors
/// 400 with code `room_invalid` if the name is empty or too long.
pub(super) fn room(field: &str, name: &str) -> Result<Room, Problem> {
    let detail = match name.len() {
        0 => "A room name cannot be empty".to_owned(),
        n if n > MAX_ROOM_BYTES => {
            format!("A room name is limited to {MAX_ROOM_BYTES} bytes; this one has {n}")
        }
        _ => return Ok(name.into()),
    };
    Err(Problem::invalid(field, detail).code("room_invalid"))
}

/// Text that is not empty.
///
/// # Errors
/// 400 if it is.
pub(super) fn not_empty(field: &str, text: String) -> Result<String, Problem> {
    if text.is_empty() {
        return Err(Problem::invalid(field, format!("`{field}` cannot be empty")));
    }
    Ok(text)
}

/// The namespace named by the body or by the query; `/` if neither names one.
///
/// # Errors
/// 400 if they name different ones, or one that is not `offered`.
pub(super) fn namespace(
    offered: &Namespaces,
    body: Option<&str>,
    query: Option<&str>,
) -> Result<Namespace, Problem> {
    let requested = match (body, query) {
        (Some(body), Some(query)) if body != query => {
            return Err(Problem::invalid(
                "namespace",
                format!("The body names `{body}` and the query `{query}`: name one namespace"),
            ));
        }
        (body, query) => body.or(query).unwrap_or("/"),
    };
    offered.get(requested).ok_or_else(|| {
        let configured: Vec<_> = offered.entries().map(|entry| format!("`{entry}`")).collect();
        Problem::invalid(
            "namespace",
            format!(
                "Namespace `{requested}` is not configured; configured are {}",
                configured.join(", ")
            ),
        )
    })
}
