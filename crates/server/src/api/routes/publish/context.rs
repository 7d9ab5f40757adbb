//! [`PublishContext`]: what the head of a publish request says.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;

use crate::api::access::Caller;
use crate::api::problem::Problem;
use crate::api::query::{NamespaceQuery, Params};
use crate::telemetry::trace::TraceParent;

/// What the head of a publish request says, for one publication or for a batch.
pub(in crate::api) struct PublishContext {
    /// Whose key the request carries.
    pub(super) caller: Caller,
    /// The query, with `namespace` at most.
    pub(super) query: Params,
    /// The `traceparent` header, if there is exactly one and it is well-formed.
    ///
    /// Source: W3C Trace Context, level 2, section 3.2.
    pub(super) traceparent: Option<Arc<str>>,
}

impl<S: Send + Sync> FromRequestParts<S> for PublishContext {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let NamespaceQuery(query) = NamespaceQuery::from_request_parts(parts, state).await?;
        let caller = Caller::from_request_parts(parts, state).await?;
        Ok(PublishContext { caller, query, traceparent: traceparent(&parts.headers) })
    }
}

fn traceparent(headers: &HeaderMap) -> Option<Arc<str>> {
    let mut values = headers.get_all("traceparent").iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    TraceParent::parse(value.to_str().ok()?).map(|parent| parent.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_valid_traceparent_is_kept() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut headers = HeaderMap::new();
        assert_eq!(traceparent(&headers), None);
        headers.append("traceparent", good.parse().unwrap());
        assert_eq!(traceparent(&headers).as_deref(), Some(good));
        headers.append("traceparent", good.parse().unwrap());
        assert_eq!(traceparent(&headers), None);
        headers.insert("traceparent", "00-4bf92f35-00f067aa0ba902b7-01".parse().unwrap());
        assert_eq!(traceparent(&headers), None);
    }
}
