//! What a publisher is told about its publication.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The time for which a publication waits for room in the shards' queues before it is refused.
pub const PUBLISH_DEADLINE: Duration = Duration::from_secs(5);

/// What became of an accepted publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// How far it went.
    pub scope: Scope,
    /// How many members on this instance it was addressed to.
    pub members: usize,
}

/// How far a publication went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// To every instance that has members of its rooms.
    Cluster,
    /// To the members on this instance only: there is no Redis, or it is away.
    Local,
}

/// Why a publication was refused. Nothing was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Redis is away and `redis.whenDown` is `refuse`.
    #[error("not connected to Redis, and redis.whenDown is `refuse`")]
    RedisDown,
    /// The queues of the shards stayed full for [`PUBLISH_DEADLINE`].
    #[error(
        "the server is overloaded: the queues of its shards stayed full for {} s",
        PUBLISH_DEADLINE.as_secs()
    )]
    Overloaded,
    /// Too many publications wait for their recipients' acknowledgements.
    #[error("too many publications wait for acknowledgements")]
    TooManyAcks,
}
