//! The subscribing connection to one primary of a Cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, RedisError, RedisResult, Value};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::backplane::connect::slot_map::Address;
use crate::backplane::connect::{Connector, HEARTBEAT_ANSWER, check_primary};
use crate::backplane::decoder::Decoder;
use crate::backplane::subscriber::session::heartbeat;

/// A subscribing connection to one primary. Cloning is shallow.
#[derive(Clone)]
pub(super) struct NodeLink {
    pub(super) connection: MultiplexedConnection,
    /// Tells this connection from others to the same node.
    pub(super) number: u64,
    /// Is cancelled when the connection ends, and ends it.
    pub(super) lost: CancellationToken,
    heard: Arc<AtomicU64>,
}

/// A reply of a node about a subscription: to a command, or unasked where it ends one.
pub(super) struct SubscriptionReply {
    pub(super) node: Address,
    /// The number of the connection.
    pub(super) link: u64,
    pub(super) channel: String,
    /// Whether the channel is subscribed now. Redis ends a subscription unasked when the slot is
    /// another node's from now on.
    pub(super) is_subscribed: bool,
}

/// Replies of nodes about subscriptions, until they are read. Each answers a command, or ends a
/// subscription that was made by one.
#[derive(Default)]
pub(super) struct SubscriptionReplies {
    unread: Mutex<Vec<SubscriptionReply>>,
    added: Notify,
}

impl SubscriptionReplies {
    fn add(&self, reply: SubscriptionReply) {
        self.unread.lock().push(reply);
        self.added.notify_one();
    }

    /// All of it, in order.
    pub(super) fn take(&self) -> Vec<SubscriptionReply> {
        std::mem::take(&mut self.unread.lock())
    }

    /// Resolves when there is something.
    pub(super) async fn added(&self) {
        self.added.notified().await;
    }
}

impl NodeLink {
    /// Connects to a node. Messages go to `decoder`, its replies about subscriptions to `replies`:
    /// not to whoever sent the command, because a subscription that Redis ends unasked shifts the
    /// answers that the driver gives to each command.
    ///
    /// # Errors
    /// When the node cannot be reached, refuses, or is no primary.
    pub(super) async fn open(
        connector: Connector,
        node: Address,
        number: u64,
        decoder: Arc<Decoder>,
        replies: Arc<SubscriptionReplies>,
    ) -> RedisResult<Self> {
        let (lost, heard) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let push = {
            let (lost, heard) = (lost.clone(), heard.clone());
            move |info: PushInfo| -> Result<(), redis::aio::SendError> {
                let say = |is_subscribed| {
                    if let Some(Value::BulkString(channel)) = info.data.first() {
                        let channel = String::from_utf8_lossy(channel).into_owned();
                        let node = node.clone();
                        replies.add(SubscriptionReply {
                            node,
                            link: number,
                            channel,
                            is_subscribed,
                        });
                    }
                };
                match info.kind {
                    PushKind::Disconnection => lost.cancel(),
                    PushKind::SSubscribe | PushKind::Subscribe => say(true),
                    PushKind::SUnsubscribe | PushKind::Unsubscribe => say(false),
                    PushKind::Message | PushKind::SMessage => {
                        heard.fetch_add(1, Ordering::Relaxed);
                        decoder.receive(info.data);
                    }
                    _ => {}
                }
                Ok(())
            }
        };
        // No limit on answers: a confirmation may stand behind many messages.
        let (mut connection, _) = connector.connect(None, push).await?;
        let checked = tokio::time::timeout(HEARTBEAT_ANSWER, check_primary(&mut connection));
        checked.await.unwrap_or_else(|_| {
            let error = std::io::Error::new(std::io::ErrorKind::TimedOut, "HELLO not answered");
            Err(RedisError::from(error))
        })?;
        Ok(NodeLink { connection, number, lost, heard })
    }

    /// Resolves, with the reason, when the connection is lost.
    pub(super) async fn ended(self) -> String {
        tokio::select! {
            () = self.lost.cancelled() => "the connection was closed".to_owned(),
            why = heartbeat(self.connection, self.heard, Arc::default()) => why,
        }
    }
}
