//! Messages of the sharded wire, where one channel carries every kind of them.

use std::time::Instant;

use super::Decoder;
use crate::backplane::wire::sharded::{self, Message};

impl Decoder {
    /// A message on any channel of the sharded wire.
    pub(super) fn sharded_message(&self, channel: &[u8], payload: &[u8], received: Instant) {
        if sharded::sender(payload) == Some(self.pod.as_bytes()) {
            return;
        }
        match sharded::decode(payload) {
            Ok(Message::Broadcast(broadcast)) => {
                if self.is_new(channel, &broadcast) {
                    self.publish(channel, broadcast, received);
                }
            }
            Ok(Message::Request(of, request)) => {
                if let Some(namespace) = self.namespace(&of) {
                    self.request(&namespace, request, payload, received);
                }
            }
            Ok(Message::Acknowledged(id, said)) => self.acknowledged(&id, said),
            Ok(Message::Fetched(id, members)) => self.fetched(&id, members),
            Ok(Message::Other) => {}
            Err(why) => self.drop("a message of the sharded wire", payload, &why),
        }
    }
}
