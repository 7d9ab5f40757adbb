//! A [`Reservation`] of places in the shards' queues.

use std::sync::Arc;

use smallvec::SmallVec;
use tokio::sync::oneshot;

use crate::rooms::encoded_publication::EncodedPublication;
use crate::rooms::shard::{ShardCommand, ShardPermit};

/// A place in the queue of every shard that has recipients of a publication. Dropping it delivers
/// nothing: either all of them get the publication, or none.
pub struct Reservation<'a> {
    permits: Permits<'a>,
}

/// One for each shard with recipients; most rooms have members in one shard only.
pub(super) type Permits<'a> = SmallVec<[ShardPermit<'a>; 1]>;

impl<'a> Reservation<'a> {
    pub(super) fn new(permits: Permits<'a>) -> Self {
        Reservation { permits }
    }

    /// Whether no shard has recipients.
    pub fn is_empty(&self) -> bool {
        self.permits.is_empty()
    }

    pub(super) fn send(
        self,
        publication: &Arc<EncodedPublication>,
        counted: bool,
    ) -> RecipientCount {
        let mut counts = Vec::new();
        for permit in self.permits {
            let count = counted.then(|| {
                let (count, answer) = oneshot::channel();
                counts.push(answer);
                count
            });
            permit.send(ShardCommand::Publish(publication.clone(), count));
        }
        RecipientCount { counts }
    }
}

/// How many recipients a publication has here, as the shards tell when they begin to deliver it.
#[derive(Default)]
pub struct RecipientCount {
    counts: Vec<oneshot::Receiver<usize>>,
}

impl RecipientCount {
    /// Waits for all shards.
    pub async fn total(self) -> usize {
        let mut total = 0;
        for count in self.counts {
            // A shard that is gone has no recipients.
            total += count.await.unwrap_or_default();
        }
        total
    }
}
