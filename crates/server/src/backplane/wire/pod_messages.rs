//! What pods say to each other on their own channels, as JSON. Pure.
//!
//! A message names its version. A pod answers a question that it does not know with
//! [`Answer::Unknown`], so that pods of two versions can run side by side during an upgrade.

use std::collections::BTreeMap;
use std::time::SystemTime;

use rookery_protocol::Room;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::presence::PresenceMessage;
use crate::message::{MemberInfo, RoomKey, Selector};
use crate::rooms::ranking::{RoomShare, SortBy};

/// The version of these messages.
const VERSION: u32 = 1;

/// One message between pods.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// A pod is alive.
    Hello {
        /// The name of the pod that is alive.
        pod: String,
        /// Whether it wants to hear the others at once, as it is new or was away.
        greet: bool,
        /// Its place in a rollout, where it is in one.
        state: Option<RolloutState>,
        /// Whether admins are connected to it.
        admins: bool,
    },
    /// A pod stops.
    Bye {
        /// The name of the pod that stops.
        pod: String,
    },
    /// A room with presence changed.
    Presence {
        /// The name of the pod that tells it.
        pod: String,
        /// What it tells.
        presence: PresenceMessage,
    },
    /// A question to all pods.
    Question {
        /// The name of the pod that asks.
        pod: String,
        /// What the answer must carry.
        id: u64,
        /// The namespace that it is about, where the question does not name it.
        namespace: String,
        /// What is asked; `None` where this version does not know the question.
        ask: Option<Ask>,
    },
    /// An answer to one question.
    Answer {
        /// The name of the pod that answers.
        pod: String,
        /// The id of the question that it answers.
        id: u64,
        /// What the pod answers.
        answer: Answer,
    },
}

/// What an instance tells the others of its place in a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutState {
    /// The instances that are rolled out together: a Deployment.
    pub group: String,
    /// Its revision of the group.
    pub revision: String,
    /// When it started, in milliseconds since 1970.
    pub born: u64,
    /// When it was told to stop, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_to_stop: Option<u64>,
    /// Its sessions that have connected to a namespace; `None` from versions that do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u64>,
}

/// What a pod can be asked.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub enum Ask {
    /// The rooms with members whose names start with a prefix.
    Rooms {
        /// What the rooms' names start with; empty: all rooms.
        prefix: String,
    },
    /// The selected members.
    Members {
        /// Which members are meant.
        of: WireSelector,
    },
    /// Make the selected members join rooms.
    Join {
        /// Which members are meant.
        of: WireSelector,
        /// The rooms that they join.
        rooms: Vec<String>,
    },
    /// Make the selected members leave rooms.
    Leave {
        /// Which members are meant.
        of: WireSelector,
        /// The rooms that they leave.
        rooms: Vec<String>,
    },
    /// Dismiss the selected members.
    Disconnect {
        /// Which members are meant.
        of: WireSelector,
        /// Whether their transports are closed too.
        close: bool,
    },
    /// The rooms that come first by a key.
    First {
        /// The namespaces whose rooms are ranked.
        namespaces: Vec<String>,
        /// Whether those of all namespaces are.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        all: bool,
        /// What they are ranked by.
        sort: SortBy,
        /// How many are wanted at most.
        limit: usize,
    },
    /// What is known of these rooms.
    Statistics {
        /// The rooms that are asked about; an answer refers to them by position.
        rooms: Vec<WireRoomKey>,
    },
    /// Publish your sockets to these admins, in the namespace of the question. Nobody waits for an
    /// answer.
    AdminSockets {
        /// The admins' ids, which are rooms too.
        admins: Vec<String>,
    },
}

/// What a pod answers.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// Rooms and how many members each has.
    Rooms(BTreeMap<String, usize>),
    /// The selected members, and the rooms that each is in.
    Members(Vec<WireMember>),
    /// How many members were selected.
    Matched(usize),
    /// The rooms that come first, with what they are ranked by.
    First(Vec<(WireRoomKey, u64)>),
    /// What is known of the rooms of the question.
    Statistics(Vec<RoomShare>),
    /// This pod does not know the question, or the answer is one that the asker does not know.
    Unknown,
}

/// A [`RoomKey`] on the wire.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct WireRoomKey {
    namespace: String,
    room: String,
}

/// A [`Selector`] on the wire.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum WireSelector {
    Member(String),
    User(String),
    Rooms { rooms: Vec<String>, except: Vec<String> },
}

/// A [`MemberInfo`] on the wire.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WireMember {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    connected_at: Option<SystemTime>,
    rooms: Vec<String>,
}

/// A message as it travels: what it says, and for questions and answers what this version may not
/// know.
#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    #[serde(default)]
    v: u32,
    kind: Kind,
    pod: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    greet: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<RolloutState>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    admins: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    ask: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    answer: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    presence: Option<PresenceMessage>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Hello,
    Bye,
    Presence,
    Question,
    Answer,
}

impl Message {
    /// The message as JSON.
    pub fn encode(&self) -> Vec<u8> {
        let raw = |json: serde_json::Result<Box<RawValue>>| {
            json.expect("messages have text keys and nothing that can fail")
        };
        let empty = |kind: Kind, pod: &str| Envelope {
            v: VERSION,
            kind,
            pod: pod.to_owned(),
            greet: None,
            state: None,
            admins: false,
            id: None,
            namespace: None,
            ask: None,
            answer: None,
            presence: None,
        };
        let (ask, answer);
        let envelope = match self {
            Message::Hello { pod, greet, state, admins } => Envelope {
                greet: Some(*greet),
                state: state.clone(),
                admins: *admins,
                ..empty(Kind::Hello, pod)
            },
            Message::Bye { pod } => empty(Kind::Bye, pod),
            Message::Presence { pod, presence } => {
                Envelope { presence: Some(presence.clone()), ..empty(Kind::Presence, pod) }
            }
            Message::Question { pod, id, namespace, ask: asked } => {
                ask = raw(serde_json::value::to_raw_value(asked));
                Envelope {
                    id: Some(*id),
                    namespace: Some(namespace.clone()),
                    ask: Some(&ask),
                    ..empty(Kind::Question, pod)
                }
            }
            Message::Answer { pod, id, answer: given } => {
                answer = raw(serde_json::value::to_raw_value(given));
                Envelope { id: Some(*id), answer: Some(&answer), ..empty(Kind::Answer, pod) }
            }
        };
        serde_json::to_vec(&envelope).expect("messages have text keys and nothing that can fail")
    }

    /// Reads a message of this version or another.
    ///
    /// # Errors
    /// When the bytes are no message between pods.
    pub fn decode(bytes: &[u8]) -> Result<Message, serde_json::Error> {
        let missing = |field| <serde_json::Error as serde::de::Error>::missing_field(field);
        let Envelope {
            kind, pod, greet, state, admins, id, namespace, ask, answer, presence, ..
        } = serde_json::from_slice(bytes)?;
        let id = id.ok_or_else(|| missing("id"));
        Ok(match kind {
            Kind::Hello => Message::Hello { pod, greet: greet.unwrap_or_default(), state, admins },
            Kind::Bye => Message::Bye { pod },
            Kind::Presence => {
                let presence = presence.ok_or_else(|| missing("presence"))?;
                Message::Presence { pod, presence }
            }
            Kind::Question => {
                let ask = ask.ok_or_else(|| missing("ask"))?;
                let ask = serde_json::from_str(ask.get()).ok();
                Message::Question { pod, id: id?, namespace: namespace.unwrap_or_default(), ask }
            }
            Kind::Answer => {
                let answer = answer.ok_or_else(|| missing("answer"))?;
                let answer = serde_json::from_str(answer.get()).unwrap_or(Answer::Unknown);
                Message::Answer { pod, id: id?, answer }
            }
        })
    }
}

impl RolloutState {
    /// An instance that serves. `revision` is `GROUP/REVISION`, as `ROOKERY_REVISION` has it;
    /// `born` is when it started, in milliseconds since 1970.
    pub fn parse(revision: &str, born: u64) -> Option<Self> {
        let (group, revision) = revision.rsplit_once('/')?;
        let named = !group.is_empty() && !revision.is_empty();
        named.then(|| RolloutState {
            group: group.to_owned(),
            revision: revision.to_owned(),
            born,
            told_to_stop: None,
            sessions: None,
        })
    }
}

impl From<&Selector> for WireSelector {
    fn from(of: &Selector) -> Self {
        match of {
            // Peers of older versions do not know this variant: nobody has an empty id.
            Selector::Nobody => WireSelector::Member(String::new()),
            Selector::Member(id) => WireSelector::Member(id.clone()),
            Selector::User(user) => WireSelector::User(user.clone()),
            Selector::Rooms { rooms, except } => {
                WireSelector::Rooms { rooms: room_names(rooms), except: room_names(except) }
            }
        }
    }
}

impl From<WireSelector> for Selector {
    fn from(of: WireSelector) -> Self {
        match of {
            WireSelector::Member(id) => Selector::Member(id),
            WireSelector::User(user) => Selector::User(user),
            WireSelector::Rooms { rooms: of, except } => {
                Selector::Rooms { rooms: rooms(of), except: rooms(except) }
            }
        }
    }
}

impl From<MemberInfo> for WireMember {
    fn from(info: MemberInfo) -> Self {
        let MemberInfo { id, user, connected_at, rooms } = info;
        WireMember { id, user, connected_at, rooms: room_names(&rooms) }
    }
}

impl From<WireMember> for MemberInfo {
    fn from(member: WireMember) -> Self {
        let WireMember { id, user, connected_at, rooms: of } = member;
        MemberInfo { id, user, connected_at, rooms: rooms(of) }
    }
}

impl From<&RoomKey> for WireRoomKey {
    fn from(key: &RoomKey) -> Self {
        WireRoomKey { namespace: key.namespace.to_string(), room: key.room.to_string() }
    }
}

impl From<WireRoomKey> for RoomKey {
    fn from(key: WireRoomKey) -> Self {
        RoomKey::new(key.namespace, key.room)
    }
}

/// Room names as they travel.
pub fn room_names(rooms: &[Room]) -> Vec<String> {
    rooms.iter().map(|room| room.to_string()).collect()
}

/// Room names as they are used here.
pub fn rooms(names: Vec<String>) -> Vec<Room> {
    names.into_iter().map(Room::from).collect()
}

#[cfg(test)]
mod tests;
