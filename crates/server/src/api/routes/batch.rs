//! `POST /api/publish/batch`.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use serde::de::{self, SeqAccess};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::publish::context::PublishContext;
use super::publish::request::PublishRequest;
use super::publish::{Counting, accept, begin};
use crate::api::answer::PublishAnswer;
use crate::api::body::{self, JsonBody, RequestBody};
use crate::api::problem::Problem;
use crate::api::state::Shared;

/// The most publications in one batch.
const MAX_ITEMS: usize = 1000;

/// The time after which the remaining items of a batch are refused: each may have to wait.
const DEADLINE: Duration = Duration::from_secs(60);

/// The items of a batch, not parsed yet: an invalid one must not fail the others.
pub(in crate::api) struct Batch(Vec<Box<RawValue>>);

/// The results of a batch.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct BatchAnswer {
    /// One result for each item, in the order of the request.
    results: Vec<BatchResult>,
}

/// The result of one item: what the same request sent alone would have been answered.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(in crate::api) enum BatchResult {
    /// The item was accepted.
    Accepted(PublishAnswer),
    /// The item was refused; `field` is relative to the item.
    Refused(Problem),
}

impl RequestBody for Batch {
    const OPENS_WITH: char = '[';

    fn limit(_: usize) -> usize {
        16 << 20
    }
}

/// Publish up to 1,000 events
///
/// Items are published one after the other, in order. A refused item does not stop the others.
#[utoipa::path(
    post, path = "/api/publish/batch", tag = "publish", request_body = Vec<PublishRequest>,
    params(("namespace" = Option<String>, Query, description = "For items without a `namespace`")),
    responses((status = 200, description = "One result for each item", body = BatchAnswer)),
)]
pub(in crate::api) async fn publish_batch(
    State(shared): State<Arc<Shared>>,
    context: PublishContext,
    body: JsonBody<Batch>,
) -> axum::Json<BatchAnswer> {
    let start = Instant::now();
    let mut items = Vec::with_capacity(body.value.0.len());
    for item in &body.value.0 {
        items.push(if start.elapsed() > DEADLINE {
            Err(Problem::unavailable("The items before this one took too long: send it again"))
        } else {
            publish_item(&shared, item, &context).await
        });
    }
    let mut results = Vec::with_capacity(items.len());
    for item in items {
        results.push(match item {
            Ok(Item::Answered(answer)) => BatchResult::Accepted(answer),
            Ok(Item::Counting(counting)) => BatchResult::Accepted(counting.answer().await),
            Err(problem) => BatchResult::Refused(problem),
        });
    }
    axum::Json(BatchAnswer { results })
}

/// An accepted item.
enum Item {
    Answered(PublishAnswer),
    /// The next item need not wait for the count.
    Counting(Counting),
}

async fn publish_item(
    shared: &Arc<Shared>,
    item: &RawValue,
    context: &PublishContext,
) -> Result<Item, Problem> {
    let request = body::parse::<PublishRequest>(item.get(), '{')?;
    if request.acks_within()?.is_some() {
        let detail = "A batch does not wait for acknowledgements: publish the event alone";
        return Err(Problem::invalid("ack", detail));
    }
    if request.is_idempotent() {
        // The next item may repeat the id.
        return accept(shared, request, context).await.map(Item::Answered);
    }
    begin(shared, request, context).await.map(Item::Counting)
}

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_seq(BatchVisitor)
    }
}

/// Stops at the first item beyond [`MAX_ITEMS`]: 16 MiB can hold millions.
struct BatchVisitor;

impl<'de> de::Visitor<'de> for BatchVisitor {
    type Value = Batch;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array of publications")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Batch, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == MAX_ITEMS {
                let limit = format!("a batch is limited to {MAX_ITEMS} items");
                return Err(de::Error::custom(limit));
            }
            items.push(item);
        }
        Ok(Batch(items))
    }
}
