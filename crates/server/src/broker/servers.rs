//! Answers to what other servers ask about the members here.

use std::future::ready;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::BrokerParts;
use super::orders::{Execution, Order};
use crate::backplane::Backplane;
use crate::backplane::wire::pod_messages::{self, Answer, WireRoomKey};
use crate::backplane::wire::replies::Reply;
use crate::backplane::wire::requests::{Ask, RequestId};
use crate::message::Selector;
use crate::rooms::member::Dismissal;
use crate::rooms::ranking::{MAX_ASKED, RankedNamespaces};

/// Answers what a Node server asks about the members here.
pub(super) async fn answer_node(
    parts: &BrokerParts,
    backplane: &Backplane,
    namespace: &str,
    ask: Ask,
    id: Option<RequestId>,
) {
    let rooms = &parts.rooms;
    let Some(id) = id else { return };
    let answer = |reply: Reply<'_>| backplane.answer_node(namespace, &id, &reply);
    match ask {
        Ask::Sockets(of) => answer(Reply::Sockets(&rooms.members(namespace, &of).await)),
        Ask::Fetch(of) => answer(Reply::Fetched(&rooms.members(namespace, &of).await)),
        Ask::MemberRooms(member) => {
            let members = rooms.members(namespace, &Selector::Member(member)).await;
            // As in Node, only the server that has the member answers, and its id is a room too.
            let Some(member) = members.first() else { return };
            let names = member.rooms.iter().map(|room| &**room);
            answer(Reply::Rooms(std::iter::once(member.id.as_str()).chain(names).collect()));
        }
        Ask::AllRooms => {
            let everybody = Selector::Rooms { rooms: Vec::new(), except: Vec::new() };
            let names = rooms.rooms(namespace, "").await;
            let members = rooms.members(namespace, &everybody).await;
            let ids = members.iter().map(|m| m.id.as_str());
            answer(Reply::Rooms(names.keys().map(|room| &**room).chain(ids).collect()));
        }
        Ask::Join(..) | Ask::Leave(..) | Ask::Disconnect(..) => {}
        Ask::ServerSideEmit | Ask::Broadcast(_) => {}
    }
}

/// What a Node server orders, if it is an order. It is answered where it is about one member who
/// is here and the server waits for that.
///
/// # Errors
/// Gives back what is a question.
pub(super) fn order(
    parts: &Arc<BrokerParts>,
    backplane: &Backplane,
    namespace: &Arc<str>,
    ask: Ask,
    id: Option<RequestId>,
) -> Result<Order, Ask> {
    let (parts, backplane, namespace) = (parts.clone(), backplane.clone(), namespace.clone());
    let to = namespace.clone();
    let executed = move |of: Selector, execution: BoxFuture<'static, usize>| -> Execution {
        let answered = async move {
            if is_one(&of, execution.await)
                && let Some(id) = id
            {
                backplane.answer_node(&to, &id, &Reply::Done);
            }
        };
        Execution(answered.boxed())
    };
    Ok(match ask {
        Ask::Join(of, joined) => {
            let prepared = async move {
                let prepared = parts.prepare_join(&namespace, &of, &joined).await;
                executed(of, async move { parts.join_prepared(prepared).await }.boxed())
            };
            prepared.boxed()
        }
        Ask::Leave(of, left) => {
            let selected = of.clone();
            let leave = async move { parts.rooms.leave_selected(&namespace, &of, &left).await };
            ready(executed(selected, leave.boxed())).boxed()
        }
        Ask::Disconnect(of, close) => {
            let selected = of.clone();
            let how = dismissal(close);
            let dismiss = async move { parts.rooms.dismiss_selected(&namespace, &of, how).await };
            ready(executed(selected, dismiss.boxed())).boxed()
        }
        question => return Err(question),
    })
}

fn is_one(of: &Selector, matched: usize) -> bool {
    matches!(of, Selector::Member(_)) && matched > 0
}

/// What a member loses: its transport if `close`, else its namespace.
pub(super) fn dismissal(close: bool) -> Dismissal {
    if close { Dismissal::Session } else { Dismissal::Namespace }
}

/// Does what another pod asks, and answers it: at once where it is a question of a version that
/// this one does not know. `question` is the pod that asks, and what the answer must carry.
pub(super) async fn answer_pod(
    parts: &BrokerParts,
    backplane: &Backplane,
    (asker, id): (&str, u64),
    namespace: &str,
    ask: Option<pod_messages::Ask>,
) {
    let answer = match ask {
        None => Some(Answer::Unknown),
        Some(ask) => local_answer(parts, namespace, ask).await,
    };
    if let Some(answer) = answer {
        backplane.answer_pod(asker, id, answer);
    }
}

/// What the members here answer; nothing where that failed.
async fn local_answer(
    parts: &BrokerParts,
    namespace: &str,
    ask: pod_messages::Ask,
) -> Option<Answer> {
    use pod_messages::Ask;
    let rooms = &parts.rooms;
    Some(match ask {
        Ask::Rooms { prefix } => {
            let rooms = rooms.rooms(namespace, &prefix).await;
            Answer::Rooms(rooms.into_iter().map(|(room, n)| (room.to_string(), n)).collect())
        }
        Ask::Members { of } => {
            let members = rooms.members(namespace, &of.into()).await;
            Answer::Members(members.into_iter().map(Into::into).collect())
        }
        Ask::Join { of, rooms } => {
            let rooms = pod_messages::rooms(rooms);
            Answer::Matched(parts.join_selected(namespace, &of.into(), &rooms).await)
        }
        Ask::Leave { of, rooms: left } => {
            let left = pod_messages::rooms(left);
            Answer::Matched(rooms.leave_selected(namespace, &of.into(), &left).await)
        }
        Ask::Disconnect { of, close } => {
            let dismissed = rooms.dismiss_selected(namespace, &of.into(), dismissal(close)).await;
            Answer::Matched(dismissed)
        }
        Ask::First { namespaces, all, sort, limit } => {
            let namespaces = match all {
                true => RankedNamespaces::All,
                false => RankedNamespaces::Named(namespaces.into_iter().map(Arc::from).collect()),
            };
            let first = parts.statistics.first(namespaces, sort, limit).await?;
            Answer::First(first.iter().map(|(key, n)| (WireRoomKey::from(key), *n)).collect())
        }
        Ask::Statistics { rooms } => {
            let keys = rooms.into_iter().take(MAX_ASKED).map(Into::into).collect();
            Answer::Statistics(parts.statistics.of(keys).await?)
        }
        // It waits for no answer, and does not come here.
        Ask::AdminSockets { .. } => return None,
    })
}
