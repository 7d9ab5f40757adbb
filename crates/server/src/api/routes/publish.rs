//! `POST /api/publish`.

pub(super) mod context;
mod payload;
pub(super) mod request;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use futures_util::future::BoxFuture;
use http::StatusCode;

use crate::api::answer::{AcknowledgedAnswer, PublishAnswer, Published};
use crate::api::body::JsonBody;
use crate::api::idempotency::{ClaimOutcome, IdempotencyKey};
use crate::api::problem::{Problem, ProblemResponse};
use crate::api::state::Shared;
use crate::api::uninterrupted::Uninterrupted;
use crate::message::{Publication, PublishError, Receipt};
use context::PublishContext;
use request::PublishRequest;

/// Publish an event to rooms
///
/// Events that one HTTP connection publishes to a room arrive in order. With `ack`, the answer comes
/// once every recipient has acknowledged the event, or the time is over.
#[utoipa::path(
    post, path = "/api/publish", tag = "publish", request_body = PublishRequest,
    params(("namespace" = Option<String>, Query, description = "Instead of `namespace` in the body")),
    responses(
        (status = 200, description = "Accepted", body = Published),
        (status = 503, response = ProblemResponse),
    ),
)]
pub(in crate::api) async fn publish(
    State(shared): State<Arc<Shared>>,
    context: PublishContext,
    body: JsonBody<PublishRequest>,
) -> Result<axum::Json<Published>, Problem> {
    let published = match body.value.acks_within()? {
        Some(patience) => collect_acks(&shared, body.value, patience, &context).await?,
        None => Published::Accepted(accept(&shared, body.value, &context).await?),
    };
    Ok(axum::Json(published))
}

/// Validates a request whose recipients are to acknowledge the event, and publishes it.
async fn collect_acks(
    shared: &Arc<Shared>,
    request: PublishRequest,
    patience: Duration,
    context: &PublishContext,
) -> Result<Published, Problem> {
    let publication = request.into_publication(shared, context)?;
    let id = publication.id.text();
    let owned = shared.clone();
    let published = uninterrupted(shared, async move {
        let cluster = &owned.api.cluster;
        cluster.publish_with_acks(publication, patience).await.map_err(refused)
    });
    Ok(Published::Acknowledged(AcknowledgedAnswer::new(id, published.await?)))
}

/// Validates a request and publishes it, unless its id was published before.
///
/// The publication goes on where the request is dropped because its client disconnects: it must
/// still reach all of its members, and the claim on its id must end with the answer.
pub(in crate::api) async fn accept(
    shared: &Arc<Shared>,
    request: PublishRequest,
    context: &PublishContext,
) -> Result<PublishAnswer, Problem> {
    let idempotent = request.is_idempotent();
    let publication = request.into_publication(shared, context)?;
    let owned = shared.clone();
    let publisher = context.caller.0.as_ref().map(|key| key.owner.clone());
    uninterrupted(shared, async move {
        if idempotent {
            deliver_once(&owned, publisher, publication).await
        } else {
            deliver(&owned, publication).await
        }
    })
    .await
}

/// Like [`accept`], for a request without an id, but does not wait for the number of recipients.
pub(super) async fn begin(
    shared: &Arc<Shared>,
    request: PublishRequest,
    context: &PublishContext,
) -> Result<Counting, Problem> {
    let publication = request.into_publication(shared, context)?;
    let id = publication.id.text();
    let owned = shared.clone();
    uninterrupted(shared, async move {
        let receipt = owned.api.cluster.accept(publication).await.map_err(refused)?;
        Ok(Counting { id, receipt })
    })
    .await
}

/// An accepted publication whose recipients are being counted.
pub(super) struct Counting {
    id: Arc<str>,
    receipt: BoxFuture<'static, Receipt>,
}

impl Counting {
    /// Waits for the count.
    pub(super) async fn answer(self) -> PublishAnswer {
        PublishAnswer::new(self.id, self.receipt.await)
    }
}

async fn uninterrupted<T: Send + 'static>(
    shared: &Shared,
    publishing: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let publishing = Uninterrupted::new(publishing, &shared.api.tasks);
    publishing.await.unwrap_or_else(|_| {
        Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Publishing failed: see the log"))
    })
}

/// Delivers a publication with an id, unless that id was delivered before.
async fn deliver_once(
    shared: &Shared,
    publisher: Option<Arc<str>>,
    publication: Publication,
) -> Result<PublishAnswer, Problem> {
    let (namespace, id) = (publication.namespace.clone(), publication.id.text());
    let key = IdempotencyKey { publisher, namespace, id };
    let claim = match shared.api.idempotency.claim(key).await {
        ClaimOutcome::Claimed(claim) => claim,
        ClaimOutcome::Completed(answer) => return Ok(answer),
        ClaimOutcome::InProgress => {
            return Err(Problem::unavailable(
                "Another publication with this id is still in progress: try again",
            )
            .field("id"));
        }
        ClaimOutcome::Refused => {
            return Err(Problem::unavailable(
                "Nothing was delivered: Redis does not keep the id, so it might be delivered twice. \
                 See the server's log, and try again; without `id` it is delivered",
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
    let receipt = shared.api.cluster.publish(publication).await.map_err(refused)?;
    Ok(PublishAnswer::new(id, receipt))
}

fn refused(error: PublishError) -> Problem {
    let problem = Problem::unavailable(format!("Nothing was delivered: {error}. Try again"));
    match error {
        PublishError::RedisDown => problem.code("not_connected_to_redis"),
        PublishError::Overloaded | PublishError::TooManyAcks => problem,
    }
}
