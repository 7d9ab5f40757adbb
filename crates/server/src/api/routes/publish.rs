//! `POST /api/publish`.

mod payload;
pub(super) mod request;

use std::sync::Arc;

use axum::extract::State;
use http::{HeaderMap, StatusCode};

use crate::api::answer::PublishAnswer;
use crate::api::body::JsonBody;
use crate::api::idempotency::{ClaimOutcome, IdempotencyKey};
use crate::api::problem::{Problem, ProblemResponse};
use crate::api::query::{NamespaceQuery, Params};
use crate::api::state::Shared;
use crate::message::{Publication, PublishError};
use crate::telemetry::trace::TraceParent;
use request::PublishRequest;

/// Publish an event to rooms
///
/// Events that one HTTP connection publishes to a room arrive in order.
#[utoipa::path(
    post, path = "/api/publish", tag = "publish", request_body = PublishRequest,
    params(("namespace" = Option<String>, Query, description = "Instead of `namespace` in the body")),
    responses(
        (status = 200, description = "Accepted", body = PublishAnswer),
        (status = 503, response = ProblemResponse),
    ),
)]
pub(in crate::api) async fn publish(
    State(shared): State<Arc<Shared>>,
    NamespaceQuery(query): NamespaceQuery,
    headers: HeaderMap,
    body: JsonBody<PublishRequest>,
) -> Result<axum::Json<PublishAnswer>, Problem> {
    accept(&shared, body.value, &query, traceparent(&headers)).await.map(axum::Json)
}

/// Validates a request and publishes it, unless its id was published before.
///
/// Runs the publication as a task of its own. A request is dropped when its client disconnects;
/// the publication must still reach all of its members, and the claim on its id must end with the
/// answer.
pub(in crate::api) async fn accept(
    shared: &Arc<Shared>,
    request: PublishRequest,
    query: &Params,
    traceparent: Option<Arc<str>>,
) -> Result<PublishAnswer, Problem> {
    let idempotent = request.is_idempotent();
    let publication = request.into_publication(shared, query, traceparent)?;
    let shared = shared.clone();
    let tasks = shared.api.tasks.clone();
    let task = tasks.spawn(async move {
        if idempotent {
            deliver_once(&shared, publication).await
        } else {
            deliver(&shared, publication).await
        }
    });
    task.await.unwrap_or_else(|_| {
        Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Publishing failed: see the log"))
    })
}

/// The `traceparent` header, if there is exactly one and it is well-formed.
///
/// Source: W3C Trace Context, level 2, section 3.2.
pub(in crate::api) fn traceparent(headers: &HeaderMap) -> Option<Arc<str>> {
    let mut values = headers.get_all("traceparent").iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    TraceParent::parse(value.to_str().ok()?).map(|parent| parent.to_string().into())
}

/// Delivers a publication with an id, unless that id was delivered before.
async fn deliver_once(shared: &Shared, publication: Publication) -> Result<PublishAnswer, Problem> {
    let key =
        IdempotencyKey { namespace: publication.namespace.clone(), id: publication.id.text() };
    let claim = match shared.api.idempotency.claim(key).await {
        ClaimOutcome::Claimed(claim) => claim,
        ClaimOutcome::Completed(answer) => return Ok(answer),
        ClaimOutcome::InProgress => {
            return Err(Problem::unavailable(
                "Another publication with this id is still in progress: try again",
            )
            .field("id"));
        }
    };
    let result = deliver(shared, publication).await;
    match &result {
        Ok(answer) => claim.complete(answer.clone()).await,
        Err(_) => claim.release().await,
    }
    result
}

async fn deliver(shared: &Shared, publication: Publication) -> Result<PublishAnswer, Problem> {
    let id = publication.id.text();
    match shared.api.cluster.publish(publication).await {
        Ok(receipt) => Ok(PublishAnswer { id, scope: receipt.scope, members: receipt.members }),
        Err(error) => {
            let detail = format!("Nothing was delivered: {error}. Try again");
            let problem = Problem::unavailable(detail);
            Err(match error {
                PublishError::RedisDown => problem.code("not_connected_to_redis"),
                PublishError::Overloaded => problem,
            })
        }
    }
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
