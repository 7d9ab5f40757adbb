//! The [`PublicationId`]: what tells a publication from others.

use std::fmt;
use std::sync::Arc;

use super::id_source::next_number;
use super::member_id::MemberId;

/// The id of a publication. Cloning is shallow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicationId {
    /// The publisher's idempotency key, or an id that this instance or the publication's origin
    /// has made.
    Text(Arc<str>),
    /// The id of a client's publication, `<member>-<number>` with the number in hexadecimal. It
    /// becomes text only where it is read: on the way to Redis, and in traces.
    Client {
        /// The client that publishes.
        member: MemberId,
        /// A number that no other publication of this process has.
        number: u64,
    },
}

impl PublicationId {
    /// A new id for a publication of `member`.
    pub fn of_client(member: &MemberId) -> Self {
        PublicationId::Client { member: member.clone(), number: next_number() }
    }

    /// The id as text.
    pub fn text(&self) -> Arc<str> {
        match self {
            PublicationId::Text(text) => text.clone(),
            PublicationId::Client { .. } => self.to_string().into(),
        }
    }
}

impl fmt::Display for PublicationId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            PublicationId::Text(text) => f.write_str(text),
            PublicationId::Client { member, number } => write!(f, "{member}-{number:x}"),
        }
    }
}

impl From<&str> for PublicationId {
    fn from(text: &str) -> Self {
        PublicationId::Text(text.into())
    }
}

impl From<Arc<str>> for PublicationId {
    fn from(text: Arc<str>) -> Self {
        PublicationId::Text(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_publications_have_distinct_ids_that_begin_with_its_own() {
        let member = MemberId::from("podpodpo123456789012");
        let (one, other) = (PublicationId::of_client(&member), PublicationId::of_client(&member));
        assert_ne!(one, other);
        assert_ne!(one.text(), other.text());
        let id = PublicationId::Client { member, number: 0x2f };
        assert_eq!(&*id.text(), "podpodpo123456789012-2f");
    }
}
