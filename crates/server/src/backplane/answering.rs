//! Answers to what other servers ask about the members here.

use std::sync::Arc;
use std::time::Duration;

use super::link::Inner;
use super::peers::{self, Answer, Message};
use super::requests::{self, Ask};
use crate::message::Selector;
use crate::rooms::LocalMembers;
use crate::rooms::waits::{LocalWaits, MOST_ASKED};

/// How long an answer may take; then the asker waits no longer either.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// Does what a Node server asks, and answers where it waits for an answer. Requests about one
/// member are answered only by the server that has it.
pub(crate) async fn node(inner: Arc<Inner>, namespace: Arc<str>, ask: Ask, id: Option<String>) {
    let local = &*inner.local;
    let matched = match &ask {
        Ask::Join(of, rooms) => one(of, local.join(&namespace, of, rooms).await),
        Ask::Leave(of, rooms) => one(of, local.leave(&namespace, of, rooms).await),
        Ask::Disconnect(of, close) => one(of, local.disconnect(&namespace, of, *close).await),
        Ask::Sockets(_) | Ask::AllRooms | Ask::Fetch(_) => true,
        Ask::ServerSideEmit | Ask::Broadcast(_) => false,
    };
    let Some(id) = id.filter(|_| matched) else { return };
    let answer = match ask {
        Ask::Sockets(of) => requests::sockets_answer(&id, &local.members(&namespace, &of).await),
        Ask::Fetch(of) => requests::fetch_answer(&id, &local.members(&namespace, &of).await),
        Ask::AllRooms => {
            let all = Selector::Rooms { rooms: Vec::new(), except: Vec::new() };
            let rooms = local.rooms(&namespace, "").await;
            let members = local.members(&namespace, &all).await;
            let ids = members.iter().map(|m| m.id.as_str());
            requests::rooms_answer(&id, rooms.keys().map(|room| &**room).chain(ids))
        }
        _ => requests::done_answer(&id),
    };
    inner.send(inner.channels.responses(&namespace), answer);
}

fn one(of: &Selector, matched: usize) -> bool {
    matches!(of, Selector::Member(_)) && matched > 0
}

/// Does what another pod asks, and answers it.
pub(crate) async fn pod(
    inner: Arc<Inner>,
    asker: String,
    id: u64,
    namespace: String,
    ask: peers::Ask,
) {
    let answer = ask_local(&*inner.local, &inner.waits, &namespace, ask).await;
    let Some(answer) = answer else { return };
    let answer = Message::Answer { pod: inner.pod.to_string(), id, answer };
    inner.send(inner.channels.answers(&asker), answer.encode());
}

/// What the members here answer; nothing where that failed.
async fn ask_local(
    local: &dyn LocalMembers,
    waits: &LocalWaits,
    namespace: &str,
    ask: peers::Ask,
) -> Option<Answer> {
    Some(match ask {
        peers::Ask::Rooms(prefix) => {
            let rooms = local.rooms(namespace, &prefix).await;
            Answer::Rooms(rooms.into_iter().map(|(room, n)| (room.to_string(), n)).collect())
        }
        peers::Ask::Members(of) => {
            let members = local.members(namespace, &of.into()).await;
            Answer::Members(members.into_iter().map(Into::into).collect())
        }
        peers::Ask::Join(of, rooms) => {
            Answer::Matched(local.join(namespace, &of.into(), &peers::rooms(rooms)).await)
        }
        peers::Ask::Leave(of, rooms) => {
            Answer::Matched(local.leave(namespace, &of.into(), &peers::rooms(rooms)).await)
        }
        peers::Ask::Disconnect(of, close) => {
            Answer::Matched(local.disconnect(namespace, &of.into(), close).await)
        }
        peers::Ask::First(namespaces, by, most) => {
            let namespaces = namespaces.into_iter().map(Arc::from).collect();
            Answer::First(peers::named(&waits.first(namespaces, by, most).await?))
        }
        peers::Ask::Waits(names) => {
            let places = names.into_iter().take(MOST_ASKED).map(peers::place).collect();
            Answer::Waits(waits.of(places).await?)
        }
    })
}
