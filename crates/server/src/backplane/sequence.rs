//! Sequence numbers: each pod numbers what it publishes on a channel, so that whoever subscribes it
//! can count what never came and what came twice.
//!
//! Redis delivers what one connection publishes on a channel in order, so a number that is skipped
//! belongs to a message that is lost for good. Pure bookkeeping.

use std::mem;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::hashing::HashMap;

/// Channels whose last number a publisher remembers. Those that were used longest ago are forgotten
/// first; on a channel that is used again numbering starts again.
const MAX_NUMBERED: usize = 1 << 16;

/// Channels that a subscriber follows. What is lost on others is not noticed.
const MAX_FOLLOWED: usize = 1 << 17;

/// Publishers that a subscriber follows on one channel.
const MAX_PUBLISHERS: usize = 256;

/// The place of a message among those that one pod published on one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceNumber {
    /// When the numbering started, in microseconds since 1970: a later one starts again.
    pub epoch: u64,
    /// 1 for the first message.
    pub number: u64,
}

impl SequenceNumber {
    /// What is written where the number is not known yet.
    const UNKNOWN: SequenceNumber = SequenceNumber { epoch: 0, number: 0 };

    /// Length of the written form, in bytes.
    const WRITTEN: usize = 19;

    /// Writes a number that is not known yet, in MessagePack; [`SequenceNumber::replace_last`] puts
    /// the real one in its place.
    pub fn write_unknown(to: &mut Vec<u8>) {
        to.extend(Self::UNKNOWN.written());
    }

    /// Replaces the number that ends `message`. A message that does not end with one stays as it is.
    pub fn replace_last(self, message: &mut [u8]) {
        if let Some(last) = message.last_chunk_mut()
            && *last == Self::UNKNOWN.written()
        {
            *last = self.written();
        }
    }

    /// An array of two unsigned integers of 64 bits, whatever their values, so that they can be
    /// replaced in place (MessagePack specification, "Array format family" and "Int format family").
    fn written(self) -> [u8; Self::WRITTEN] {
        let mut bytes = [0; Self::WRITTEN];
        bytes[0] = 0x92;
        for (part, value) in bytes[1..].chunks_exact_mut(9).zip([self.epoch, self.number]) {
            part[0] = 0xcf;
            part[1..].copy_from_slice(&value.to_be_bytes());
        }
        bytes
    }
}

/// Numbers what this pod publishes, channel by channel.
#[derive(Debug, Default)]
pub struct Numbering {
    recent: HashMap<String, SequenceNumber>,
    /// What was recent before `recent` was half full.
    older: HashMap<String, SequenceNumber>,
    last_epoch: u64,
}

impl Numbering {
    /// The number of the next message on the channel.
    pub fn next(&mut self, channel: &str) -> SequenceNumber {
        if let Some(last) = self.recent.get_mut(channel) {
            last.number += 1;
            return *last;
        }
        if self.recent.len() >= MAX_NUMBERED / 2 {
            self.older = mem::take(&mut self.recent);
        }
        let next = match self.older.remove(channel) {
            Some(last) => SequenceNumber { number: last.number + 1, ..last },
            None => SequenceNumber { epoch: self.new_epoch(), number: 1 },
        };
        self.recent.insert(channel.to_owned(), next);
        next
    }

    /// Later than every one before, also where the clock was put back.
    fn new_epoch(&mut self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        self.last_epoch = now.max(self.last_epoch.saturating_add(1));
        self.last_epoch
    }
}

/// What a sequence number says about the messages before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// It follows the last one, or is the first that is heard of its publisher.
    Continuous,
    /// So many messages before it never came.
    Gap(u64),
    /// It came before.
    Repeat,
}

/// Follows the numbers of other pods on the channels that this one subscribes.
#[derive(Debug, Default)]
pub struct SequenceTracker {
    channels: HashMap<Vec<u8>, Vec<Followed>>,
}

#[derive(Debug)]
struct Followed {
    publisher: Box<str>,
    last: SequenceNumber,
}

impl SequenceTracker {
    /// A message of `publisher` came on `channel`.
    pub fn received(
        &mut self,
        channel: &[u8],
        publisher: &str,
        number: SequenceNumber,
    ) -> Continuity {
        if let Some(publishers) = self.channels.get_mut(channel) {
            return follow(publishers, publisher, number);
        }
        if self.channels.len() < MAX_FOLLOWED {
            let first = Followed { publisher: publisher.into(), last: number };
            self.channels.insert(channel.to_vec(), vec![first]);
        }
        Continuity::Continuous
    }

    /// The channel is not subscribed any more: what is published there until it is again is not
    /// lost.
    pub fn forget(&mut self, channel: &[u8]) {
        self.channels.remove(channel);
    }
}

fn follow(publishers: &mut Vec<Followed>, publisher: &str, number: SequenceNumber) -> Continuity {
    let Some(at) = publishers.iter().position(|followed| *followed.publisher == *publisher) else {
        if publishers.len() >= MAX_PUBLISHERS {
            publishers.remove(0);
        }
        publishers.push(Followed { publisher: publisher.into(), last: number });
        return Continuity::Continuous;
    };
    let last = mem::replace(&mut publishers[at].last, number);
    if number.epoch > last.epoch {
        return Continuity::Continuous;
    }
    if number.epoch < last.epoch || number.number <= last.number {
        publishers[at].last = last;
        return Continuity::Repeat;
    }
    match number.number - last.number - 1 {
        0 => Continuity::Continuous,
        missing => Continuity::Gap(missing),
    }
}

#[cfg(test)]
mod tests {
    use rookery_protocol::msgpack;

    use super::*;

    fn number(epoch: u64, number: u64) -> SequenceNumber {
        SequenceNumber { epoch, number }
    }

    #[test]
    fn each_channel_is_numbered_from_one() {
        let mut numbering = Numbering::default();
        let first = numbering.next("a");
        assert_eq!(first.number, 1);
        assert_eq!(numbering.next("a"), number(first.epoch, 2));
        let other = numbering.next("b");
        assert_eq!(other.number, 1);
        assert!(other.epoch > first.epoch);
    }

    #[test]
    fn a_channel_that_was_forgotten_starts_again_with_a_later_epoch() {
        let mut numbering = Numbering::default();
        let before = numbering.next("a");
        for n in 0..MAX_NUMBERED {
            numbering.next(&format!("other-{n}"));
        }
        assert!(numbering.recent.len() + numbering.older.len() <= MAX_NUMBERED);
        let after = numbering.next("a");
        assert_eq!(after.number, 1);
        assert!(after.epoch > before.epoch);
    }

    #[test]
    fn a_channel_in_use_keeps_its_numbers_while_others_come_and_go() {
        let mut numbering = Numbering::default();
        let epoch = numbering.next("a").epoch;
        for n in 0..MAX_NUMBERED as u64 {
            numbering.next(&format!("other-{n}"));
            assert_eq!(numbering.next("a"), number(epoch, n + 2));
        }
    }

    #[test]
    fn numbers_that_are_skipped_are_a_gap_and_old_ones_a_repeat() {
        let mut tracker = SequenceTracker::default();
        let mut received = |n| tracker.received(b"room", "pod-a", number(1, n));
        assert_eq!(received(5), Continuity::Continuous);
        assert_eq!(received(6), Continuity::Continuous);
        assert_eq!(received(10), Continuity::Gap(3));
        assert_eq!(received(10), Continuity::Repeat);
        assert_eq!(received(7), Continuity::Repeat);
        assert_eq!(received(11), Continuity::Continuous);
    }

    #[test]
    fn a_publisher_that_starts_again_leaves_no_gap() {
        let mut tracker = SequenceTracker::default();
        tracker.received(b"room", "pod-a", number(1, 9));
        assert_eq!(tracker.received(b"room", "pod-a", number(2, 1)), Continuity::Continuous);
        assert_eq!(tracker.received(b"room", "pod-a", number(1, 10)), Continuity::Repeat);
        assert_eq!(tracker.received(b"room", "pod-a", number(2, 2)), Continuity::Continuous);
    }

    #[test]
    fn publishers_and_channels_are_followed_apart() {
        let mut tracker = SequenceTracker::default();
        for (channel, publisher) in [("x", "pod-a"), ("x", "pod-b"), ("y", "pod-a")] {
            for n in 1..4 {
                let continuity = tracker.received(channel.as_bytes(), publisher, number(1, n));
                assert_eq!(continuity, Continuity::Continuous);
            }
        }
    }

    #[test]
    fn what_was_published_while_a_channel_was_not_subscribed_is_no_gap() {
        let mut tracker = SequenceTracker::default();
        tracker.received(b"room", "pod-a", number(1, 1));
        tracker.forget(b"room");
        assert_eq!(tracker.received(b"room", "pod-a", number(1, 8)), Continuity::Continuous);
    }

    #[test]
    fn many_publishers_and_channels_do_not_fill_the_memory() {
        let mut tracker = SequenceTracker::default();
        for n in 0..2 * MAX_PUBLISHERS {
            tracker.received(b"room", &n.to_string(), number(1, 1));
        }
        assert_eq!(tracker.channels[&b"room"[..]].len(), MAX_PUBLISHERS);
        for n in 0..MAX_FOLLOWED + 10 {
            tracker.received(n.to_string().as_bytes(), "pod-a", number(1, 1));
        }
        assert_eq!(tracker.channels.len(), MAX_FOLLOWED);
    }

    #[test]
    fn a_number_is_replaced_in_place() {
        let mut message = b"before".to_vec();
        SequenceNumber::write_unknown(&mut message);
        let length = message.len();
        assert_eq!(length, b"before".len() + SequenceNumber::WRITTEN);
        number(7, u64::MAX).replace_last(&mut message);
        assert_eq!(message.len(), length);
        let read = msgpack::read(&message[b"before".len()..]).unwrap();
        assert_eq!(format!("{read:?}").matches("18446744073709551615").count(), 1);

        let mut other = b"a message without a number at its end".to_vec();
        number(7, 1).replace_last(&mut other);
        assert_eq!(other, b"a message without a number at its end");
    }
}
