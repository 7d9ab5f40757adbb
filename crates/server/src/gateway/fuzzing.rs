//! What reads clients' input inside the gateway, for the fuzz targets.

use bytes::Bytes;
use hyper::body::Body;
use serde_json::Value;
use std::time::Duration;

pub use super::forwarded::{Origin, Source};
use super::http::body::BodyBounds;
pub use super::http::query::{Query, parameter};
use super::limits::Limits;
use crate::connection::stream::connect_query;

/// The body of a POST from `origin`; `None` where it is not read, because it has more than `max`
/// bytes or the limits do not allow it.
pub async fn read_body<B>(body: B, max: usize, limits: &Limits, origin: Origin) -> Option<Vec<u8>>
where
    B: Body<Data = Bytes>,
{
    let bounds = BodyBounds { max, idle: Duration::from_secs(10), rate: 1024 };
    bounds.read(body, &mut limits.body(origin)).await.ok()
}

/// The query of a CONNECT in revision 3 as an object.
pub fn query_to_json(query: &str) -> Value {
    connect_query::to_json(query)
}
