//! The [`Snapshot`] of the sockets of this instance: its members, as Socket.IO's server calls them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use rookery_config::Transport;
use rookery_protocol::{Data, Room};
use sha2::{Digest as _, Sha256};

use super::event::object;
use crate::backplane::wire::replies::remote_socket;
use crate::gateway::session::{Session, Sessions};
use crate::hashing::HashMap;
use crate::message::MemberInfo;

/// A socket's namespace and id.
pub type SocketKey = (Arc<str>, Arc<str>);

/// The sockets of this instance at one moment.
pub type Snapshot = HashMap<SocketKey, Socket>;

/// A member, as admins are told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Socket {
    /// Its session: the same for its members in all namespaces, and nothing that requests are taken
    /// with.
    pub client_id: Arc<str>,
    /// The transport of its session.
    pub transport: Transport,
    /// The rooms that it is in, with that of its own id.
    pub rooms: BTreeSet<Room>,
    /// What others may know of it.
    info: MemberInfo,
    address: IpAddr,
}

/// Too many sockets to show.
#[derive(Debug)]
pub struct TooMany(pub usize);

/// The sockets of these namespaces, at most `max`.
///
/// # Errors
/// How many there are, if they are more.
pub async fn take(
    sessions: &Sessions,
    namespaces: &Arc<[Arc<str>]>,
    max: usize,
) -> Result<Snapshot, TooMany> {
    let counted = sessions.gateway().broker.populations(namespaces).await.into_iter().sum();
    if counted > max {
        return Err(TooMany(counted));
    }
    let mut members = HashMap::default();
    for namespace in namespaces.iter() {
        for info in sessions.gateway().broker.members_here(namespace).await {
            members.insert((namespace.clone(), Arc::from(info.id.as_str())), info);
        }
    }
    // Who came or went meanwhile is in only one of both, and is found or missed by the next look.
    let mut snapshot = Snapshot::default();
    for session in sessions.all() {
        let Some(transport) = *session.transport.lock() else { continue };
        let clients = session.clients.all();
        if clients.is_empty() {
            continue;
        }
        let client_id = client_id(&session);
        for client in clients {
            let member = &client.member;
            let key = (member.namespace.clone(), Arc::from(&**member.shown_id()));
            if let Some(info) = members.remove(&key) {
                let (client_id, address) = (client_id.clone(), session.address);
                snapshot.insert(key, Socket::new(info, client_id, transport, address));
            }
        }
    }
    Ok(snapshot)
}

/// Tells the sessions apart, and says nothing of their secrets: the beginning of a hash.
fn client_id(session: &Session) -> Arc<str> {
    let hash = Sha256::digest(session.ids.secret.as_bytes());
    hash[..6].iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

impl Socket {
    fn new(info: MemberInfo, client_id: Arc<str>, transport: Transport, address: IpAddr) -> Self {
        let own = Room::from(info.id.as_str());
        let rooms = std::iter::once(own).chain(info.rooms.iter().cloned()).collect();
        Socket { client_id, transport, rooms, info, address }
    }

    /// The socket in this namespace as the package describes it. As there, nothing of the auth payload
    /// is in it; and neither headers nor query, which may hold tokens.
    pub fn to_data(&self, namespace: &str) -> Data {
        let described = Data::from_json(remote_socket(&self.info)).unwrap_or(Data::Null);
        let shared = |name: &str| described.get(name).cloned().unwrap_or(Data::Null);
        let handshake = described.get("handshake");
        let of_handshake =
            |name: &str| handshake.and_then(|h| h.get(name)).cloned().unwrap_or(Data::Null);
        let rooms = self.rooms.iter().map(|room| Data::from(&**room)).collect();
        object([
            ("id", shared("id")),
            ("clientId", Data::from(&*self.client_id)),
            ("transport", self.transport.label().into()),
            ("nsp", namespace.into()),
            ("data", shared("data")),
            (
                "handshake",
                object([
                    ("address", Data::from(self.address.to_string())),
                    ("headers", of_handshake("headers")),
                    ("query", of_handshake("query")),
                    ("issued", of_handshake("issued")),
                    ("secure", of_handshake("secure")),
                    ("time", of_handshake("time")),
                    ("url", of_handshake("url")),
                    ("xdomain", of_handshake("xdomain")),
                ]),
            ),
            ("rooms", Data::Array(rooms)),
        ])
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::SystemTime;

    use super::*;

    /// A socket with this id, in these rooms.
    pub fn socket(id: &str, rooms: &[&str]) -> Socket {
        let info = MemberInfo {
            id: id.to_owned(),
            user: Some("ada".to_owned()),
            connected_at: Some(SystemTime::UNIX_EPOCH),
            rooms: rooms.iter().map(|room| Room::from(*room)).collect(),
        };
        Socket::new(info, "c1".into(), Transport::Polling, [10, 0, 0, 1].into())
    }

    #[test]
    fn a_socket_has_the_packages_fields_and_no_secret() {
        let shown = serde_json::to_value(socket("a", &["r"]).to_data("/chat")).unwrap();
        let time = "1970-01-01T00:00:00.000Z";
        assert_eq!(
            shown,
            serde_json::json!({
                "id": "a", "clientId": "c1", "transport": "polling", "nsp": "/chat",
                "data": { "rookery": { "user": "ada", "connectedAt": time } },
                "handshake": {
                    "address": "10.0.0.1", "headers": {}, "query": {}, "issued": 0,
                    "secure": false, "time": time, "url": "", "xdomain": false,
                },
                "rooms": ["a", "r"],
            })
        );
    }
}
