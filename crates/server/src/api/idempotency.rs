//! Publications with an id happen once: the same id is answered the same for two minutes.
//!
//! A publication first [claims](IdempotencyStore::begin) its id. Whoever holds the claim
//! publishes and leaves the answer; everybody else waits for that answer. [`Memory`] knows the
//! ids of this instance, [`RedisStore`] those of every instance.

pub mod memory;
pub mod redis;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::publish::PublishAnswer;

pub use memory::Memory;
pub use redis::RedisStore;

/// How long an answer is kept.
pub const KEPT: Duration = Duration::from_secs(120);

/// How long a repeat waits for the answer of the first.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The longest id, in bytes.
pub const MAX_ID_BYTES: usize = 200;

/// Remembers which ids were published, and how they were answered.
pub trait IdempotencyStore: Send + Sync + 'static {
    /// Claims an id within a namespace. Where somebody else holds the claim, waits for the
    /// answer, at most [`PATIENCE`].
    fn begin(&self, namespace: Arc<str>, id: Arc<str>) -> BoxFuture<'_, Begin>;
}

/// What is to be done with a publication that has an id.
pub enum Begin {
    /// Publish it: the id is new, and claimed.
    First(Box<dyn Claim>),
    /// It was published; this was the answer.
    Repeat(PublishAnswer),
    /// It is being published, and that takes longer than anybody should wait.
    Busy,
}

/// The right to publish under an id. Dropping it gives the id free on this instance.
pub trait Claim: Send {
    /// Leaves the answer for repeats.
    fn complete(self: Box<Self>, answer: PublishAnswer) -> BoxFuture<'static, ()>;

    /// Gives the id free: nothing was published.
    fn release(self: Box<Self>) -> BoxFuture<'static, ()>;
}
