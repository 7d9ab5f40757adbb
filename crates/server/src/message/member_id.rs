//! The [`MemberId`]: how a client in a namespace is addressed from outside.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use rookery_protocol::Room;

use super::id_source::random_id;
use super::pod_id::PodId;

/// The public id of a member: 20 characters, of which the first 8 name its pod. It is also the
/// name of a room that holds just that member, and never the id of the member's session, which is
/// a secret between the client and its instance. Cloning is shallow.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId(Room);

impl MemberId {
    /// How many characters a public id has.
    pub const LENGTH: usize = 20;

    /// A new id for a member of `pod`.
    ///
    /// # Panics
    /// When the operating system has no randomness.
    pub fn random(pod: &PodId) -> Self {
        MemberId(format!("{pod}{}", random_id(Self::LENGTH - PodId::LENGTH)).into())
    }

    /// The pod's name in a room's name that has the form of a public id.
    pub fn pod_of(room: &str) -> Option<&str> {
        if room.len() == Self::LENGTH { room.get(..PodId::LENGTH) } else { None }
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
