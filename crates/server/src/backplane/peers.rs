//! What pods say to each other on their own channels, and who of them is alive.
//!
//! Every pod beats once a second on the pods' channel; one that was silent for five seconds is
//! taken for gone. Questions go to all pods, each answers to the asker alone.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::broker::turn::{self, State, Turn};
use crate::message::{MemberInfo, Selector};
use crate::rooms::waits::{Candidate, Place, Share, SortBy};
use rookery_protocol::Room;

/// Time between two heartbeats.
pub const BEAT: Duration = Duration::from_secs(1);

/// How long a pod may be silent before it is taken for gone.
pub const SILENCE: Duration = Duration::from_secs(5);

/// More pods than this are not kept in the table: then somebody else writes on our channel.
const MAX_PEERS: usize = 10_000;

/// How many answers may wait for one question's asker.
const ANSWERS: usize = 1024;

/// One message between pods, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Message {
    /// A pod is alive.
    Hello {
        /// Its 8 characters.
        pod: String,
        /// Whether it has just come and wants to know the others at once.
        greet: bool,
        /// What it says of itself, where it is one of a rollout.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<State>,
    },
    /// A pod goes.
    Bye {
        /// Its 8 characters.
        pod: String,
    },
    /// A question to all pods.
    Question {
        /// Who asks.
        pod: String,
        /// What the answer must carry.
        id: u64,
        /// Where, if the question does not say it.
        namespace: String,
        /// What.
        ask: Ask,
    },
    /// An answer to one question.
    Answer {
        /// Who answers.
        pod: String,
        /// The question's id.
        id: u64,
        /// The answer.
        answer: Answer,
    },
}

/// What a pod can be asked.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub enum Ask {
    /// Occupied rooms whose names start so.
    Rooms(String),
    /// The chosen members.
    Members(Choice),
    /// Make the chosen members join these rooms.
    Join(Choice, Vec<String>),
    /// Make the chosen members leave these rooms.
    Leave(Choice, Vec<String>),
    /// Dismiss the chosen members, with their transport or without.
    Disconnect(Choice, bool),
    /// The rooms of these namespaces that come first by a key, and how many at most.
    First(Vec<String>, SortBy, usize),
    /// What is known of these rooms.
    Waits(Vec<Name>),
}

/// A room's namespace and name.
pub type Name = (String, String);

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// Rooms and how many members each has.
    Rooms(BTreeMap<String, usize>),
    /// Members.
    Members(Vec<Member>),
    /// How many members were chosen.
    Matched(usize),
    /// The rooms that come first, with what they are ranked by.
    First(Vec<(Name, u64)>),
    /// What is known of the rooms of the question.
    Waits(Vec<Share>),
}

/// A [`Selector`] on the wire.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum Choice {
    Member(String),
    User(String),
    Rooms { rooms: Vec<String>, except: Vec<String> },
}

/// A [`MemberInfo`] on the wire.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Member {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    connected_at: Option<SystemTime>,
    rooms: Vec<String>,
}

impl Message {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("messages have text keys and nothing that can fail")
    }

    /// Reads one.
    ///
    /// # Errors
    /// When it is none; other versions may say more than this one understands.
    pub fn decode(bytes: &[u8]) -> Result<Message, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

impl From<&Selector> for Choice {
    fn from(of: &Selector) -> Self {
        match of {
            Selector::Member(id) => Choice::Member(id.clone()),
            Selector::User(user) => Choice::User(user.clone()),
            Selector::Rooms { rooms, except } => {
                Choice::Rooms { rooms: texts(rooms), except: texts(except) }
            }
        }
    }
}

impl From<Choice> for Selector {
    fn from(choice: Choice) -> Self {
        match choice {
            Choice::Member(id) => Selector::Member(id),
            Choice::User(user) => Selector::User(user),
            Choice::Rooms { rooms: of, except } => {
                Selector::Rooms { rooms: rooms(of), except: rooms(except) }
            }
        }
    }
}

impl From<MemberInfo> for Member {
    fn from(info: MemberInfo) -> Self {
        let MemberInfo { id, user, connected_at, rooms } = info;
        Member { id, user, connected_at, rooms: texts(&rooms) }
    }
}

impl From<Member> for MemberInfo {
    fn from(member: Member) -> Self {
        let Member { id, user, connected_at, rooms: of } = member;
        MemberInfo { id, user, connected_at, rooms: rooms(of) }
    }
}

/// Rooms as they travel.
pub fn names(places: &[Place]) -> Vec<Name> {
    places.iter().map(name).collect()
}

/// A ranking as it travels.
pub fn named(candidates: &[Candidate]) -> Vec<(Name, u64)> {
    candidates.iter().map(|(place, weight)| (name(place), *weight)).collect()
}

fn name(place: &Place) -> Name {
    (place.namespace.to_string(), place.room.to_string())
}

/// The room of a name.
pub fn place((namespace, room): Name) -> Place {
    Place { namespace: namespace.into(), room: room.into() }
}

/// Room names as they travel.
pub fn texts(rooms: &[Room]) -> Vec<String> {
    rooms.iter().map(|room| room.to_string()).collect()
}

/// Room names as they are used here.
pub fn rooms(texts: Vec<String>) -> Vec<Room> {
    texts.into_iter().map(Room::from).collect()
}

/// The other pods, by when each was heard last.
#[derive(Debug, Default)]
pub struct Peers {
    heard: Mutex<HashMap<String, Peer>>,
}

#[derive(Debug)]
struct Peer {
    last: Instant,
    state: Option<State>,
}

impl Peers {
    /// A pod was heard, and said this of itself. True: it was not known before.
    pub fn heard(&self, pod: &str, state: Option<State>, now: Instant) -> bool {
        let mut heard = self.heard.lock();
        if let Some(peer) = heard.get_mut(pod) {
            let silent = now.saturating_duration_since(peer.last) > SILENCE;
            *peer = Peer { last: now, state };
            return silent;
        }
        let new = heard.len() < MAX_PEERS;
        if new {
            heard.insert(pod.to_owned(), Peer { last: now, state });
        }
        new
    }

    /// A pod said goodbye.
    pub fn gone(&self, pod: &str) {
        self.heard.lock().remove(pod);
    }

    /// The pods that are alive; forgets the others.
    pub fn alive(&self, now: Instant) -> Vec<String> {
        let mut heard = self.heard.lock();
        heard.retain(|_, peer| now.saturating_duration_since(peer.last) <= SILENCE);
        heard.keys().cloned().collect()
    }

    /// Whether `pod`, which says `me` of itself, may close its sessions.
    pub fn turn(&self, pod: &str, me: &State, now: Instant) -> Turn {
        let heard = self.heard.lock();
        let alive = heard
            .iter()
            .filter(|(_, peer)| now.saturating_duration_since(peer.last) <= SILENCE)
            .filter_map(|(name, peer)| Some((name.as_str(), peer.state.as_ref()?)));
        turn::turn(pod, me, alive)
    }
}

/// Questions that wait for answers, by their ids.
#[derive(Debug)]
pub struct Questions<A> {
    open: Mutex<(u64, HashMap<u64, mpsc::Sender<A>>)>,
}

impl<A> Default for Questions<A> {
    fn default() -> Self {
        Questions { open: Mutex::new((0, HashMap::new())) }
    }
}

impl<A> Questions<A> {
    /// Opens a question; it is closed when the handle is dropped.
    pub fn open(&self) -> Open<'_, A> {
        let (sender, answers) = mpsc::channel(ANSWERS);
        let mut open = self.open.lock();
        open.0 += 1;
        let id = open.0;
        open.1.insert(id, sender);
        Open { id, answers, questions: self }
    }

    /// Whether nobody waits for anything.
    pub fn is_empty(&self) -> bool {
        self.open.lock().1.is_empty()
    }

    /// The ids of the open questions.
    pub fn ids(&self) -> Vec<u64> {
        self.open.lock().1.keys().copied().collect()
    }

    /// Hands an answer to whoever waits for it; nobody, where the deadline is over.
    pub fn answer(&self, id: u64, answer: A) {
        if let Some(asker) = self.open.lock().1.get(&id) {
            // Full: a flood of answers to one question; the rest count as not given.
            let _ = asker.try_send(answer);
        }
    }
}

/// An open question.
#[derive(Debug)]
pub struct Open<'a, A> {
    /// What an answer must carry.
    pub id: u64,
    /// The answers.
    pub answers: mpsc::Receiver<A>,
    questions: &'a Questions<A>,
}

impl<A> Drop for Open<'_, A> {
    fn drop(&mut self) {
        self.questions.open.lock().1.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back() {
        let member = MemberInfo {
            id: "m".into(),
            user: Some("u".into()),
            connected_at: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(5)),
            rooms: vec!["r".into()],
        };
        let of = Selector::Rooms { rooms: vec!["a".into()], except: vec!["b".into()] };
        let question = Message::Question {
            pod: "p".into(),
            id: 7,
            namespace: "/".into(),
            ask: Ask::Join(Choice::from(&of), vec!["r".into()]),
        };
        let answer = Message::Answer {
            pod: "p".into(),
            id: 7,
            answer: Answer::Members(vec![member.clone().into()]),
        };
        for message in [&question, &answer] {
            assert_eq!(&Message::decode(&message.encode()).unwrap(), message);
        }
        let Message::Question { ask: Ask::Join(choice, _), .. } = question else { unreachable!() };
        assert_eq!(Selector::from(choice), of);
        assert_eq!(MemberInfo::from(Member::from(member.clone())), member);
        assert!(Message::decode(br#"{"kind":"later"}"#).is_err());
    }

    #[test]
    fn a_silent_pod_is_gone_and_new_again_when_it_speaks() {
        let peers = Peers::default();
        let now = Instant::now();
        assert!(peers.heard("a", None, now));
        assert!(!peers.heard("a", None, now + BEAT));
        assert!(peers.heard("b", None, now + SILENCE));
        assert_eq!(peers.alive(now + BEAT + SILENCE).len(), 2);
        assert_eq!(peers.alive(now + BEAT * 2 + SILENCE), ["b"]);
        assert!(peers.heard("a", None, now + SILENCE * 2));
        peers.gone("a");
        assert!(peers.heard("a", None, now + SILENCE * 2));
    }

    #[tokio::test]
    async fn answers_reach_the_open_question_only() {
        let questions = Questions::default();
        let mut open = questions.open();
        questions.answer(open.id, "yes");
        questions.answer(open.id + 1, "no");
        assert_eq!(open.answers.recv().await, Some("yes"));
        let id = open.id;
        drop(open);
        questions.answer(id, "late");
        assert!(questions.is_empty());
    }
}
