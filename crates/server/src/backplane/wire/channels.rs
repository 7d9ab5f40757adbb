//! The names of the Redis channels, as Node's classic adapter builds them, and our own.

use std::sync::Arc;

use crate::message::{PodId, Publication, RoomKeyRef};
use rookery_protocol::Room;

/// Names channels for one prefix and one pod. Cloning is shallow.
#[derive(Clone, Debug)]
pub struct Channels {
    prefix: Arc<str>,
    pod: PodId,
}

impl Channels {
    /// For the prefix of the configuration and this pod's 8 characters.
    pub fn new(prefix: &str, pod: PodId) -> Self {
        Channels { prefix: prefix.into(), pod }
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

    /// Where a publication goes: its one room's channel, else the general one.
    pub fn of(&self, publication: &Publication) -> String {
        match publication.rooms.as_slice() {
            [room] => self.room(RoomKeyRef { namespace: &publication.namespace, room }),
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

    /// What the channels of this pod's members start with: rooms that are their public ids.
    pub fn members(&self, namespace: &str) -> String {
        format!("{}#{namespace}#{}", self.prefix, self.pod)
    }

    /// The pattern of every channel of a namespace's broadcasts, which Node's adapter subscribes.
    pub fn broadcasts_pattern(&self, namespace: &str) -> String {
        format!("{}#{}#*", escape(&self.prefix), escape(namespace))
    }

    /// The pattern of every channel with the prefix.
    pub fn everything_pattern(&self) -> String {
        format!("{}*", escape(&self.prefix))
    }

    /// The pattern of rooms that are public ids of this pod's members.
    pub fn members_pattern(&self, namespace: &str) -> String {
        let (prefix, namespace) = (escape(&self.prefix), escape(namespace));
        format!("{prefix}#{namespace}#{}*", escape(&self.pod))
    }

    /// Requests of Node's adapter.
    pub fn requests(&self, namespace: &str) -> String {
        format!("{}-request#{namespace}#", self.prefix)
    }

    /// Answers to requests, heard by everybody.
    pub fn responses(&self, namespace: &str) -> String {
        format!("{}-response#{namespace}#", self.prefix)
    }

    /// Answers to this pod's requests.
    pub fn own_responses(&self, namespace: &str) -> String {
        format!("{}-response#{namespace}#{}#", self.prefix, self.pod)
    }

    /// Heartbeats and questions between pods.
    pub fn pods(&self) -> String {
        format!("{}-rookery#", self.prefix)
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
    use super::*;

    #[test]
    fn names_are_nodes() {
        let channels = Channels::new("socket.io", "podpodpo".into());
        assert_eq!(channels.general("/"), "socket.io#/#");
        assert_eq!(
            channels.room(RoomKeyRef { namespace: "/admin", room: "a#b" }),
            "socket.io#/admin#a#b#"
        );
        assert_eq!(channels.requests("/"), "socket.io-request#/#");
        assert_eq!(channels.responses("/"), "socket.io-response#/#");
        assert_eq!(channels.own_responses("/"), "socket.io-response#/#podpodpo#");
    }

    #[test]
    fn a_rooms_channel_is_found_among_the_rooms() {
        let channels = Channels::new("p", "podpodpo".into());
        let rooms = [Room::from("a"), Room::from("b#c")];
        assert_eq!(channels.position_of(b"p#/#b#c#", "/", &rooms), Some(1));
        for other in ["p#/#", "p#/#b#", "p#/x#a#", "q#/#a#", "p#emitter", "p#/#a"] {
            assert_eq!(channels.position_of(other.as_bytes(), "/", &rooms), None, "{other}");
        }
    }

    #[test]
    fn patterns_escape_what_redis_would_expand() {
        let channels = Channels::new("a*[b]", "pod?od^\\".into());
        assert_eq!(channels.members_pattern("/x*"), "a\\*\\[b\\]#/x\\*#pod\\?od\\^\\\\*");
    }
}
