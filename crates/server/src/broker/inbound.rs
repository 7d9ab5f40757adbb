//! What other servers send: publications go to the members here and never back to Redis, requests
//! and questions are answered.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use rookery_ops::throttle::{Throttle, limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::Broker;
use super::orders::{Execution, Order, Orders};
use super::presence::PeerNews;
use super::servers::{answer_node, answer_pod, order};
use crate::backplane::wire::pod_messages::Ask;
use crate::backplane::{Backplane, Inbound, Tasks};
use crate::message::Publication;
use crate::rooms::shares::Share;

/// Requests and questions of other servers that are answered at once.
const MAX_ANSWERING: usize = 64;

/// Requests, questions and orders of other servers that may be under way, with those that wait.
const MAX_UNDER_WAY: usize = 4096;

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
        let mut requests = Requests::new();
        let shutdown = tasks.shutdown.clone();
        loop {
            let handled = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                begun = requests.orders.begin(&tasks), if !requests.orders.is_empty() => begun,
                message = inbound.recv() => match message {
                    Some(message) => self.on_inbound(message, &backplane, &mut requests, &tasks),
                    None => return,
                },
            };
            if let Err(why) = handled {
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
        requests: &mut Requests,
        tasks: &Tasks,
    ) -> Result<(), &'static str> {
        match message {
            Inbound::Publication(publication, share) | Inbound::Bridge(publication, share) => {
                self.deliver(publication, share)
            }
            Inbound::WithAcks { publication, id, timeout } => {
                self.deliver_with_acks(publication, id, timeout, backplane, tasks)
            }
            Inbound::PeerPresence { pod, presence } => {
                self.presence.push(PeerNews::Told { pod, presence });
                Ok(())
            }
            Inbound::PeerStops { pod } => {
                self.presence.push(PeerNews::Stops { pod });
                Ok(())
            }
            Inbound::NodeRequest { namespace, ask, id } => {
                let (parts, backplane) = (self.parts.clone(), backplane.clone());
                let permit = requests.permit()?;
                match order(&parts, &backplane, &namespace, ask, id.clone()) {
                    Ok(order) => requests.orders.push(holding(permit, order), tasks),
                    Err(ask) => requests.answer(permit, tasks, async move {
                        answer_node(&parts, &backplane, &namespace, ask, id).await;
                    }),
                }
                Ok(())
            }
            Inbound::PeerQuestion {
                namespace, ask: Some(Ask::AdminSockets { admins }), ..
            } => self.admins.push(namespace, admins),
            Inbound::PeerQuestion { pod, id, namespace, ask } => {
                let (parts, backplane) = (self.parts.clone(), backplane.clone());
                let permit = requests.permit()?;
                requests.answer(permit, tasks, async move {
                    answer_pod(&parts, &backplane, (&pod, id), &namespace, ask).await;
                });
                Ok(())
            }
        }
    }

    /// Delivers what another server published to the members here.
    fn deliver(&self, publication: Publication, share: Share) -> Result<(), &'static str> {
        self.parts.metrics.published(publication.source);
        match self.parts.rooms.try_deliver(publication, Some(share)) {
            true => Ok(()),
            false => Err("the queue of a shard is full"),
        }
    }
}

/// The requests, questions and orders of other servers that are under way.
struct Requests {
    under_way: Arc<Semaphore>,
    answering: Arc<Semaphore>,
    orders: Orders,
}

impl Requests {
    fn new() -> Self {
        Requests {
            under_way: Arc::new(Semaphore::new(MAX_UNDER_WAY)),
            answering: Arc::new(Semaphore::new(MAX_ANSWERING)),
            orders: Orders::default(),
        }
    }

    /// A place for a request that is answered.
    ///
    /// # Errors
    /// When too many wait.
    fn permit(&self) -> Result<OwnedSemaphorePermit, &'static str> {
        let permit = self.under_way.clone().try_acquire_owned();
        permit.map_err(|_| "too many requests wait to be answered")
    }

    /// Answers once fewer than [`MAX_ANSWERING`] are being answered.
    fn answer(
        &self,
        permit: OwnedSemaphorePermit,
        tasks: &Tasks,
        answer: impl Future<Output = ()> + Send + 'static,
    ) {
        let (answering, shutdown) = (self.answering.clone(), tasks.shutdown.clone());
        let answer = async move {
            let _permit = permit;
            let answer = async {
                let _permit = answering.acquire().await;
                answer.await;
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                _ = tokio::time::timeout(ANSWER_DEADLINE, answer) => {}
            }
        };
        tasks.tracker.spawn_on(answer, &tasks.runtime);
    }
}

/// An order that holds a permit until it is done.
fn holding(permit: OwnedSemaphorePermit, order: Order) -> Order {
    let begun = async move {
        let Execution(execution) = order.await;
        let done = async move {
            execution.await;
            drop(permit);
        };
        Execution(done.boxed())
    };
    begun.boxed()
}
