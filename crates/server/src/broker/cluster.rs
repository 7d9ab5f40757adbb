//! Questions and orders to the members of the whole cluster: this pod, the other pods and Node
//! servers.
//!
//! The futures end at the deadline; an instance that has not answered until then is named in
//! `unanswered` by its pod. Where another instance cannot be asked, what is here is the answer.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use rookery_protocol::Room;
use serde::Serialize;
use utoipa::ToSchema;

use super::servers::dismissal;
use super::{Broker, BrokerParts};
use crate::backplane::Backplane;
use crate::backplane::wire::orders::Order;
use crate::backplane::wire::pod_messages::{Answer, Ask, room_names};
use crate::message::{MemberId, MemberInfo, Selector};
use crate::rooms::interest::Interest;
use crate::rooms::local::{PreparedJoin, SelectedJoin};
use crate::telemetry::metrics::Rejected;

/// How a Node server is called among those that did not answer.
const NODE: &str = "node";

/// How Redis is called among those that did not answer: nobody could be asked.
pub(super) const REDIS: &str = "redis";

/// The rooms of the cluster that have members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomsAnswer {
    /// How many members each room has.
    pub rooms: BTreeMap<Room, usize>,
    /// The pods that did not answer in time.
    pub unanswered: Vec<String>,
}

/// The members of a room, on every instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MembersAnswer {
    /// Each member once.
    pub members: Vec<MemberInfo>,
    /// The pods that did not answer in time.
    pub unanswered: Vec<String>,
}

/// How many members an order reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Matched {
    /// How many members were selected, on every instance that answered.
    pub matched: usize,
    /// The pods that did not answer in time.
    pub unanswered: Vec<String>,
}

impl Broker {
    /// The rooms with members whose names start with `prefix`.
    pub async fn rooms(&self, namespace: &str, prefix: &str) -> RoomsAnswer {
        let everybody = Selector::Rooms { rooms: Vec::new(), except: Vec::new() };
        let ask = Ask::Rooms { prefix: prefix.to_owned() };
        let question = Question { namespace, ask, of: &everybody, order: None };
        let (mut rooms, others) =
            tokio::join!(self.parts.rooms.rooms(namespace, prefix), self.ask_others(question));
        let mut add = |room: Room, n: usize| *rooms.entry(room).or_default() += n;
        for answer in others.answers {
            if let Answer::Rooms(theirs) = answer {
                theirs.into_iter().for_each(|(room, n)| add(room.into(), n));
            }
        }
        for room in others.node_members.into_iter().flat_map(|member| member.rooms) {
            if room.starts_with(prefix) {
                add(room, 1);
            }
        }
        RoomsAnswer { rooms, unanswered: others.unanswered }
    }

    /// The members of a room.
    pub async fn members(&self, namespace: &str, room: &str) -> MembersAnswer {
        let of = Selector::room(room);
        let ask = Ask::Members { of: (&of).into() };
        let question = Question { namespace, ask, of: &of, order: None };
        let (mut members, others) =
            tokio::join!(self.parts.rooms.members(namespace, &of), self.ask_others(question));
        for answer in others.answers {
            if let Answer::Members(theirs) = answer {
                members.extend(theirs.into_iter().map(MemberInfo::from));
            }
        }
        members.extend(others.node_members);
        MembersAnswer { members, unanswered: others.unanswered }
    }

    /// Makes the selected members join rooms.
    pub async fn join_selected(&self, namespace: &str, of: &Selector, rooms: &[Room]) -> Matched {
        let ask = Ask::Join { of: of.into(), rooms: room_names(rooms) };
        let order = Some(Order::Join(rooms));
        let local = self.parts.join_selected(namespace, of, rooms);
        self.change(Question { namespace, ask, of, order }, local).await
    }

    /// Makes the selected members leave rooms.
    pub async fn leave_selected(&self, namespace: &str, of: &Selector, rooms: &[Room]) -> Matched {
        let ask = Ask::Leave { of: of.into(), rooms: room_names(rooms) };
        let order = Some(Order::Leave(rooms));
        let local = self.parts.rooms.leave_selected(namespace, of, rooms);
        self.change(Question { namespace, ask, of, order }, local).await
    }

    /// Dismisses the selected members: their clients do not come back by themselves. `close` ends
    /// their transports too, and so their memberships in other namespaces.
    pub async fn disconnect_selected(
        &self,
        namespace: &str,
        of: &Selector,
        close: bool,
    ) -> Matched {
        let ask = Ask::Disconnect { of: of.into(), close };
        let order = Some(Order::Disconnect(close));
        let local = self.parts.rooms.dismiss_selected(namespace, of, dismissal(close));
        self.change(Question { namespace, ask, of, order }, local).await
    }

    async fn change(&self, question: Question<'_>, local: impl Future<Output = usize>) -> Matched {
        let (mut matched, others) = tokio::join!(local, self.ask_others(question));
        for answer in others.answers {
            if let Answer::Matched(n) = answer {
                matched = matched.saturating_add(n);
            }
        }
        Matched { matched: matched + others.node_members.len(), unanswered: others.unanswered }
    }

    /// Hears the answers of other servers in a namespace while the interests are held. Waits at most a
    /// second.
    pub(super) async fn hear_answers(&self, namespace: &Arc<str>) -> Vec<Interest> {
        let (interests, wait) = self.parts.rooms.hear_answers(namespace);
        if let Some(wait) = wait {
            wait.await;
        }
        interests
    }

    async fn ask_others(&self, question: Question<'_>) -> OtherAnswers {
        let Some(backplane) = &self.parts.backplane else { return OtherAnswers::default() };
        if matches!(question.of, Selector::Member(id) if MemberId::is_of(id, self.pod())) {
            return OtherAnswers::default();
        }
        let until = Instant::now() + self.query_deadline;
        let peers = backplane.peers();
        if let Selector::Member(id) = question.of {
            let owner = MemberId::pod_of(id);
            if let Some(owner) = peers.iter().find(|pod| owner == Some(&***pod)) {
                return ask_owner(backplane, question, owner, until).await;
            }
        }
        let Some(audience) = backplane.audience(question.namespace, until).await else {
            return OtherAnswers { unanswered: vec![REDIS.to_owned()], ..OtherAnswers::default() };
        };
        // Node servers know no users.
        let nodes = if matches!(question.of, Selector::User(_)) { 0 } else { audience.nodes };
        let _held = match nodes {
            0 => Vec::new(),
            _ => self.hear_answers(&question.namespace.into()).await,
        };
        let Question { namespace, ask, of, order } = question;
        let at_most = audience.pods.saturating_sub(1);
        let (pods, node_members) = tokio::join!(
            backplane.ask_pods(namespace, ask, &peers, at_most, until),
            backplane.ask_nodes(namespace, of, order, nodes, until),
        );
        OtherAnswers::new(&peers, pods, nodes, node_members)
    }
}

/// Asks the pod that gave a member its id, and nobody else; it is not waited for where it is gone.
async fn ask_owner(
    backplane: &Backplane,
    question: Question<'_>,
    owner: &str,
    until: Instant,
) -> OtherAnswers {
    let Question { namespace, ask, .. } = question;
    let answers = match backplane.hears(owner, until).await {
        None => return OtherAnswers { unanswered: vec![REDIS.to_owned()], ..Default::default() },
        Some(false) => Vec::new(),
        Some(true) => backplane.ask_pod(namespace, ask, owner, until).await,
    };
    OtherAnswers::new(&[owner.to_owned()], answers, 0, Vec::new())
}

impl BrokerParts {
    /// Makes the selected members here join rooms; gives how many are in them now. Nobody joins a
    /// room that is named like a member's id.
    pub(super) async fn join_selected(
        &self,
        namespace: &str,
        of: &Selector,
        rooms: &[Room],
    ) -> usize {
        let prepared = self.prepare_join(namespace, of, rooms).await;
        self.join_prepared(prepared).await
    }

    /// The first step of [`BrokerParts::join_selected`]: waits until the rooms are heard here.
    /// `None` where nobody can join them.
    pub(super) async fn prepare_join(
        &self,
        namespace: &str,
        of: &Selector,
        rooms: &[Room],
    ) -> Option<PreparedJoin> {
        if rooms.iter().any(|room| self.is_member_id(room)) {
            self.metrics.rejected(Rejected::Rooms);
            return None;
        }
        let prepared = self.rooms.prepare_join(namespace, of, rooms).await;
        prepared.map_err(|refused| self.count_refused(refused)).ok()
    }

    /// The second step of [`BrokerParts::join_selected`]: joins the members to the rooms that are heard
    /// now. Returns how many joined.
    pub(super) async fn join_prepared(&self, prepared: Option<PreparedJoin>) -> usize {
        let Some(prepared) = prepared else { return 0 };
        let joined = self.rooms.join_prepared(prepared).await;
        self.count_refused(joined);
        joined.joined
    }

    fn count_refused(&self, joined: SelectedJoin) {
        (0..joined.refused).for_each(|_| self.metrics.rejected(Rejected::Rooms));
    }
}

struct Question<'a> {
    namespace: &'a str,
    ask: Ask,
    of: &'a Selector,
    /// What Node servers are told besides being asked for their members.
    order: Option<Order<'a>>,
}

/// What the other servers answered.
#[derive(Default)]
struct OtherAnswers {
    answers: Vec<Answer>,
    node_members: Vec<MemberInfo>,
    unanswered: Vec<String>,
}

impl OtherAnswers {
    /// A pod that does not know the question has not answered it.
    fn new(
        expected: &[String],
        mut pods: Vec<(String, Answer)>,
        nodes: usize,
        node_members: Vec<Vec<MemberInfo>>,
    ) -> Self {
        pods.retain(|(_, answer)| *answer != Answer::Unknown);
        let answered: HashSet<&String> = pods.iter().map(|(pod, _)| pod).collect();
        let mut unanswered: Vec<String> =
            expected.iter().filter(|pod| !answered.contains(pod)).cloned().collect();
        unanswered.sort();
        let missing = nodes.saturating_sub(node_members.len());
        unanswered.extend(std::iter::repeat_n(NODE.to_owned(), missing));
        OtherAnswers {
            answers: pods.into_iter().map(|(_, answer)| answer).collect(),
            node_members: node_members.into_iter().flatten().collect(),
            unanswered,
        }
    }
}
