//! Rankings of the rooms of the whole cluster.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use tokio::time::timeout_at;

use super::Broker;
use super::cluster::REDIS;
use crate::backplane::Backplane;
use crate::backplane::wire::pod_messages::{Answer, Ask};
use crate::message::{RoomKey, Scope};
use crate::rooms::ranking::{self, RankedNamespaces, RoomFigures, RoomRanking, RoomRankingQuery};

/// The namespace of questions that name theirs themselves.
const ANY: &str = "/";

impl Broker {
    /// The rooms that come first. Node servers are not asked: they measure nothing. An instance
    /// that is silent keeps the others from being asked for half of the deadline.
    pub async fn rank_rooms(&self, query: &RoomRankingQuery) -> RoomRanking {
        let start = Instant::now();
        let limit = ranking::named_for(query.limit);
        let mut others = self.others(query.scope, start).await;
        let (names, all) = match &query.namespaces {
            RankedNamespaces::Named(names) => (&**names, false),
            RankedNamespaces::All => (&[][..], true),
        };
        let namespaces = names.iter().map(|name| name.to_string()).collect();
        let ask = Ask::First { namespaces, all, sort: query.sort, limit };
        let until = start + self.query_deadline / 2;
        let first = self.parts.statistics.first(query.namespaces.clone(), query.sort, limit);
        let (first, answers) =
            tokio::join!(timeout_at(until.into(), first), others.ask(ask, until));
        let mut named = others.own(self.pod(), first.ok().flatten());
        for answer in answers {
            if let Answer::First(theirs) = answer {
                let theirs = theirs.into_iter().take(limit);
                named.extend(theirs.map(|(key, weight)| (RoomKey::from(key), weight)));
            }
        }
        // Other instances may name what is no namespace here.
        named.retain(|(key, _)| query.namespaces.contains(&key.namespace));
        let keys = ranking::union(named.into_iter(), query.sort);
        let rooms = self.figures(&keys, &mut others, start).await;
        let rooms = ranking::rank(rooms, query.sort, query.limit);
        others.answer(rooms)
    }

    /// What is known of one room, as [`Broker::rank_rooms`] tells it.
    pub async fn room_figures(&self, key: &RoomKey, scope: Scope) -> RoomRanking {
        let start = Instant::now();
        let mut others = self.others(scope, start).await;
        let keys: Arc<[RoomKey]> = [key.clone()].into();
        let rooms = self.figures(&keys, &mut others, start).await;
        others.answer(rooms)
    }

    async fn figures(
        &self,
        keys: &Arc<[RoomKey]>,
        others: &mut OtherPods<'_>,
        start: Instant,
    ) -> Vec<RoomFigures> {
        if keys.is_empty() {
            return Vec::new();
        }
        let ask = Ask::Statistics { rooms: keys.iter().map(Into::into).collect() };
        let until = start + self.query_deadline;
        let (own, answers) =
            tokio::join!(self.parts.statistics.of(keys.clone()), others.ask(ask, until));
        let own = others.own(self.pod(), own);
        let theirs = answers.into_iter().flat_map(|answer| match answer {
            Answer::Statistics(shares) => shares,
            _ => Vec::new(),
        });
        ranking::merge(keys, own.into_iter().chain(theirs))
    }

    /// The other pods, as they are now.
    async fn others(&self, scope: Scope, start: Instant) -> OtherPods<'_> {
        let mut others = OtherPods {
            backplane: None,
            expected: Vec::new(),
            at_most: 0,
            unanswered: <_>::default(),
        };
        let backplane = self.parts.backplane.as_ref().filter(|_| scope == Scope::Cluster);
        let Some(backplane) = backplane else { return others };
        others.expected = backplane.peers();
        match backplane.audience(ANY, start + self.query_deadline / 2).await {
            Some(audience) => {
                others.backplane = Some(backplane);
                others.at_most = audience.pods.saturating_sub(1);
            }
            None => {
                others.expected.clear();
                others.unanswered.insert(REDIS.to_owned());
            }
        }
        others
    }
}

/// The other pods, while several questions are asked of them.
struct OtherPods<'a> {
    backplane: Option<&'a Backplane>,
    /// Those that are waited for.
    expected: Vec<String>,
    /// How many can answer.
    at_most: usize,
    unanswered: BTreeSet<String>,
}

impl OtherPods<'_> {
    fn answer(self, rooms: Vec<RoomFigures>) -> RoomRanking {
        let pods = 1 + self.expected.len();
        RoomRanking { rooms, pods, unanswered: self.unanswered.into_iter().collect() }
    }

    /// What this pod came to itself; without it, it is among those that did not answer.
    fn own<T: Default>(&mut self, pod: &str, own: Option<T>) -> T {
        own.unwrap_or_else(|| {
            self.unanswered.insert(pod.to_owned());
            T::default()
        })
    }

    /// Asks them; one that is silent, or does not know the question, is not asked again. Each
    /// pod's first answer counts.
    async fn ask(&mut self, ask: Ask, until: Instant) -> Vec<Answer> {
        let Some(backplane) = self.backplane else { return Vec::new() };
        let answers = backplane.ask_pods(ANY, ask, &self.expected, self.at_most, until).await;
        let mut by_pod = HashMap::new();
        for (pod, answer) in answers {
            by_pod.entry(pod).or_insert(answer);
        }
        by_pod.retain(|_, answer| *answer != Answer::Unknown);
        let (expected, silent): (Vec<_>, Vec<_>) =
            self.expected.drain(..).partition(|pod| by_pod.contains_key(pod));
        self.expected = expected;
        self.unanswered.extend(silent);
        by_pod.into_values().collect()
    }
}
