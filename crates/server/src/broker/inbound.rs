//! What other servers send: publications go to the members here and never back to Redis, requests
//! and questions are answered.

use std::sync::Arc;
use std::time::Duration;

use rookery_ops::throttle::{Throttle, limited};
use tokio::sync::{Semaphore, mpsc};

use super::Broker;
use super::servers::{answer_node, answer_pod};
use crate::backplane::{Backplane, Inbound, Tasks};
use crate::message::Publication;

/// Requests and questions of other servers that are answered at once.
const MAX_ANSWERING: usize = 64;

/// How long an answer may take; then the asker waits no longer either.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

impl Broker {
    /// Starts to handle what arrives on the backplane, on the backplane's runtime.
    pub fn spawn_inbound(&self, inbound: mpsc::Receiver<Inbound>, tasks: Tasks) {
        let run = self.clone().run_inbound(inbound, tasks.clone());
        tasks.spawn("the task that handles messages from Redis", run);
    }

    async fn run_inbound(self, mut inbound: mpsc::Receiver<Inbound>, tasks: Tasks) {
        let Some(backplane) = self.parts.backplane.clone() else { return };
        let dropped = Throttle::new(&self.parts.metrics.log_lines_suppressed);
        let answering = Arc::new(Semaphore::new(MAX_ANSWERING));
        let shutdown = tasks.shutdown.clone();
        while let Some(Some(message)) = shutdown.run_until_cancelled(inbound.recv()).await {
            if let Err(why) = self.on_inbound(message, &backplane, &answering, &tasks) {
                self.parts.metrics.redis_dropped.inc();
                limited!(dropped, warn, reason = why, "dropped what came from Redis");
            }
        }
    }

    /// Handles one message; gives why it was dropped.
    fn on_inbound(
        &self,
        message: Inbound,
        backplane: &Backplane,
        answering: &Arc<Semaphore>,
        tasks: &Tasks,
    ) -> Result<(), &'static str> {
        if let Inbound::Publication(publication) | Inbound::Bridge(publication) = message {
            return self.deliver(publication);
        }
        if let Inbound::WithAcks { publication, id, timeout } = message {
            return self.deliver_with_acks(publication, id, timeout, backplane, tasks);
        }
        let permit = answering.clone().try_acquire_owned();
        let permit = permit.map_err(|_| "too many requests are being answered")?;
        let (broker, backplane) = (self.clone(), backplane.clone());
        let shutdown = tasks.shutdown.clone();
        let answer = async move {
            let _permit = permit;
            let answer = async {
                match message {
                    Inbound::NodeRequest { namespace, ask, id } => {
                        answer_node(&broker.parts, &backplane, &namespace, ask, id).await;
                    }
                    Inbound::PeerQuestion { pod, id, namespace, ask } => {
                        answer_pod(&broker.parts, &backplane, (&pod, id), &namespace, ask).await;
                    }
                    Inbound::Publication(_) | Inbound::Bridge(_) | Inbound::WithAcks { .. } => {}
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                _ = tokio::time::timeout(ANSWER_DEADLINE, answer) => {}
            }
        };
        tasks.tracker.spawn_on(answer, &tasks.runtime);
        Ok(())
    }

    /// Delivers what another server published to the members here.
    fn deliver(&self, publication: Publication) -> Result<(), &'static str> {
        self.parts.metrics.published(publication.source);
        match self.parts.rooms.try_deliver(publication) {
            true => Ok(()),
            false => Err("the queue of a shard is full"),
        }
    }
}
