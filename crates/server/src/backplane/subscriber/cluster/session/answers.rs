//! What nodes answer to SSUBSCRIBE and SUNSUBSCRIBE.

use std::time::{Duration, Instant};

use redis::{PushKind, RedisError, RedisResult, Value};
use rookery_ops::throttle::limited;

use super::super::node::NodeLink;
use super::super::placements::ChannelKind;
use super::ClusterSession;
use crate::backplane::connect::slot_map::Address;
use crate::backplane::subscriber::commands::{self, is_forbidden};
use crate::backplane::wire::node::NodeWire;

/// Pause before a channel is asked for again that no node took yet.
const AGAIN: Duration = Duration::from_millis(25);

/// A pipeline that was answered.
pub(super) struct Answered {
    pub(super) node: Address,
    pub(super) link: NodeLink,
    pub(super) kind: ChannelKind,
    pub(super) subscribes: bool,
    pub(super) channels: Vec<String>,
    pub(super) result: RedisResult<Vec<Value>>,
}

impl ClusterSession<'_> {
    /// Takes note of what a pipeline was answered.
    pub(super) fn answered(&mut self, answered: Answered) {
        self.read_replies();
        let Answered { node, link, subscribes, channels, result, .. } = &answered;
        let Ok(answers) = result else {
            return link.lost.cancel();
        };
        if !subscribes {
            return self.subscriber.decoder.unsubscribed(channels);
        }
        let is_current = |current: &NodeLink| current.number == link.number;
        let current = self.nodes.get(node).and_then(|node| node.link.as_ref());
        if current.is_some_and(is_current)
            && let Err(why) = self.refused(&answered, answers)
        {
            link.lost.cancel();
            self.lost(node, link.number, &why);
        }
    }

    /// Looks at what of a pipeline is not confirmed.
    ///
    /// # Errors
    /// Why the node cannot be used: it refuses what every instance needs.
    fn refused(&mut self, answered: &Answered, answers: &[Value]) -> Result<(), String> {
        let Answered { node, channels, kind, .. } = answered;
        // Answers that were shifted belong to other channels: they are asked for again.
        let is_aligned = channels.len() == answers.len()
            && channels.iter().zip(answers).all(|(channel, answer)| is_of(answer, channel));
        for (channel, answer) in channels.iter().zip(answers) {
            let Value::ServerError(error) = answer else { continue };
            let error = RedisError::from(error.clone());
            if self.subscriber.cluster.moved(&error, node) || !is_aligned {
                continue;
            }
            if self.placements.is_fixed(channel) {
                let wire = match kind {
                    ChannelKind::Sharded => self.subscriber.channels.wire(),
                    ChannelKind::Plain => NodeWire::Classic,
                };
                return Err(commands::explain(wire, error, channel.as_bytes()).to_string());
            }
            if is_forbidden(&error) {
                let ticket = self.placements.refused(channel, node);
                self.subscriber.interests.confirmed(ticket.as_slice());
            }
            limited!(self.subscriber.refused, warn, %channel, %error, "Redis refused a SUBSCRIBE");
        }
        for channel in channels {
            if self.placements.is_asked(channel, node) {
                self.placements.postpone(channel);
                self.again.get_or_insert_with(|| Instant::now() + AGAIN);
            }
        }
        Ok(())
    }
}

/// Whether an answer may be that to the SSUBSCRIBE or SUBSCRIBE of a channel.
fn is_of(answer: &Value, channel: &str) -> bool {
    match answer {
        Value::ServerError(_) => true,
        Value::Push { kind: PushKind::SSubscribe | PushKind::Subscribe, data } => {
            matches!(data.first(), Some(Value::BulkString(name)) if name == channel.as_bytes())
        }
        _ => false,
    }
}
