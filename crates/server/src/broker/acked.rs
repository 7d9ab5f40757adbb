//! Publications whose recipients acknowledge them: those of this instance, and those of others.

use std::future::pending;
use std::time::Duration;

use futures_util::FutureExt as _;
use rookery_protocol::Data;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::Broker;
use crate::backplane::wire::replies::{BroadcastAnswer, Reply};
use crate::backplane::wire::requests::RequestId;
use crate::backplane::{Backplane, Tasks};
use crate::message::{PUBLISH_DEADLINE, Publication, PublishError, Receipt, Scope};

/// Acknowledgements of members here that may wait to be collected.
const MAX_WAITING: usize = 1 << 16;

/// The most bytes of acknowledgements that are collected. Those beyond it count, without what they
/// say.
const MAX_BYTES: usize = 16 << 20;

/// What became of a publication whose recipients were asked to acknowledge it.
#[derive(Debug, PartialEq)]
pub struct AckedReceipt {
    /// How far it went.
    pub receipt: Receipt,
    /// How many members of all servers it was addressed to, as far as they have answered.
    pub recipients: usize,
    /// The first argument of each acknowledgement, in the order of their arrival; null beyond
    /// 16 MiB.
    pub acks: Vec<Data>,
    /// Whether the time was over before every server had answered and every recipient had
    /// acknowledged it.
    pub timed_out: bool,
}

impl Broker {
    /// Publishes, and waits until every recipient has acknowledged it, here and on other servers, at
    /// most for `patience`.
    ///
    /// # Errors
    /// Those of [`Broker::publish`], and that too many publications wait for acknowledgements.
    pub async fn publish_with_acks(
        &self,
        mut publication: Publication,
        patience: Duration,
    ) -> Result<AckedReceipt, PublishError> {
        let deadline = Instant::now() + patience;
        let span = self.parts.tracer.publish(&mut publication);
        let published = self.begin_with_acks(publication, patience, deadline).await;
        match &published {
            Ok(receipt) => span.accepted(receipt.receipt.scope, Some(receipt.receipt.members)),
            Err(error) => span.refused(error),
        }
        published
    }

    async fn begin_with_acks(
        &self,
        publication: Publication,
        patience: Duration,
        deadline: Instant,
    ) -> Result<AckedReceipt, PublishError> {
        let (sender, local) = mpsc::channel(MAX_WAITING);
        let take = move |argument, bytes| {
            // One that does not fit counts as not given.
            let _ = sender.try_send((argument, bytes));
        };
        let open = self.acks.open(publication.namespace.clone(), take);
        let open = open.ok_or(PublishError::TooManyAcks)?;
        let backplane = self.parts.backplane.as_ref();
        let namespace = &publication.namespace;
        let _held = match backplane {
            Some(_) => self.hear_answers(namespace).await,
            None => Vec::new(),
        };
        let others = match backplane {
            Some(backplane) => {
                let own = usize::from(self.parts.rooms.hears_namespace(namespace));
                let audience = backplane.audience(namespace, deadline.into_std()).await;
                audience.map_or(0, |all| all.listeners.saturating_sub(own))
            }
            None => 0,
        };
        let reservation = self.reserve(&publication).await?;
        self.parts.metrics.published(publication.source);
        let mut remote = backplane.and_then(|b| b.broadcast_with_acks(&publication, patience));
        let count = self.parts.rooms.deliver_with_ack(reservation, publication, open.id);
        let members = timeout(PUBLISH_DEADLINE, count.total()).await.unwrap_or_default();
        let scope = if remote.is_some() { Scope::Cluster } else { Scope::Local };
        let servers = if remote.is_some() { others } else { 0 };
        let mut collected = Collected { recipients: members, servers, ..Collected::default() };
        let answers = remote.as_mut().map(|open| &mut open.answers);
        let timed_out = timeout_at(deadline, collected.complete(local, answers)).await.is_err();
        let Collected { recipients, acks, .. } = collected;
        Ok(AckedReceipt { receipt: Receipt { scope, members }, recipients, acks, timed_out })
    }

    /// Delivers what another server published to the members here, and answers it with their number
    /// and their acknowledgements.
    pub(super) fn deliver_with_acks(
        &self,
        publication: Publication,
        id: RequestId,
        patience: Duration,
        backplane: &Backplane,
        tasks: &Tasks,
    ) -> Result<(), &'static str> {
        self.parts.metrics.published(publication.source);
        let (rooms, namespace) = (&self.parts.rooms, publication.namespace.clone());
        let count_is = {
            let (id, namespace, backplane) = (id.clone(), namespace.clone(), backplane.clone());
            move |n| backplane.answer_node(&namespace, &id, &Reply::Recipients(n))
        };
        let Some(reservation) = rooms.try_reserve(&publication) else {
            count_is(0);
            return Err("the queue of a shard is full");
        };
        let (acked, mut progress) = watch::channel(0);
        let take = {
            let (namespace, backplane) = (namespace.clone(), backplane.clone());
            move |argument: Data, _| {
                backplane.answer_node(&namespace, &id, &Reply::Ack(&argument));
                acked.send_modify(|count| *count += 1);
            }
        };
        let Some(open) = self.acks.open(namespace, take) else {
            // Nobody is waited for then.
            drop(rooms.deliver(reservation, publication, false));
            count_is(0);
            return Ok(());
        };
        let count = rooms.deliver_with_ack(reservation, publication, open.id);
        let shutdown = tasks.shutdown.clone();
        let wait = async move {
            let recipients = count.total().await;
            count_is(recipients);
            // An error: the acknowledgements are not waited for any more.
            let _ = progress.wait_for(|count| *count >= recipients).await;
        };
        let wait = shutdown.run_until_cancelled_owned(timeout(patience, wait));
        // Until then acknowledgements are passed on.
        tasks.tracker.spawn_on(wait.map(|_| drop(open)), &tasks.runtime);
        Ok(())
    }
}

/// What was collected for a publication so far.
#[derive(Default)]
struct Collected {
    recipients: usize,
    /// Servers that have not told their number of recipients.
    servers: usize,
    acks: Vec<Data>,
    bytes: usize,
}

impl Collected {
    /// Collects until nothing more can come.
    async fn complete(
        &mut self,
        mut local: mpsc::Receiver<(Data, usize)>,
        mut remote: Option<&mut mpsc::Receiver<BroadcastAnswer>>,
    ) {
        while self.servers > 0 || self.acks.len() < self.recipients {
            let answer = async {
                match &mut remote {
                    Some(answers) => answers.recv().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                Some((argument, bytes)) = local.recv() => self.take(argument, bytes),
                Some(answer) = answer => match answer {
                    BroadcastAnswer::Recipients(n) => {
                        self.recipients = self.recipients.saturating_add(n);
                        self.servers = self.servers.saturating_sub(1);
                    }
                    BroadcastAnswer::Ack(argument, bytes) => self.take(argument, bytes),
                },
            }
        }
    }

    fn take(&mut self, argument: Data, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.acks.push(if self.bytes <= MAX_BYTES { argument } else { Data::Null });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everything_is_collected_whatever_comes_first() {
        let (local, local_acks) = mpsc::channel(8);
        let (remote, mut answers) = mpsc::channel(8);
        let mut collected = Collected { recipients: 1, servers: 2, ..Collected::default() };
        remote.send(BroadcastAnswer::Ack("early".into(), 5)).await.unwrap();
        remote.send(BroadcastAnswer::Recipients(0)).await.unwrap();
        local.send((Data::from("here"), 4)).await.unwrap();
        remote.send(BroadcastAnswer::Recipients(2)).await.unwrap();
        remote.send(BroadcastAnswer::Ack("late".into(), 4)).await.unwrap();
        collected.complete(local_acks, Some(&mut answers)).await;
        let mut acks: Vec<_> = collected.acks.iter().filter_map(Data::as_str).collect();
        acks.sort_unstable();
        assert_eq!((collected.recipients, acks), (3, vec!["early", "here", "late"]));
    }

    #[tokio::test]
    async fn beyond_the_limit_acknowledgements_count_without_what_they_say() {
        let (local, acks) = mpsc::channel(8);
        for n in 0..3 {
            local.send((Data::from(format!("{n}")), MAX_BYTES / 2)).await.unwrap();
        }
        let mut collected = Collected { recipients: 3, ..Collected::default() };
        collected.complete(acks, None).await;
        assert_eq!(collected.acks, ["0".into(), "1".into(), Data::Null]);
    }
}
