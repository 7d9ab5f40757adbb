//! Query parameters: each route accepts its own, each of them once.

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;

use super::problem::Problem;

/// The parameters of a query, by name.
pub(super) struct Params(BTreeMap<String, String>);

/// The query of a route that takes `namespace`.
pub(super) struct NamespaceQuery(pub(super) Params);

/// The query of a route that takes `namespace` and `prefix`.
pub(super) struct PrefixQuery(pub(super) Params);

/// The query of a route that takes `namespace` and `scope`.
pub(super) struct ScopeQuery(pub(super) Params);

/// The query of a route that ranks rooms.
pub(super) struct RankingQuery(pub(super) Params);

impl Params {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn read(parts: &Parts, known: &[&str]) -> Result<Self, Problem> {
        if parts.uri.query().is_none() {
            return Ok(Params(BTreeMap::new()));
        }
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|error| Problem::invalid("query", error.body_text()))?;
        let mut params = BTreeMap::new();
        for (name, value) in pairs {
            if !known.contains(&name.as_str()) {
                let known = known.join("`, `");
                let detail = format!("Unknown parameter `{name}`; this route takes `{known}`");
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

impl<S: Send + Sync> FromRequestParts<S> for NamespaceQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Params::read(parts, &["namespace"]).map(NamespaceQuery)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PrefixQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Params::read(parts, &["namespace", "prefix"]).map(PrefixQuery)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ScopeQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Params::read(parts, &["namespace", "scope"]).map(ScopeQuery)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RankingQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Params::read(parts, &["namespace", "sort", "limit", "scope"]).map(RankingQuery)
    }
}
