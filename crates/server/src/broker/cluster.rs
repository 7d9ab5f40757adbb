//! Questions about the members of the whole cluster: this pod, the other pods and Node servers.

mod waits;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::timeout_at;

use super::{ClusterQueries, Matched, MembersAnswer, RoomsAnswer};
use crate::backplane::Link;
use crate::backplane::peers::{self, Answer, Ask, Message};
use crate::backplane::requests;
use crate::message::{MemberInfo, Scope, Selector};
use crate::rooms::LocalMembers;
use crate::rooms::waits::{LocalWaits, Place, WaitsAnswer, WaitsQuery};
use rookery_protocol::Room;

/// How long other servers may take to answer.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// How a Node server is called in answers.
const NODE: &str = "node";

/// How Redis is called among those that did not answer: nobody could be asked.
const REDIS: &str = "redis";

/// Asks all servers. Cloning is shallow.
#[derive(Clone)]
pub struct Cluster {
    local: Arc<dyn LocalMembers>,
    waits: LocalWaits,
    pod: Arc<str>,
    link: Option<Link>,
    deadline: Duration,
}

impl Cluster {
    /// This pod's members and rooms, and those beyond `link`; without one this pod is all there is.
    pub fn new(
        local: Arc<dyn LocalMembers>,
        waits: LocalWaits,
        pod: Arc<str>,
        link: Option<Link>,
    ) -> Self {
        Cluster { local, waits, pod, link, deadline: DEADLINE }
    }

    /// With another deadline than [`DEADLINE`].
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Cluster { deadline, ..self }
    }

    /// The occupied rooms whose names start with `prefix`.
    pub async fn rooms(&self, namespace: &str, prefix: &str) -> RoomsAnswer {
        let everybody = Selector::Rooms { rooms: Vec::new(), except: Vec::new() };
        let question =
            Question { namespace, ask: Ask::Rooms(prefix.to_owned()), of: &everybody, node: None };
        let (mut rooms, heard) =
            tokio::join!(self.local.rooms(namespace, prefix), self.ask(question));
        let mut add = |room: Room, n: usize| *rooms.entry(room).or_default() += n;
        for (_, answer) in heard.answers {
            if let Answer::Rooms(theirs) = answer {
                theirs.into_iter().for_each(|(room, n)| add(room.into(), n));
            }
        }
        for room in heard.node_members.into_iter().flat_map(|member| member.rooms) {
            if room.starts_with(prefix) {
                add(room, 1);
            }
        }
        RoomsAnswer { rooms, unanswered: heard.unanswered }
    }

    /// The members of a room.
    pub async fn members(&self, namespace: &str, room: &str) -> MembersAnswer {
        let of = Selector::room(room);
        let question = Question { namespace, ask: Ask::Members((&of).into()), of: &of, node: None };
        let (local, heard) = tokio::join!(self.local.members(namespace, &of), self.ask(question));
        let mut members = local;
        for (_, answer) in heard.answers {
            if let Answer::Members(theirs) = answer {
                members.extend(theirs.into_iter().map(MemberInfo::from));
            }
        }
        members.extend(heard.node_members);
        MembersAnswer { members, unanswered: heard.unanswered }
    }

    /// Makes the selected members join rooms.
    pub async fn join(&self, namespace: &str, of: &Selector, rooms: &[Room]) -> Matched {
        let ask = Ask::Join(of.into(), peers::texts(rooms));
        let node = Some(requests::join(&self.pod, of, rooms));
        let local = self.local.join(namespace, of, rooms);
        self.change(Question { namespace, ask, of, node }, local).await
    }

    /// Makes the selected members leave rooms.
    pub async fn leave(&self, namespace: &str, of: &Selector, rooms: &[Room]) -> Matched {
        let ask = Ask::Leave(of.into(), peers::texts(rooms));
        let node = Some(requests::leave(&self.pod, of, rooms));
        let local = self.local.leave(namespace, of, rooms);
        self.change(Question { namespace, ask, of, node }, local).await
    }

    /// Dismisses the selected members, transport and all.
    pub async fn disconnect(&self, namespace: &str, of: &Selector) -> Matched {
        let ask = Ask::Disconnect(of.into(), true);
        let node = Some(requests::disconnect(&self.pod, of, true));
        let local = self.local.disconnect(namespace, of, true);
        self.change(Question { namespace, ask, of, node }, local).await
    }

    async fn change(&self, question: Question<'_>, local: impl Future<Output = usize>) -> Matched {
        let (mut matched, heard) = tokio::join!(local, self.ask(question));
        for (_, answer) in heard.answers {
            if let Answer::Matched(n) = answer {
                matched = matched.saturating_add(n);
            }
        }
        Matched { matched: matched + heard.node_members.len(), unanswered: heard.unanswered }
    }

    async fn ask(&self, question: Question<'_>) -> Heard {
        let Some(link) = &self.link else { return Heard::default() };
        if matches!(question.of, Selector::Member(id) if id.starts_with(&*self.pod)) {
            return Heard::default();
        }
        let until = Instant::now() + self.deadline;
        let peers = link.peers();
        let Some((pods, nodes)) = audience(link, question.namespace, until).await else {
            return Heard { unanswered: vec![REDIS.to_owned()], ..Heard::default() };
        };
        let owner = match question.of {
            Selector::Member(id) => peers.iter().find(|pod| id.starts_with(&***pod)).cloned(),
            _ => None,
        };
        let elsewhere = owner.is_some() || matches!(question.of, Selector::User(_));
        let nodes = if elsewhere { 0 } else { nodes };
        let expected = owner.map_or(peers, |owner| vec![owner]);
        let (asked, node_asked) = tokio::join!(
            ask_pods(
                link,
                question.namespace,
                question.ask.clone(),
                &expected,
                pods.saturating_sub(1),
                until
            ),
            question.nodes(link, nodes, until),
        );
        let answered: HashSet<&String> = asked.iter().map(|(pod, _)| pod).collect();
        let mut unanswered: Vec<String> =
            expected.iter().filter(|pod| !answered.contains(pod)).cloned().collect();
        unanswered.sort();
        let missing = nodes.saturating_sub(node_asked.len());
        unanswered.extend(std::iter::repeat_n(NODE.to_owned(), missing));
        let node_members = node_asked.into_iter().flatten().collect();
        Heard { answers: asked, node_members, unanswered }
    }
}

/// What the others said.
#[derive(Default)]
struct Heard {
    answers: Vec<(String, Answer)>,
    node_members: Vec<MemberInfo>,
    unanswered: Vec<String>,
}

struct Question<'a> {
    namespace: &'a str,
    ask: Ask,
    of: &'a Selector,
    /// What Node servers are told besides being asked for their members.
    node: Option<Vec<u8>>,
}

impl Question<'_> {
    /// Asks the Node servers for the selected members, and tells them what to do with them.
    async fn nodes(&self, link: &Link, nodes: usize, until: Instant) -> Vec<Vec<MemberInfo>> {
        let mut answers = Vec::new();
        if nodes == 0 {
            return answers;
        }
        let inner = &link.inner;
        let mut open = inner.node_questions.open();
        let id = format!("{}-{}", inner.pod, open.id);
        let channel = || inner.channels.requests(self.namespace);
        if !inner.send(channel(), requests::fetch(&inner.pod, &id, self.of)) {
            return answers;
        }
        if let Some(order) = &self.node {
            inner.send(channel(), order.clone());
        }
        while answers.len() < nodes {
            match timeout_at(until.into(), open.answers.recv()).await {
                Ok(Some(members)) => answers.push(members),
                _ => break,
            }
        }
        answers
    }
}

/// Asks the pods, and collects their answers: all of `expected`, or as many as there can be.
async fn ask_pods(
    link: &Link,
    namespace: &str,
    ask: Ask,
    expected: &[String],
    at_most: usize,
    until: Instant,
) -> Vec<(String, Answer)> {
    let mut answers = Vec::new();
    if expected.is_empty() {
        return answers;
    }
    let inner = &link.inner;
    let mut open = inner.questions.open();
    let question = Message::Question {
        pod: inner.pod.to_string(),
        id: open.id,
        namespace: namespace.to_owned(),
        ask,
    };
    if !inner.send(inner.channels.pods(), question.encode()) {
        return answers;
    }
    let done = |answers: &[(String, Answer)]| {
        answers.len() >= at_most
            || expected.iter().all(|pod| answers.iter().any(|(from, _)| from == pod))
    };
    while !done(&answers) {
        match timeout_at(until.into(), open.answers.recv()).await {
            Ok(Some(answer)) => answers.push(answer),
            _ => break,
        }
    }
    answers
}

/// How many pods and how many Node servers listen now: both listen to the request channel, only
/// pods to their own. None: Redis does not say.
async fn audience(link: &Link, namespace: &str, until: Instant) -> Option<(usize, usize)> {
    if !link.is_up() {
        return None;
    }
    let mut connection = link.commands()?;
    let channels = &link.inner.channels;
    let mut command = ::redis::cmd("PUBSUB");
    command.arg("NUMSUB").arg(channels.requests(namespace)).arg(channels.pods());
    let counted = command.query_async::<Vec<::redis::Value>>(&mut connection);
    let counted = timeout_at(until.into(), counted).await.ok()?.ok()?;
    let count = |at: usize| ::redis::from_redis_value_ref::<usize>(counted.get(at)?).ok();
    let (all, pods) = (count(1)?, count(3)?);
    Some((pods, all.saturating_sub(pods)))
}

impl ClusterQueries for Cluster {
    fn rooms<'a>(&'a self, namespace: &'a str, prefix: &'a str) -> BoxFuture<'a, RoomsAnswer> {
        Cluster::rooms(self, namespace, prefix).boxed()
    }

    fn members<'a>(&'a self, namespace: &'a str, room: &'a str) -> BoxFuture<'a, MembersAnswer> {
        Cluster::members(self, namespace, room).boxed()
    }

    fn busiest<'a>(&'a self, query: &'a WaitsQuery) -> BoxFuture<'a, WaitsAnswer> {
        Cluster::busiest(self, query).boxed()
    }

    fn waits<'a>(&'a self, place: &'a Place, scope: Scope) -> BoxFuture<'a, WaitsAnswer> {
        Cluster::waits(self, place, scope).boxed()
    }

    fn join<'a>(
        &'a self,
        namespace: &'a str,
        of: &'a Selector,
        rooms: &'a [Room],
    ) -> BoxFuture<'a, Matched> {
        Cluster::join(self, namespace, of, rooms).boxed()
    }

    fn leave<'a>(
        &'a self,
        namespace: &'a str,
        of: &'a Selector,
        rooms: &'a [Room],
    ) -> BoxFuture<'a, Matched> {
        Cluster::leave(self, namespace, of, rooms).boxed()
    }

    fn disconnect<'a>(&'a self, namespace: &'a str, of: &'a Selector) -> BoxFuture<'a, Matched> {
        Cluster::disconnect(self, namespace, of).boxed()
    }
}
