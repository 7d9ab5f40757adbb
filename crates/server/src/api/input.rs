//! The rules for what requests may name, and the parts of a URL.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, Query};
use http::request::Parts;

use super::Shared;
use super::problem::Problem;
use rookery_protocol::{MAX_ROOM_BYTES, Room};

/// A room, or what is wrong with its name. `field` is where it was written.
pub(super) fn room(field: &str, name: &str) -> Result<Room, Problem> {
    let wrong = match name.len() {
        0 => "A room's name cannot be empty".to_owned(),
        n if n > MAX_ROOM_BYTES => {
            format!("A room's name may have at most {MAX_ROOM_BYTES} bytes; this one has {n}")
        }
        _ => return Ok(name.into()),
    };
    Err(Problem::invalid(field, wrong).code("room_invalid"))
}

/// A text that must not be empty.
pub(super) fn not_empty(field: &str, text: String) -> Result<String, Problem> {
    if text.is_empty() {
        return Err(Problem::invalid(field, format!("`{field}` cannot be empty")));
    }
    Ok(text)
}

/// The namespace that the body or the query names; `/` where neither does.
pub(super) fn namespace(
    shared: &Shared,
    body: Option<&str>,
    query: &Params,
) -> Result<Arc<str>, Problem> {
    let wanted = match (body, query.get("namespace")) {
        (Some(body), Some(query)) if body != query => {
            return Err(Problem::invalid(
                "namespace",
                format!("The body says `{body}`, the query `{query}`: name one namespace"),
            ));
        }
        (body, query) => body.or(query).unwrap_or("/"),
    };
    let known = &shared.api.namespaces;
    known.iter().find(|known| ***known == *wanted).cloned().ok_or_else(|| {
        let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
        Problem::invalid(
            "namespace",
            format!("No namespace `{wanted}` is configured; there is {}", known.join(", ")),
        )
    })
}

/// The parameters of a query.
pub(super) struct Params(BTreeMap<String, String>);

impl Params {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn read(parts: &Parts, known: &[&str]) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|error| Problem::invalid("query", error.body_text()))?;
        let mut params = BTreeMap::new();
        for (name, value) in pairs {
            if !known.contains(&name.as_str()) {
                let known = known.join("`, `");
                let detail = format!("No parameter `{name}` is known here; there is `{known}`");
                return Err(Problem::invalid(name, detail));
            }
            if params.insert(name.clone(), value).is_some() {
                let detail = format!("`{name}` is given twice");
                return Err(Problem::invalid(name, detail));
            }
        }
        Ok(Params(params))
    }
}

/// The query of a route that knows only `namespace`.
pub(super) struct InNamespace(pub(super) Params);

impl<S: Send + Sync> FromRequestParts<S> for InNamespace {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Params::read(parts, &["namespace"]).map(InNamespace)
    }
}

/// The query of a route that knows `namespace` and `prefix`.
pub(super) struct WithPrefix(pub(super) Params);

impl<S: Send + Sync> FromRequestParts<S> for WithPrefix {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Params::read(parts, &["namespace", "prefix"]).map(WithPrefix)
    }
}

/// The query of a route that knows `namespace` and `scope`.
pub(super) struct InScope(pub(super) Params);

impl<S: Send + Sync> FromRequestParts<S> for InScope {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Params::read(parts, &["namespace", "scope"]).map(InScope)
    }
}

/// The query of a route that ranks.
pub(super) struct Ranked(pub(super) Params);

impl<S: Send + Sync> FromRequestParts<S> for Ranked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Params::read(parts, &["namespace", "sort", "limit", "scope"]).map(Ranked)
    }
}

/// The room that the path names, percent-decoded (`%2F` is a slash within the name).
pub(super) struct RoomInPath(pub(super) Room);

impl<S: Send + Sync> FromRequestParts<S> for RoomInPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(name) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::invalid("room", error.body_text()).code("room_invalid"))?;
        room("room", &name).map(RoomInPath)
    }
}
