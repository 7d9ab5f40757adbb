//! The [`SessionIds`]: how requests reach a session, and how others address its members.

use std::sync::Arc;

use crate::message::id_source::random_id;
use crate::message::{MemberId, MemberIds, PodId};
use rookery_config::Transport;
use rookery_protocol::Revision;

/// The length in characters of an id that is secret only.
const SECRET_LENGTH: usize = 24;

/// The ids of a session and its members.
///
/// In revision 4 each namespace gives its member an id of its own. A client of revision 3 takes the id
/// of the open packet for its `socket.id` (socket.io-client 2, `lib/manager.js`, `generateId`). If it
/// starts with a WebSocket, it makes no request with that id, so the id is public and reaches no
/// session. If it starts with polling, the id is the secret that its requests carry, until it has
/// moved to a WebSocket: then no request with it is taken any more.
pub struct SessionIds {
    /// The secret by which requests, and the protocol engine, find the session.
    pub secret: Arc<str>,
    /// `socket.id` of a client of revision 3, in the root namespace.
    socket: Option<MemberId>,
    transport: Transport,
}

impl SessionIds {
    /// Ids for a session of `pod` that starts with this transport.
    pub fn random(revision: Revision, transport: Transport, pod: &PodId) -> Self {
        let socket = (revision == Revision::V3).then(|| MemberId::random(pod));
        let secret = match (&socket, transport) {
            (Some(id), Transport::Polling) => Arc::from(&**id),
            _ => random_id(SECRET_LENGTH).into(),
        };
        SessionIds { secret, socket, transport }
    }

    /// The id in the open packet.
    pub fn announced(&self) -> &str {
        self.socket.as_deref().unwrap_or(&self.secret)
    }

    /// The ids of the session's member in a namespace of `pod`.
    pub fn of_member(&self, namespace: &str, pod: &PodId) -> MemberIds {
        let socket = self.socket.as_ref().map(|id| id.in_namespace(namespace));
        match (socket, self.transport) {
            (Some(id), Transport::Websocket) => id.into(),
            (session, _) => MemberIds { public: MemberId::random(pod), session },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(revision: Revision, transport: Transport) -> (SessionIds, MemberIds, MemberIds) {
        let pod = "podpodpo".into();
        let ids = SessionIds::random(revision, transport, &pod);
        let (root, other) = (ids.of_member("/", &pod), ids.of_member("/other", &pod));
        (ids, root, other)
    }

    #[test]
    fn no_id_that_others_see_is_one_that_requests_are_taken_with() {
        for revision in [Revision::V3, Revision::V4] {
            for transport in [Transport::Polling, Transport::Websocket] {
                let (ids, root, other) = ids(revision, transport);
                assert!(!root.public.contains(&*ids.secret));
                assert!(!other.public.contains(&*ids.secret));
            }
        }
    }

    #[test]
    fn what_a_client_of_revision_3_takes_for_its_id_addresses_it() {
        let (ids, root, other) = ids(Revision::V3, Transport::Websocket);
        assert_eq!(*root.public, *ids.announced());
        assert_eq!(*other.public, format!("/other#{}", ids.announced()));
        let (ids, root, other) = self::ids(Revision::V3, Transport::Polling);
        assert_eq!(root.session.as_deref(), Some(ids.announced()));
        assert_eq!(other.session.unwrap().to_string(), format!("/other#{}", ids.announced()));
        let (_, root, _) = self::ids(Revision::V4, Transport::Polling);
        assert_eq!(root.session, None);
    }
}
