//! The names of the Redis channels, as Node's adapters build them, and our own.

use std::sync::Arc;

use super::node::NodeWire;
use super::requests::{Asker, RequestId};
use crate::message::{PodId, Publication, RoomKeyRef};
use crate::rooms::topic::{NamespaceTopic, Topic};
use rookery_policy::Namespaces;
use rookery_protocol::Room;

/// Names channels for one wire, one prefix and one pod. Cloning is shallow.
#[derive(Clone, Debug)]
pub struct Channels {
    wire: NodeWire,
    prefix: Arc<str>,
    pod: PodId,
}

impl Channels {
    /// For the wire and the prefix of the configuration, and this pod's 8 characters.
    pub fn new(wire: NodeWire, prefix: &str, pod: PodId) -> Self {
        Channels { wire, prefix: prefix.into(), pod }
    }

    /// The protocol that is spoken with Node servers.
    pub fn wire(&self) -> NodeWire {
        self.wire
    }

    /// What the channels of all broadcasts start with.
    pub fn broadcasts(&self) -> String {
        format!("{}#", self.prefix)
    }

    /// Broadcasts to several rooms, or to a whole namespace.
    pub fn general(&self, namespace: &str) -> String {
        format!("{}#{namespace}#", self.prefix)
    }

    /// Broadcasts to exactly one room.
    pub fn room(&self, key: RoomKeyRef<'_>) -> String {
        format!("{}#{}#{}#", self.prefix, key.namespace, key.room)
    }

    /// The channel of what somebody here is interested in.
    pub fn topic(&self, topic: &Topic) -> String {
        match topic {
            Topic::Room(key) => self.room(key.as_ref()),
            Topic::Namespace(namespace, NamespaceTopic::Publications) => self.general(namespace),
            Topic::Namespace(namespace, NamespaceTopic::Requests) => self.requests(namespace),
            Topic::Namespace(namespace, NamespaceTopic::Pods) => self.pods_in(namespace),
            Topic::Namespace(namespace, NamespaceTopic::Responses) => self.all_responses(namespace),
            Topic::Namespace(namespace, NamespaceTopic::OwnResponses) => {
                self.responses_to(namespace, &self.pod)
            }
        }
    }

    /// Where a publication goes: its one room's channel where it has one, else the general one.
    pub fn of(&self, publication: &Publication) -> String {
        match publication.rooms.as_slice() {
            [room] if self.wire.has_channel(room) => {
                self.room(RoomKeyRef { namespace: &publication.namespace, room })
            }
            _ => self.general(&publication.namespace),
        }
    }

    /// Broadcasts of emitters for Socket.IO 1.0, which name namespace and rooms in the message alone.
    pub fn old_emitters(&self) -> String {
        format!("{}#emitter", self.prefix)
    }

    /// Messages of python-socketio's `RedisManager`, which is given this channel.
    pub fn python(&self) -> String {
        format!("{}-python", self.prefix)
    }

    /// The room whose broadcasts a channel carries, as a position in `rooms`.
    pub fn position_of(&self, channel: &[u8], namespace: &str, rooms: &[Room]) -> Option<usize> {
        let room = channel.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b"#")?;
        let room = room.strip_prefix(namespace.as_bytes())?.strip_prefix(b"#")?;
        let room = room.strip_suffix(b"#")?;
        rooms.iter().position(|candidate| candidate.as_bytes() == room)
    }

    /// Whether a channel is that of a room whose name begins with this pod's, in this namespace, as
    /// those of its members are.
    pub fn is_of_members(&self, channel: &[u8], namespace: &str) -> bool {
        let room = self.without_prefix(channel);
        let room = room.and_then(|rest| rest.strip_prefix(namespace.as_bytes()));
        let room = room.and_then(|rest| rest.strip_prefix(b"#"));
        room.is_some_and(|room| room.starts_with(self.pod.as_bytes()))
    }

    /// The namespace of a channel of publications, if its name has no `#`, as those of patterns have
    /// none.
    pub fn namespace_of<'a>(&self, channel: &'a [u8]) -> Option<&'a str> {
        let rest = self.without_prefix(channel)?;
        let end = rest.iter().position(|byte| *byte == b'#')?;
        std::str::from_utf8(&rest[..end]).ok()
    }

    fn without_prefix<'a>(&self, channel: &'a [u8]) -> Option<&'a [u8]> {
        channel.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b"#")
    }

    /// The pattern of every channel of the broadcasts of namespaces that a glob matches. For one
    /// namespace, Node's adapter subscribes it.
    fn broadcasts_pattern(&self, namespaces: &str) -> String {
        format!("{}#{namespaces}#*", escape(&self.prefix))
    }

    /// The pattern of every channel with the prefix.
    fn everything_pattern(&self) -> String {
        format!("{}*", escape(&self.prefix))
    }

    /// The pattern of rooms that are public ids of this pod's members, in namespaces that a glob
    /// matches.
    fn members_pattern(&self, namespaces: &str) -> String {
        format!("{}#{namespaces}#{}*", escape(&self.prefix), escape(&self.pod))
    }

    /// The patterns by which this pod hears what is addressed to its members by their ids: first
    /// those of its members alone, then wider ones. An ACL of Redis permits a pattern only where it
    /// names that very pattern, which it cannot for one with the pod's random name in it. The first
    /// two lists have one for each entry of `namespaces`, names first.
    pub fn patterns(&self, namespaces: &Namespaces) -> [Vec<String>; 3] {
        let fixed = namespaces.fixed().iter().map(|name| escape(name));
        let globs = namespaces.patterns().iter().map(|pattern| pattern.glob(escape));
        let globs: Vec<String> = fixed.chain(globs).collect();
        let all = |pattern: fn(&Channels, &str) -> String| {
            globs.iter().map(|namespaces| pattern(self, namespaces)).collect()
        };
        let everything = vec![self.everything_pattern()];
        [all(Channels::members_pattern), all(Channels::broadcasts_pattern), everything]
    }

    /// Requests of Node's adapter.
    pub fn requests(&self, namespace: &str) -> String {
        match self.wire {
            NodeWire::Classic => format!("{}-request#{namespace}#", self.prefix),
            NodeWire::Sharded(_) => self.general(namespace),
        }
    }

    /// The answer to a request.
    pub fn responses(&self, namespace: &str, to: &RequestId) -> String {
        match &to.asker {
            Asker::Classic | Asker::Old => self.all_responses(namespace),
            Asker::Sharded(uid) => self.sharded_responses(namespace, uid),
        }
    }

    /// Answers to this pod's requests: on the classic wire those that everybody hears, and those to it
    /// alone.
    pub fn own_responses(&self, namespace: &str) -> Vec<String> {
        let own = self.responses_to(namespace, &self.pod);
        match self.wire {
            NodeWire::Classic => vec![self.all_responses(namespace), own],
            NodeWire::Sharded(_) => vec![own],
        }
    }

    /// Answers to the requests of one pod alone.
    fn responses_to(&self, namespace: &str, pod: &str) -> String {
        match self.wire {
            NodeWire::Classic => format!("{}{pod}#", self.all_responses(namespace)),
            NodeWire::Sharded(_) => self.sharded_responses(namespace, pod),
        }
    }

    /// The namespace of a channel of requests or responses of the classic wire, if its name has no
    /// `#`, and whether it is of requests.
    pub fn asked_in<'a>(&self, channel: &'a [u8]) -> Option<(&'a str, bool)> {
        let rest = channel.strip_prefix(self.prefix.as_bytes())?;
        let (rest, is_request) = match rest.strip_prefix(b"-request#") {
            Some(rest) => (rest, true),
            None => (rest.strip_prefix(b"-response#")?, false),
        };
        let end = rest.iter().position(|byte| *byte == b'#')?;
        Some((std::str::from_utf8(&rest[..end]).ok()?, is_request))
    }

    fn sharded_responses(&self, namespace: &str, uid: &str) -> String {
        format!("{}#{namespace}#{uid}#", self.prefix)
    }

    fn all_responses(&self, namespace: &str) -> String {
        format!("{}-response#{namespace}#", self.prefix)
    }

    /// Heartbeats and questions between pods.
    pub fn pods(&self) -> String {
        format!("{}-rookery#", self.prefix)
    }

    /// Nothing: pods subscribe it while they listen to what is for a namespace of a pattern, so that
    /// they can be counted. No pod is named like a namespace.
    pub fn pods_in(&self, namespace: &str) -> String {
        format!("{}-rookery#{namespace}#", self.prefix)
    }

    /// Answers between pods, to this one.
    pub fn own_answers(&self) -> String {
        self.answers(&self.pod)
    }

    /// Answers between pods, to one of them.
    pub fn answers(&self, pod: &str) -> String {
        format!("{}-rookery#{pod}#", self.prefix)
    }
}

/// Escapes what Redis' PSUBSCRIBE takes for a pattern.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '^' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use rookery_config::SubscriptionMode;

    use super::*;

    #[test]
    fn names_are_nodes() {
        let channels = Channels::new(NodeWire::Classic, "socket.io", "podpodpo".into());
        assert_eq!(channels.general("/"), "socket.io#/#");
        assert_eq!(
            channels.room(RoomKeyRef { namespace: "/admin", room: "a#b" }),
            "socket.io#/admin#a#b#"
        );
        assert_eq!(channels.requests("/"), "socket.io-request#/#");
        let own = ["socket.io-response#/#", "socket.io-response#/#podpodpo#"];
        assert_eq!(channels.own_responses("/"), own);
    }

    #[test]
    fn names_are_those_of_nodes_sharded_adapter() {
        let wire = NodeWire::Sharded(SubscriptionMode::Dynamic);
        let channels = Channels::new(wire, "socket.io", "podpodpo".into());
        assert_eq!(channels.requests("/admin"), "socket.io#/admin#");
        assert_eq!(channels.own_responses("/"), ["socket.io#/#podpodpo#"]);
        let id = RequestId { id: "q".into(), asker: Asker::Sharded("0a990f6f890ca99c".into()) };
        assert_eq!(channels.responses("/", &id), "socket.io#/#0a990f6f890ca99c#");
    }

    #[test]
    fn a_rooms_channel_is_found_among_the_rooms() {
        let channels = Channels::new(NodeWire::Classic, "p", "podpodpo".into());
        let rooms = [Room::from("a"), Room::from("b#c")];
        assert_eq!(channels.position_of(b"p#/#b#c#", "/", &rooms), Some(1));
        for other in ["p#/#", "p#/#b#", "p#/x#a#", "q#/#a#", "p#emitter", "p#/#a"] {
            assert_eq!(channels.position_of(other.as_bytes(), "/", &rooms), None, "{other}");
        }
    }

    #[test]
    fn patterns_escape_what_redis_would_expand() {
        let channels = Channels::new(NodeWire::Classic, "a*[b]", "pod?od^\\".into());
        let namespaces = Namespaces::compile(&["/x*", "/a*{b}"]).unwrap();
        let [members, broadcasts, everything] = channels.patterns(&namespaces);
        assert_eq!(
            members,
            ["a\\*\\[b\\]#/x\\*#pod\\?od\\^\\\\*", "a\\*\\[b\\]#/a\\**#pod\\?od\\^\\\\*"]
        );
        assert_eq!(broadcasts, ["a\\*\\[b\\]#/x\\*#*", "a\\*\\[b\\]#/a\\**#*"]);
        assert_eq!(everything, ["a\\*\\[b\\]*"]);
    }

    #[test]
    fn the_namespace_of_a_channel_is_read_where_it_can_be_of_a_pattern() {
        let channels = Channels::new(NodeWire::Classic, "p", "podpodpo".into());
        assert_eq!(channels.namespace_of(b"p#/t-7#room#"), Some("/t-7"));
        assert_eq!(channels.namespace_of(b"p#/t-7#"), Some("/t-7"));
        assert_eq!(channels.namespace_of(b"q#/t-7#"), None);
        assert_eq!(channels.asked_in(b"p-request#/t-7#"), Some(("/t-7", true)));
        assert_eq!(channels.asked_in(b"p-response#/t-7#podpodpo#"), Some(("/t-7", false)));
        assert_eq!(channels.asked_in(b"p#/t-7#"), None);
        assert!(channels.is_of_members(b"p#/t-7#podpodpoA#", "/t-7"));
        assert!(!channels.is_of_members(b"p#/t-7#room#podpodpoA#", "/t-7"));
        assert!(!channels.is_of_members(b"p#/t-7#podpodpoA#", "/t-8"));
    }
}
