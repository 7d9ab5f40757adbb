//! How long the rooms of the whole cluster wait.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use tokio::time::timeout_at;

use super::{Cluster, REDIS, ask_pods, audience};
use crate::backplane::Link;
use crate::backplane::peers::{self, Answer, Ask};
use crate::message::Scope;
use crate::rooms::waits::{self, Place, Share, WaitsAnswer, WaitsQuery};

/// The namespace of questions that name theirs themselves.
const ANY: &str = "/";

impl Cluster {
    /// The rooms that come first. An instance that is silent keeps the others from being asked
    /// for half of the deadline.
    pub async fn busiest(&self, query: &WaitsQuery) -> WaitsAnswer {
        let start = Instant::now();
        let most = waits::named_for(query.limit);
        let mut others = self.others(query.scope, start).await;
        let namespaces = query.namespaces.iter().map(|name| name.to_string()).collect();
        let ask = Ask::First(namespaces, query.sort, most);
        let until = start + self.deadline / 2;
        let first = self.waits.first(query.namespaces.clone(), query.sort, most);
        let (first, answers) =
            tokio::join!(timeout_at(until.into(), first), others.ask(ask, until));
        let mut named = others.heard(&self.pod, first.ok().flatten());
        for answer in answers {
            if let Answer::First(theirs) = answer {
                let theirs = theirs.into_iter().take(most);
                named.extend(theirs.map(|(name, weight)| (peers::place(name), weight)));
            }
        }
        // Other instances may name what is no namespace here.
        named.retain(|(place, _)| query.namespaces.contains(&place.namespace));
        let places = waits::union(named.into_iter(), query.sort);
        let rooms = self.figures(&places, &mut others, start).await;
        let rooms = waits::rank(rooms, query.sort, query.limit);
        others.answer(rooms)
    }

    /// What is known of one room.
    pub async fn waits(&self, place: &Place, scope: Scope) -> WaitsAnswer {
        let start = Instant::now();
        let mut others = self.others(scope, start).await;
        let places: Arc<[Place]> = [place.clone()].into();
        let rooms = self.figures(&places, &mut others, start).await;
        others.answer(rooms)
    }

    async fn figures(
        &self,
        places: &Arc<[Place]>,
        others: &mut Others<'_>,
        start: Instant,
    ) -> Vec<waits::RoomFigures> {
        if places.is_empty() {
            return Vec::new();
        }
        let ask = Ask::Waits(peers::names(places));
        let (mine, answers) =
            tokio::join!(self.waits.of(places.clone()), others.ask(ask, start + self.deadline),);
        let mine = others.heard(&self.pod, mine);
        let theirs = answers.into_iter().flat_map(|answer| match answer {
            Answer::Waits(shares) => shares,
            _ => Vec::<Share>::new(),
        });
        waits::merge(places, mine.into_iter().chain(theirs))
    }

    /// The other pods, as they are now.
    async fn others(&self, scope: Scope, start: Instant) -> Others<'_> {
        let mut others =
            Others { link: None, expected: Vec::new(), at_most: 0, unanswered: BTreeSet::new() };
        let Some(link) = self.link.as_ref().filter(|_| scope == Scope::Cluster) else {
            return others;
        };
        let expected = link.peers();
        match audience(link, ANY, start + self.deadline / 2).await {
            Some((pods, _)) => {
                let (link, at_most) = (Some(link), pods.saturating_sub(1));
                Others { link, expected, at_most, ..others }
            }
            None => {
                others.unanswered.insert(REDIS.to_owned());
                others
            }
        }
    }
}

/// The other pods, while several questions are asked of them.
struct Others<'a> {
    link: Option<&'a Link>,
    /// Those that are waited for.
    expected: Vec<String>,
    /// How many can answer.
    at_most: usize,
    unanswered: BTreeSet<String>,
}

impl Others<'_> {
    fn answer(self, rooms: Vec<waits::RoomFigures>) -> WaitsAnswer {
        let pods = 1 + self.expected.len();
        WaitsAnswer { rooms, pods, unanswered: self.unanswered.into_iter().collect() }
    }

    /// What this pod came to itself; without it, it is among those that did not answer.
    fn heard<T: Default>(&mut self, pod: &str, mine: Option<T>) -> T {
        mine.unwrap_or_else(|| {
            self.unanswered.insert(pod.to_owned());
            T::default()
        })
    }

    /// Asks them; one that is silent is not waited for again. Each pod's first answer counts.
    async fn ask(&mut self, ask: Ask, until: Instant) -> Vec<Answer> {
        let Some(link) = self.link else { return Vec::new() };
        let answers = ask_pods(link, ANY, ask, &self.expected, self.at_most, until).await;
        let mut by_pod = HashMap::new();
        for (pod, answer) in answers {
            by_pod.entry(pod).or_insert(answer);
        }
        let (expected, silent): (Vec<_>, Vec<_>) =
            self.expected.drain(..).partition(|pod| by_pod.contains_key(pod));
        self.expected = expected;
        self.unanswered.extend(silent);
        by_pod.into_values().collect()
    }
}
