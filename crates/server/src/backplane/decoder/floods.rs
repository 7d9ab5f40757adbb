//! Publications of other servers, bounded so that one channel, or one server, does not keep what comes
//! on the others waiting.

use std::time::Instant;

use rookery_ops::throttle::limited;

use super::Decoder;
use crate::backplane::inbound::Inbound;
use crate::backplane::wire::classic::Broadcast;
use crate::rooms::shares::Share;

impl Decoder {
    /// Hands over what came on `channel`, unless that, or the server that sent it, holds too much.
    /// Instances of ours see to it that none of their publishers floods the others.
    pub(super) fn publish(&self, channel: &[u8], broadcast: Broadcast, received: Instant) {
        let sender = if broadcast.sequence.is_none() { Some(&*broadcast.uid) } else { None };
        let Some(share) = self.share(channel, sender) else { return };
        if let Some(publication) = self.publication(broadcast, received) {
            self.hand_over(Inbound::Publication(publication, share));
        }
    }

    /// A place for a publication; where there is none, it is dropped and counted.
    pub(super) fn share(&self, channel: &[u8], sender: Option<&str>) -> Option<Share> {
        let share = self.shares.take(channel, sender);
        if share.is_none() {
            self.metrics.redis_dropped.inc();
            let channel = String::from_utf8_lossy(channel);
            limited!(self.floods, warn, %channel, sender, "dropped a publication of a flood: too many of its channel or its sender are being delivered");
        }
        share
    }
}
