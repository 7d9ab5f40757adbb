//! The [`Topic`]s: what others publish that somebody here may be interested in.

use std::sync::Arc;

use crate::message::RoomKey;

/// What others publish that somebody here is interested in, as one subscription.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// What is for one room, or for a member by its id.
    Room(RoomKey),
    /// What is for a whole namespace of a pattern.
    Namespace(Arc<str>, NamespaceTopic),
}

/// What is for a whole namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamespaceTopic {
    /// Publications to several rooms, or to all members.
    Publications,
    /// Requests of other servers.
    Requests,
    /// Nothing: the pods that hear the others are counted by it.
    Pods,
    /// Answers to requests of any server.
    Responses,
    /// Answers to requests of this one.
    OwnResponses,
}

/// On which channels others send what is for one member here, addressed by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberChannels {
    /// On those of a pattern that is subscribed anyway: every room whose name begins with the pod's.
    Pattern,
    /// On the channel of the whole namespace, as what is for a room whose name has 20 characters:
    /// Node's sharded adapter takes such a room for a client.
    Shared,
    /// On one of the member's own, as for a room.
    Own,
}

impl MemberChannels {
    /// What a pod with members of a namespace hears, by its channels.
    pub(super) fn of_members(self) -> &'static [NamespaceTopic] {
        match self {
            MemberChannels::Pattern => {
                &[NamespaceTopic::Publications, NamespaceTopic::Requests, NamespaceTopic::Pods]
            }
            // Requests come on the channel of publications.
            MemberChannels::Shared | MemberChannels::Own => {
                &[NamespaceTopic::Publications, NamespaceTopic::Pods]
            }
        }
    }

    /// What a pod hears that has asked other servers something.
    pub(super) fn of_askers(self) -> &'static [NamespaceTopic] {
        match self {
            MemberChannels::Pattern => &[NamespaceTopic::Responses, NamespaceTopic::OwnResponses],
            MemberChannels::Shared | MemberChannels::Own => &[NamespaceTopic::OwnResponses],
        }
    }

    /// How many characters, as JavaScript counts them, the id of a client has.
    const ID_LENGTH: usize = 20;

    /// Whether what is for this room alone has a channel of its own.
    pub fn has_channel(self, room: &str) -> bool {
        // A character has at most three bytes for each unit of UTF-16.
        let may_be_id = (Self::ID_LENGTH..=3 * Self::ID_LENGTH).contains(&room.len());
        self != MemberChannels::Shared
            || !may_be_id
            || room.encode_utf16().count() != Self::ID_LENGTH
    }
}
