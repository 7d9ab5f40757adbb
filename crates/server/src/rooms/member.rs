//! A [`Member`]: one client in one namespace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;

use super::interest::Interest;
use super::presence::occupant::TrackedOccupant;
use crate::connection::outbox::Outbox;
use crate::message::id_source::next_number;
use crate::message::{AddressKey, MemberId, MemberIds};

/// How a member is dismissed: its client does not come back by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dismissal {
    /// It leaves its namespace; its session stays.
    Namespace,
    /// Its session ends, in every namespace.
    Session,
}

/// Dismisses one member; the gateway's part of it.
pub type Dismiss = Box<dyn Fn(Dismissal) + Send + Sync>;

/// Gives the occupant that a member is in a room; `None` where the room has neither presence nor hooks.
/// The gateway's part of it.
pub type Describe = Box<dyn Fn(&str) -> Option<TrackedOccupant> + Send + Sync>;

/// One client in one namespace. Shared as an `Arc`.
pub struct Member {
    /// The public id, by which others address the member.
    pub id: MemberId,
    /// What a client of Socket.IO 2 that started with polling takes for its `socket.id`. It addresses
    /// the member too.
    pub session_id: Option<MemberId>,
    /// The namespace that it is connected to.
    pub namespace: Arc<str>,
    /// The user, where the client presented a token.
    pub user: Option<Arc<str>>,
    /// When the namespace accepted it.
    pub connected_at: SystemTime,
    /// Everything that is to be sent to its client, in order.
    pub outbox: Arc<Outbox>,
    /// The client's address, where it is certainly one client's.
    pub address: Option<AddressKey>,
    /// A number that no other member of this process has.
    pub key: u64,
    dismiss: Dismiss,
    describe: Option<Describe>,
    disconnected: AtomicBool,
    /// In what other instances send to those of its ids that have channels of their own.
    interests: Mutex<Vec<Interest>>,
}

impl Member {
    /// A member that its namespace accepts now.
    pub fn new(
        ids: MemberIds,
        namespace: Arc<str>,
        user: Option<Arc<str>>,
        outbox: Arc<Outbox>,
        dismiss: Dismiss,
    ) -> Self {
        Member {
            id: ids.public,
            session_id: ids.session,
            namespace,
            user,
            connected_at: SystemTime::now(),
            outbox,
            address: None,
            key: next_number(),
            dismiss,
            describe: None,
            disconnected: AtomicBool::new(false),
            interests: Mutex::default(),
        }
    }

    /// Sets what the member is in rooms with presence or hooks. Without it, it is nobody there.
    #[must_use]
    pub fn described_by(self, describe: Describe) -> Self {
        Member { describe: Some(describe), ..self }
    }

    /// Sets the client's address.
    #[must_use]
    pub fn at_address(self, address: Option<AddressKey>) -> Self {
        Member { address, ..self }
    }

    /// Who is there when the member is in `room`; `None`: the room keeps no track of it.
    pub fn occupant_in(&self, room: &str) -> Option<TrackedOccupant> {
        self.describe.as_ref()?(room)
    }

    /// The id that others may see: the client's `socket.id`, but where that is still the secret by
    /// which the client polls.
    pub fn shown_id(&self) -> &MemberId {
        match &self.session_id {
            Some(id) if !self.outbox.takes_posts() => id,
            _ => &self.id,
        }
    }

    /// The ids that address it.
    pub(super) fn ids(&self) -> impl Iterator<Item = &MemberId> {
        std::iter::once(&self.id).chain(&self.session_id)
    }

    /// Keeps an interest as long as the member exists.
    pub(super) fn keep(&self, interest: Interest) {
        self.interests.lock().push(interest);
    }

    /// Whether one of its ids is this one.
    pub fn has_id(&self, id: &str) -> bool {
        *self.id == *id || self.session_id.as_deref() == Some(id)
    }

    /// Sends DISCONNECT, so that the client stays away; with [`Dismissal::Session`] its transport
    /// is closed too.
    pub fn dismiss(&self, dismissal: Dismissal) {
        (self.dismiss)(dismissal);
    }

    /// It is gone from its namespace. From here on no shard adds it, in whatever order the
    /// messages about it arrive.
    pub(super) fn set_disconnected(&self) {
        self.disconnected.store(true, Ordering::Release);
        self.interests.lock().clear();
    }

    /// Whether it is gone from its namespace.
    pub(super) fn is_disconnected(&self) -> bool {
        self.disconnected.load(Ordering::Acquire)
    }
}
