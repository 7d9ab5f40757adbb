//! Questions to other servers, and answers to theirs.

use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use super::outgoing::MessageKind;
use super::questions::{MAX_ANSWERS, Open};
use super::wire::node;
use super::wire::orders::Order;
use super::wire::pod_messages::{Answer, Ask, Message};
use super::wire::replies::{BroadcastAnswer, Reply};
use super::wire::requests::RequestId;
use super::{Backplane, Parts};
use crate::message::{MemberInfo, Publication, Selector};

/// Acknowledgements of other servers' members that may wait to be collected.
const MAX_ACKS: usize = 1 << 16;

/// What the number in the id of a broadcast begins with, so that its answers are told from others.
pub(super) const BROADCAST_ID: char = 'b';

impl Backplane {
    /// Asks the pods, and collects their answers until `until`: those of all `expected`, or as
    /// many as there can be. It costs a message, and one from each pod that listens.
    pub async fn ask_pods(
        &self,
        namespace: &str,
        ask: Ask,
        expected: &[String],
        at_most: usize,
        until: Instant,
    ) -> Vec<(String, Answer)> {
        if expected.is_empty() {
            return Vec::new();
        }
        let to = self.parts.channels.pods();
        self.ask_on(to, (namespace, ask), expected, at_most, until).await
    }

    /// Asks one pod alone, and waits for its answer until `until`. It costs two messages.
    pub async fn ask_pod(
        &self,
        namespace: &str,
        ask: Ask,
        pod: &str,
        until: Instant,
    ) -> Vec<(String, Answer)> {
        let to = self.parts.channels.answers(pod);
        self.ask_on(to, (namespace, ask), &[pod.to_owned()], 1, until).await
    }

    async fn ask_on(
        &self,
        channel: String,
        (namespace, ask): (&str, Ask),
        expected: &[String],
        at_most: usize,
        until: Instant,
    ) -> Vec<(String, Answer)> {
        let mut answers: Vec<(String, Answer)> = Vec::new();
        let Parts { questions, pod, .. } = &*self.parts;
        let mut open = questions.open(MAX_ANSWERS);
        let question = Message::Question {
            pod: pod.to_string(),
            id: open.id,
            namespace: namespace.to_owned(),
            ask: Some(ask),
        };
        if !self.send(channel, question.encode()) {
            return answers;
        }
        let is_complete = |answers: &[(String, Answer)]| {
            answers.len() >= at_most
                || expected.iter().all(|pod| answers.iter().any(|(from, _)| from == pod))
        };
        while !is_complete(&answers) {
            match timeout_at(until.into(), open.answers.recv()).await {
                Ok(Some(answer)) => answers.push(answer),
                _ => break,
            }
        }
        answers
    }

    /// Asks `nodes` Node servers for the selected members, and sends them `order` besides, where
    /// there is one. Gives the answers that came until `until`.
    pub async fn ask_nodes(
        &self,
        namespace: &str,
        of: &Selector,
        order: Option<Order<'_>>,
        nodes: usize,
        until: Instant,
    ) -> Vec<Vec<MemberInfo>> {
        let mut answers = Vec::new();
        if nodes == 0 {
            return answers;
        }
        let Parts { node_questions, pod, channels, .. } = &*self.parts;
        let mut open = node_questions.open(MAX_ANSWERS);
        let (wire, id) = (channels.wire(), format!("{pod}-{}", open.id));
        if !self.send(channels.requests(namespace), wire.fetch(pod, namespace, &id, of)) {
            return answers;
        }
        if let Some(order) = order {
            self.send(channels.requests(namespace), wire.order(pod, namespace, of, order));
        }
        while answers.len() < nodes {
            match timeout_at(until.into(), open.answers.recv()).await {
                Ok(Some(members)) => answers.push(members),
                _ => break,
            }
        }
        answers
    }

    /// Sends a publication whose recipients are to acknowledge it to the other servers, which answer
    /// with the number of their recipients and each acknowledgement. `None`: it is not sent, and
    /// counted as unsent.
    pub fn broadcast_with_acks(
        &self,
        publication: &Publication,
        timeout: Duration,
    ) -> Option<Open<'_, BroadcastAnswer>> {
        let Parts { broadcasts, pod, channels, clock, metrics, .. } = &*self.parts;
        let open = broadcasts.open(MAX_ACKS);
        let id = format!("{pod}-{BROADCAST_ID}{}", open.id);
        let origin = clock.to_redis(publication.accepted);
        let wire = channels.wire();
        let request = wire.broadcast_with_acks(pod, &id, publication, origin, timeout);
        if !self.send(channels.requests(&publication.namespace), request) {
            metrics.redis_unsent.inc();
            return None;
        }
        Some(open)
    }

    /// Answers a question of another pod.
    pub fn answer_pod(&self, asker: &str, id: u64, answer: Answer) {
        let answer = Message::Answer { pod: self.parts.pod.to_string(), id, answer };
        self.answer(self.parts.channels.answers(asker), answer.encode());
    }

    /// Answers a request of a Node server.
    pub fn answer_node(&self, namespace: &str, id: &RequestId, reply: &Reply<'_>) {
        let Parts { channels, pod, .. } = &*self.parts;
        if let Some(answer) = node::answer(pod, namespace, id, reply) {
            self.answer(channels.responses(namespace, id), answer);
        }
    }

    /// Sends a question or an order, after what was published before; false: it is not sent.
    fn send(&self, channel: String, payload: Vec<u8>) -> bool {
        self.parts.outgoing.push(channel, payload, MessageKind::Question)
    }

    fn answer(&self, channel: String, payload: Vec<u8>) {
        self.parts.outgoing.push(channel, payload, MessageKind::Answer);
    }
}
