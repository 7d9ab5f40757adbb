//! Publications with an id are delivered once: repeats get the first answer for two minutes.
//!
//! A publication first [claims](IdempotencyStore::claim) its id. The owner of the claim publishes
//! and leaves its answer; repeats wait for that answer. [`MemoryStore`] covers the ids of this
//! instance, [`RedisStore`] those of every instance.

pub mod memory;
pub mod redis;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::answer::PublishAnswer;
use crate::message::PUBLISH_DEADLINE;

pub use memory::MemoryStore;
pub use redis::RedisStore;

/// The time for which an answer is kept.
pub const RETENTION: Duration = Duration::from_secs(120);

/// The time for which a repeat waits for the first answer: as long as publishing may take.
pub const REPEAT_DEADLINE: Duration = PUBLISH_DEADLINE;

/// The longest id, in bytes.
pub const MAX_ID_BYTES: usize = 200;

/// Remembers which ids were published, and the answers.
pub trait IdempotencyStore: Send + Sync + 'static {
    /// Claims an id. If it is already claimed, waits for the answer, for [`REPEAT_DEADLINE`] at
    /// most.
    fn claim(&self, key: IdempotencyKey) -> BoxFuture<'_, ClaimOutcome>;
}

/// An id of a publisher within a namespace. Cloning is shallow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// A digest of the name of the publisher's API key; `None` where no key is needed.
    pub publisher: Option<Arc<str>>,
    /// The namespace, with its leading slash.
    pub namespace: Arc<str>,
    /// The id from the request, at most [`MAX_ID_BYTES`].
    pub id: Arc<str>,
}

/// The result of claiming an id.
pub enum ClaimOutcome<C = Box<dyn Claim>> {
    /// The id is new: publish, then end the claim.
    Claimed(C),
    /// The id was published before, with this answer.
    Completed(PublishAnswer),
    /// The id is claimed, and no answer came before the deadline.
    InProgress,
    /// Redis can be reached but does not keep the claim: another instance may have the id.
    Refused,
}

/// The exclusive right to publish under an id. A claim that is dropped ends on this instance; in
/// Redis it expires.
pub trait Claim: Send {
    /// Ends the claim and keeps the answer for repeats, unless another owner has the id by now.
    fn complete(self: Box<Self>, answer: PublishAnswer) -> BoxFuture<'static, ()>;

    /// Ends the claim without an answer: nothing was published.
    fn release(self: Box<Self>) -> BoxFuture<'static, ()>;
}
