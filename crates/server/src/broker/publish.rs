//! Publishing: the one way from acceptance to the shards and the other instances.

use tokio::time::{Instant, timeout, timeout_at};

use super::Broker;
use crate::message::{PUBLISH_DEADLINE, Publication, PublishError, Receipt, Scope};
use crate::rooms::local::{RecipientCount, Reservation};
use crate::telemetry::trace::PublishSpan;
use crate::wakeups::gathered;

/// Why a publication was not taken at once. Nothing was delivered.
pub enum TryPublishError {
    /// A shard's queue is full: [`Broker::publish`] waits for it.
    Full(Box<Publication>),
    /// It is refused.
    Refused(PublishError, Box<Publication>),
}

impl Broker {
    /// Publishes without waiting, for a client's event: to the members here, and to the other
    /// instances.
    ///
    /// # Errors
    /// When a shard's queue is full, or the publication is refused; nothing was delivered then.
    pub fn try_publish(&self, mut publication: Publication) -> Result<Scope, TryPublishError> {
        if let Err(error) = self.admit() {
            return Err(TryPublishError::Refused(error, Box::new(publication)));
        }
        let Some(reservation) = self.parts.rooms.try_reserve(&publication) else {
            return Err(TryPublishError::Full(Box::new(publication)));
        };
        let span = self.parts.tracer.publish(&mut publication);
        let (scope, count) = self.dispatch(reservation, publication, false);
        drop(count);
        span.accepted(scope, None);
        Ok(scope)
    }

    /// Publishes to the members here, and to the other instances. Publications that one task hands
    /// over one after the other reach a room in that order. Either all shards get the publication
    /// or none; dropping the future leaves open which.
    ///
    /// # Errors
    /// When it is refused, or the shards' queues stayed full for [`PUBLISH_DEADLINE`]; nothing was
    /// delivered then.
    pub async fn publish(&self, publication: Publication) -> Result<Receipt, PublishError> {
        Ok(self.accept(publication).await?.receipt().await)
    }

    /// The same, without waiting for the number of recipients.
    ///
    /// # Errors
    /// Those of [`Broker::publish`].
    pub async fn accept(&self, mut publication: Publication) -> Result<Accepted, PublishError> {
        let span = self.parts.tracer.publish(&mut publication);
        match self.hand_over(publication).await {
            Ok((scope, count)) => {
                let deadline = Instant::now() + PUBLISH_DEADLINE;
                Ok(Accepted { scope, count, deadline, span })
            }
            Err(error) => Err(refuse(span, error)),
        }
    }

    async fn hand_over(
        &self,
        publication: Publication,
    ) -> Result<(Scope, RecipientCount), PublishError> {
        let reservation = self.reserve(&publication).await?;
        Ok(self.dispatch(reservation, publication, true))
    }

    /// Waits for a place in the queues of the shards.
    pub(super) async fn reserve(
        &self,
        publication: &Publication,
    ) -> Result<Reservation<'_>, PublishError> {
        self.admit()?;
        let reservation = self.wait_for_shards(publication).await?;
        // Redis may have gone away meanwhile.
        self.admit()?;
        Ok(reservation)
    }

    /// As [`Broker::reserve`], whether or not the others can be reached.
    pub(super) async fn wait_for_shards(
        &self,
        publication: &Publication,
    ) -> Result<Reservation<'_>, PublishError> {
        if let Some(reservation) = self.parts.rooms.try_reserve(publication) {
            return Ok(reservation);
        }
        let waiting = timeout(PUBLISH_DEADLINE, self.parts.rooms.reserve(publication));
        waiting.await.map_err(|_| PublishError::Overloaded)
    }

    fn admit(&self) -> Result<(), PublishError> {
        match &self.parts.backplane {
            Some(backplane) if self.parts.refuse_when_down && !backplane.is_up() => {
                Err(PublishError::RedisDown)
            }
            _ => Ok(()),
        }
    }

    /// Hands an accepted publication over: to the other instances, and to the shards where a place
    /// is reserved.
    pub(super) fn dispatch(
        &self,
        reservation: Reservation<'_>,
        publication: Publication,
        counted: bool,
    ) -> (Scope, RecipientCount) {
        self.parts.metrics.published(publication.source);
        let scope = match &self.parts.backplane {
            Some(backplane) if backplane.publish(&publication) => Scope::Cluster,
            _ => Scope::Local,
        };
        (scope, self.parts.rooms.deliver(reservation, publication, counted))
    }
}

/// A publication that was handed over to the shards and to the other instances.
pub struct Accepted {
    scope: Scope,
    count: RecipientCount,
    deadline: Instant,
    span: PublishSpan,
}

impl Accepted {
    /// Waits for the shards to count the recipients, which they do when they begin to deliver. A
    /// shard that has not done so by [`PUBLISH_DEADLINE`] makes the number 0.
    pub async fn receipt(self) -> Receipt {
        let count = timeout_at(self.deadline, self.count.total());
        let members = gathered(count).await.unwrap_or_default();
        self.span.accepted(self.scope, Some(members));
        Receipt { scope: self.scope, members }
    }
}

fn refuse(span: PublishSpan, error: PublishError) -> PublishError {
    span.refused(&error);
    error
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::broker::BrokerParts;
    use crate::rooms::local::tests::{publication, two_full_shards};
    use crate::rooms::shard::ShardCommand;
    use crate::rooms::statistics::RoomStatistics;
    use crate::telemetry::latency::Latency;
    use crate::telemetry::metrics::Metrics;
    use crate::telemetry::trace::Tracer;

    #[tokio::test(start_paused = true)]
    async fn a_publication_that_a_shard_has_no_room_for_is_refused_and_reaches_no_other() {
        let (rooms, mut queues) = two_full_shards();
        let metrics = Arc::new(Metrics::new().unwrap());
        let latency = Latency::new(2, &Default::default(), "pod-test", &metrics);
        let statistics = RoomStatistics::new(rooms.clone(), latency, TaskTracker::new());
        let broker = Broker::new(BrokerParts {
            rooms: rooms.clone(),
            statistics,
            backplane: None,
            refuse_when_down: false,
            room_hooks: None,
            presence_max: 10,
            metrics,
            tracer: Tracer::off(),
        });
        assert!(rooms.try_deliver(publication(), None), "both queues are full now");
        assert!(matches!(queues[0].try_recv(), Ok(ShardCommand::Publish(..))));
        assert!(matches!(broker.try_publish(publication()), Err(TryPublishError::Full(_))));
        assert_eq!(broker.publish(publication()).await, Err(PublishError::Overloaded));
        assert!(queues[0].try_recv().is_err(), "nothing was delivered to the shard with room");
    }
}
