//! The [`MemberId`]: how a client in a namespace is addressed from outside.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use rookery_protocol::Room;

use super::id_source::random_id;
use super::pod_id::PodId;

/// The public id of a member: 20 characters, of which the first 8 name its pod. In Socket.IO 2, in
/// other namespaces than the root, the namespace and `#` are before them. It is also the name of a
/// room that holds just that member, and never an id by which requests reach the member's session.
/// Cloning is shallow.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId(Room);

impl MemberId {
    /// How many characters a public id has.
    pub const LENGTH: usize = 20;

    /// A new id for a member of `pod`. It has a capital letter, so that [`MemberId::may_be`] knows it.
    ///
    /// # Panics
    /// When the operating system has no randomness.
    pub fn random(pod: &PodId) -> Self {
        loop {
            let id = format!("{pod}{}", random_id(Self::LENGTH - PodId::LENGTH));
            if Self::may_be(&id) {
                return MemberId(id.into());
            }
        }
    }

    /// Whether a room's name has the form of a member's id on any server, this one's pods and Node's:
    /// 20 characters of base64url with a capital letter and, in Socket.IO 2 (`/ns#id`), the namespace
    /// before it. Node's ids are 12 random bytes and a counter of 3 (the package `base64id`), whose
    /// first character is a capital letter for a process's first 6.8 million ids.
    pub fn may_be(room: &str) -> bool {
        let is_base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        Self::without_namespace(room).is_some_and(|id| {
            id.bytes().all(is_base64url) && id.bytes().any(|b| b.is_ascii_uppercase())
        })
    }

    /// The pod's name in a room's name that has the form of a public id.
    pub fn pod_of(room: &str) -> Option<&str> {
        Self::without_namespace(room)?.get(..PodId::LENGTH)
    }

    fn without_namespace(room: &str) -> Option<&str> {
        let id = match room.rsplit_once('#') {
            _ if room.len() == Self::LENGTH => room,
            Some((namespace, id)) if namespace.starts_with('/') => id,
            _ => return None,
        };
        (id.len() == Self::LENGTH).then_some(id)
    }

    /// The id that the same client of Socket.IO 2 has in another namespace than the root.
    pub fn in_namespace(&self, namespace: &str) -> Self {
        match namespace {
            "/" => self.clone(),
            _ => MemberId(format!("{namespace}#{self}").into()),
        }
    }

    /// Whether the namespace is before it, so that its pod is not what it begins with.
    pub fn has_namespace(&self) -> bool {
        self.0.len() > Self::LENGTH
    }

    /// Whether a room's name has the form of a public id of one of `pod`'s members.
    pub fn is_of(room: &str, pod: &PodId) -> bool {
        Self::pod_of(room) == Some(&**pod)
    }

    /// The room that holds just this member.
    pub fn room(&self) -> &Room {
        &self.0
    }
}

/// The ids that address one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberIds {
    /// The public id.
    pub public: MemberId,
    /// What a client of Socket.IO 2 that started with polling takes for its `socket.id`: the id of
    /// its session, which is a secret as long as it polls.
    pub session: Option<MemberId>,
}

impl From<MemberId> for MemberIds {
    fn from(public: MemberId) -> Self {
        MemberIds { public, session: None }
    }
}

impl From<&str> for MemberIds {
    fn from(public: &str) -> Self {
        MemberId::from(public).into()
    }
}

impl From<&str> for MemberId {
    fn from(id: &str) -> Self {
        MemberId(id.into())
    }
}

impl Borrow<str> for MemberId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Deref for MemberId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_socket_io_2_have_their_namespace_before_them() {
        let pod: PodId = "podpodpo".into();
        let id = MemberId::from("podpodpoA23456789012");
        assert_eq!(id.in_namespace("/"), id);
        let other = id.in_namespace("/admin");
        assert_eq!(&*other, "/admin#podpodpoA23456789012");
        for id in [&id, &other] {
            assert_eq!(MemberId::pod_of(id), Some("podpodpo"));
            assert!(MemberId::is_of(id, &pod) && MemberId::may_be(id));
        }
        assert!(other.has_namespace() && !id.has_namespace());
    }

    #[test]
    fn ids_of_pods_and_of_node_are_told_from_the_names_of_rooms() {
        for _ in 0..10_000 {
            assert!(MemberId::may_be(&MemberId::random(&"abcdefgh".into())));
        }
        for id in ["Ns8Nm2Yq7xPJUz1HAAAB", "-_8nm2yq7xpjuz1hAAAB", "/admin#Ns8Nm2Yq7xPJUz1HAAAB"] {
            assert!(MemberId::may_be(id), "{id}");
        }
        for room in [
            "announcements-global",
            "Ns8Nm2Yq7xPJUz1HAAA",
            "Ns8Nm2Yq7xPJUz1HAAABC",
            "Ns8Nm2Yq7xPJ:z1HAAAB",
            "x#Ns8Nm2Yq7xPJUz1HAAAB",
            "",
        ] {
            assert!(!MemberId::may_be(room), "{room}");
        }
    }
}
