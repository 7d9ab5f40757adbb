//! `POST /api/publish/batch`.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use http::HeaderMap;
use serde::de::{self, SeqAccess};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Shared;
use super::body::{self, Json, RequestBody};
use super::input::InNamespace;
use super::problem::Problem;
use super::publish::{PublishAnswer, PublishRequest, accept, traceparent};

/// The most publications in one batch.
const MAX_ITEMS: usize = 1000;

/// How long a batch may take: its items may each have to wait for another's answer.
const DEADLINE: Duration = Duration::from_secs(60);

/// The items of a batch, each still unread: a bad one must not spoil the others.
pub(super) struct Batch(Vec<Box<RawValue>>);

/// What became of a batch.
#[derive(Serialize, ToSchema)]
pub(super) struct BatchAnswer {
    /// One for each item, in the order of the request.
    results: Vec<BatchResult>,
}

/// What became of one item: what the item alone would have been answered.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum BatchResult {
    /// It was accepted.
    Answer(PublishAnswer),
    /// It was refused; `field` is relative to the item.
    Problem(Problem),
}

impl RequestBody for Batch {
    const OPENS_WITH: char = '[';

    fn limit(_: &Shared) -> usize {
        16 << 20
    }
}

/// Publish up to 1,000 events
///
/// They are published one after the other, in order; one that is refused does not stop the
/// others.
#[utoipa::path(
    post, path = "/api/publish/batch", tag = "publish", request_body = Vec<PublishRequest>,
    params(("namespace" = Option<String>, Query, description = "For items that name none")),
    responses((status = 200, description = "A result for each item", body = BatchAnswer)),
)]
pub(super) async fn publish_batch(
    State(shared): State<Arc<Shared>>,
    InNamespace(query): InNamespace,
    headers: HeaderMap,
    body: Json<Batch>,
) -> axum::Json<BatchAnswer> {
    let start = Instant::now();
    let traceparent = traceparent(&headers);
    let mut results = Vec::with_capacity(body.value.0.len());
    for item in &body.value.0 {
        let result = if start.elapsed() > DEADLINE {
            Err(Problem::unavailable("The items before this one took too long: send it again"))
        } else {
            match body::parse::<PublishRequest>(item.get(), '{') {
                Ok(request) => accept(&shared, request, &query, traceparent.clone()).await,
                Err(problem) => Err(problem),
            }
        };
        results.push(match result {
            Ok(answer) => BatchResult::Answer(answer),
            Err(problem) => BatchResult::Problem(problem),
        });
    }
    axum::Json(BatchAnswer { results })
}

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_seq(Items)
    }
}

/// Stops reading at the first item too many: 16 MiB could hold millions.
struct Items;

impl<'de> de::Visitor<'de> for Items {
    type Value = Batch;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array of publications")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Batch, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == MAX_ITEMS {
                let wrong = format!("a batch may have at most {MAX_ITEMS} items");
                return Err(de::Error::custom(wrong));
            }
            items.push(item);
        }
        Ok(Batch(items))
    }
}
