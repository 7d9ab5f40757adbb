//! What changed between two snapshots, as events of the package. Pure.

use std::time::SystemTime;

use rookery_protocol::Data;

use super::event::{AdminEvent, date, object};
use super::snapshot::{Snapshot, Socket, SocketKey};

/// The events by which a page that shows `before` comes to show `after`, as of `now`. `why` says why a
/// socket is gone.
pub fn changes(
    before: &Snapshot,
    after: &Snapshot,
    now: SystemTime,
    why: impl Fn(&str) -> &'static str,
) -> Vec<AdminEvent> {
    let mut found = Vec::new();
    for (key, socket) in before.iter().filter(|(key, _)| !after.contains_key(*key)) {
        gone(key, socket, now, why(&key.1), &mut found);
    }
    for (key, socket) in after {
        match before.get(key) {
            // The same id again, for another session: a client of Socket.IO 2 that came back.
            Some(earlier) if earlier.client_id != socket.client_id => {
                gone(key, earlier, now, why(&key.1), &mut found);
                found.push(connected(key, socket, now));
            }
            Some(earlier) => moved(key, earlier, socket, now, &mut found),
            None => found.push(connected(key, socket, now)),
        }
    }
    found
}

/// A socket that is there, which a page that shows it already passes over.
pub fn connected((namespace, _): &SocketKey, socket: &Socket, now: SystemTime) -> AdminEvent {
    AdminEvent::new("socket_connected", [socket.to_data(namespace), date(now)])
}

fn gone(
    (namespace, id): &SocketKey,
    socket: &Socket,
    now: SystemTime,
    reason: &str,
    found: &mut Vec<AdminEvent>,
) {
    let args = [Data::from(&**namespace), Data::from(&**id), reason.into(), date(now)];
    found.push(AdminEvent::new("socket_disconnected", args));
    found.extend(socket.rooms.iter().map(|room| of_room("room_left", (namespace, id), room, now)));
}

fn moved(
    (namespace, id): &SocketKey,
    earlier: &Socket,
    socket: &Socket,
    now: SystemTime,
    found: &mut Vec<AdminEvent>,
) {
    if earlier.transport != socket.transport {
        let updated = object([
            ("id", Data::from(&**id)),
            ("nsp", Data::from(&**namespace)),
            ("transport", socket.transport.label().into()),
        ]);
        found.push(AdminEvent::new("socket_updated", [updated]));
    }
    let left = earlier.rooms.difference(&socket.rooms);
    found.extend(left.map(|room| of_room("room_left", (namespace, id), room, now)));
    let joined = socket.rooms.difference(&earlier.rooms);
    found.extend(joined.map(|room| of_room("room_joined", (namespace, id), room, now)));
}

fn of_room(
    name: &'static str,
    (namespace, id): (&str, &str),
    room: &str,
    now: SystemTime,
) -> AdminEvent {
    AdminEvent::new(name, [namespace.into(), room.into(), id.into(), date(now)])
}

#[cfg(test)]
mod tests {
    use rookery_config::Transport;

    use super::*;
    use crate::gateway::admin::snapshot::tests::socket;

    fn snapshot(sockets: Vec<Socket>, ids: &[&str]) -> Snapshot {
        let keys = ids.iter().map(|id| ("/".into(), (*id).into()));
        keys.zip(sockets).collect()
    }

    /// The changes, with the first argument of a connection shortened to its id.
    fn shown(before: &Snapshot, after: &Snapshot) -> Vec<String> {
        let events = changes(before, after, SystemTime::UNIX_EPOCH, |_| "client");
        let mut shown: Vec<String> = events
            .iter()
            .map(|AdminEvent { name, args }| {
                let text = |arg: &Data| match arg {
                    Data::String(text) => text.to_string(),
                    other => other.get("transport").and_then(Data::as_str).unwrap().to_owned(),
                };
                let args: Vec<String> = args.iter().map(text).collect();
                format!("{name} {}", args.join(" ")).replace(" 1970-01-01T00:00:00.000Z", "")
            })
            .collect();
        shown.sort();
        shown
    }

    #[test]
    fn who_came_went_and_moved_is_told() {
        let before = snapshot(vec![socket("a", &["r"]), socket("b", &["r", "s"])], &["a", "b"]);
        assert_eq!(shown(&before, &before), [""; 0]);
        let mut upgraded = socket("b", &["s", "t"]);
        upgraded.transport = Transport::Websocket;
        let after = snapshot(vec![upgraded, socket("c", &[])], &["b", "c"]);
        assert_eq!(
            shown(&before, &after),
            [
                "room_joined / t b",
                "room_left / a a",
                "room_left / r a",
                "room_left / r b",
                "socket_connected polling",
                "socket_disconnected / a client",
                "socket_updated websocket",
            ]
        );
        assert_eq!(shown(&Snapshot::default(), &before).len(), 2);
    }

    #[test]
    fn an_id_of_another_session_is_another_socket() {
        let before = snapshot(vec![socket("a", &[])], &["a"]);
        let mut again = socket("a", &["r"]);
        again.client_id = "c2".into();
        let after = snapshot(vec![again], &["a"]);
        assert_eq!(
            shown(&before, &after),
            ["room_left / a a", "socket_connected polling", "socket_disconnected / a client"]
        );
    }
}
