//! The [`RoomKey`]: which room is meant, across namespaces.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use indexmap::Equivalent;
use rookery_protocol::Room;

/// A room and the namespace it belongs to. Cloning is shallow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoomKey {
    /// The namespace, with its leading slash.
    pub namespace: Arc<str>,
    /// The room's name within the namespace.
    pub room: Room,
}

/// A borrowed [`RoomKey`], to look one up without counting references.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomKeyRef<'a> {
    /// The namespace, with its leading slash.
    pub namespace: &'a str,
    /// The room's name within the namespace.
    pub room: &'a str,
}

impl RoomKey {
    /// The room `room` of `namespace`.
    pub fn new(namespace: impl Into<Arc<str>>, room: impl Into<Room>) -> Self {
        RoomKey { namespace: namespace.into(), room: room.into() }
    }

    /// The same key, borrowed.
    pub fn as_ref(&self) -> RoomKeyRef<'_> {
        RoomKeyRef { namespace: &self.namespace, room: &self.room }
    }
}

impl Hash for RoomKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl Hash for RoomKeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.namespace.hash(state);
        self.room.hash(state);
    }
}

impl Equivalent<RoomKey> for RoomKeyRef<'_> {
    fn equivalent(&self, key: &RoomKey) -> bool {
        *self == key.as_ref()
    }
}

impl From<RoomKeyRef<'_>> for RoomKey {
    fn from(key: RoomKeyRef<'_>) -> Self {
        RoomKey::new(key.namespace, key.room)
    }
}
