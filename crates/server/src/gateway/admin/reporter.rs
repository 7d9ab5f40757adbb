//! The task that tells admins of this instance, while one is connected to any instance.
//!
//! Every instance publishes its own figures and sockets in the namespace of admins. It keeps what it
//! has told of its sockets, and from time to time tells what is different. An admin that connects is
//! first told everything, by every instance to it alone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rookery_ops::throttle::{Throttle, limited};
use rookery_protocol::{Data, Room};
use smallvec::SmallVec;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::changes::{changes, connected};
use super::event::AdminEvent;
use super::report::Figures;
use super::snapshot::{self, Snapshot, SocketKey, TooMany};
use super::state::Admin;
use crate::broker::{AdminQuestion, Broker};
use crate::gateway::session::Sessions;
use crate::message::{Publication, Source};

/// The time between two reports: that of the package.
const INTERVAL: Duration = Duration::from_secs(2);

/// How long a question of another instance shows that it has an admin; then its heartbeats do.
const ASKED: Duration = Duration::from_secs(5);

/// Events that are published at once, so that they fit into the queue of an admin that reads slowly.
const CHUNK: usize = 200;

/// The time between two chunks.
const PACE: Duration = Duration::from_millis(50);

/// Tells admins of this instance until `stop`; ends at once without `admin` in the configuration. Called
/// once.
pub async fn report_to_admins(sessions: Arc<Sessions>, stop: CancellationToken) {
    let gateway = sessions.gateway().clone();
    let Some(admin) = &gateway.admin else { return };
    let (Some(arrivals), Some(questions)) =
        (admin.take_arrivals(), gateway.broker.take_admin_questions())
    else {
        return;
    };
    let reporter = Reporter {
        admin,
        broker: &gateway.broker,
        figures: Figures::new(&sessions),
        shown: None,
        queue: VecDeque::new(),
        here: Vec::new(),
        elsewhere: Vec::new(),
        asked: None,
        has_too_many: false,
        errors: Throttle::new(&gateway.metrics.log_lines_suppressed),
        sessions: &sessions,
    };
    stop.run_until_cancelled(reporter.run(arrivals, questions)).await;
}

struct Reporter<'a> {
    sessions: &'a Sessions,
    admin: &'a Admin,
    broker: &'a Broker,
    figures: Figures,
    /// What admins are told, once all of `queue` is published; `None` while nobody watches.
    shown: Option<Snapshot>,
    queue: VecDeque<Item>,
    /// Admins of this instance, and of others, that have to be told everything.
    here: Vec<Room>,
    elsewhere: Vec<Room>,
    /// When another instance asked last.
    asked: Option<Instant>,
    has_too_many: bool,
    errors: Throttle,
}

/// What waits to be published.
enum Item {
    /// A change, for all admins.
    Change(AdminEvent),
    /// A socket that some admins are told of, if it is still there.
    Socket(Arc<[Room]>, SocketKey),
}

impl Reporter<'_> {
    async fn run(
        mut self,
        mut arrivals: mpsc::Receiver<Room>,
        mut questions: mpsc::Receiver<AdminQuestion>,
    ) {
        let mut reports = tokio::time::interval(INTERVAL);
        let mut chunks = tokio::time::interval(PACE);
        for ticks in [&mut reports, &mut chunks] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                _ = reports.tick() => self.report().await,
                _ = chunks.tick(), if !self.queue.is_empty() => self.publish_chunk().await,
                Some(admin) = arrivals.recv() => {
                    self.here.push(admin);
                    self.broker.set_has_admins(true);
                    self.publish_figures().await;
                }
                Some(question) = questions.recv() => {
                    if *question.namespace == *self.admin.namespace {
                        self.asked = Some(Instant::now());
                        self.elsewhere.extend(question.admins);
                    }
                }
            }
            if self.queue.is_empty() && !(self.here.is_empty() && self.elsewhere.is_empty()) {
                self.tell_newcomers().await;
            }
        }
    }

    /// The namespaces that are shown: those that are named, and those of patterns that have clients;
    /// the last is that of admins.
    fn namespaces(&self) -> Arc<[Arc<str>]> {
        let namespaces = &self.sessions.gateway().namespaces;
        let of_admins = &self.admin.namespace;
        let named = namespaces.served().fixed().iter().filter(|name| *name != of_admins).cloned();
        named.chain(namespaces.names()).chain([of_admins.clone()]).collect()
    }

    /// Publishes the figures, and what changed of the sockets, where somebody watches.
    async fn report(&mut self) {
        let of_admins: Arc<[Arc<str>]> = [self.admin.namespace.clone()].into();
        let has_admins = self.broker.populations(&of_admins).await.iter().any(|admins| *admins > 0);
        self.broker.set_has_admins(has_admins);
        let was_asked = self.asked.is_some_and(|asked| asked.elapsed() < ASKED);
        if !(has_admins || was_asked || self.broker.others_have_admins()) {
            self.shown = None;
            self.queue.clear();
            self.admin.take_departures(false);
            return;
        }
        self.publish_figures().await;
        if self.admin.shows_sockets() && self.queue.is_empty() {
            // Where it begins, others have been shown nothing yet.
            let before = self.shown.take().unwrap_or_default();
            self.look(before).await;
        }
    }

    async fn publish_figures(&mut self) {
        let namespaces = self.namespaces();
        let sockets = self.broker.populations(&namespaces).await;
        let sockets: Vec<_> = namespaces.iter().cloned().zip(sockets).collect();
        let event = self.figures.report(self.sessions, self.admin, &sockets);
        self.publish(event, &[]).await;
    }

    /// Queues what changed since `before`, and keeps what is there now.
    async fn look(&mut self, before: Snapshot) {
        let after = self.snapshot().await;
        let reasons = self.admin.take_departures(true);
        let why = |id: &str| reasons.get(id).map_or("unknown", |reason| reason.label());
        let changed = changes(&before, &after, SystemTime::now(), why);
        self.queue.extend(changed.into_iter().map(Item::Change));
        self.shown = Some(after);
    }

    /// The sockets now; none where there are too many to show.
    async fn snapshot(&mut self) -> Snapshot {
        let max = self.admin.config.max_sockets as usize;
        match snapshot::take(self.sessions, &self.namespaces(), max).await {
            Ok(snapshot) => {
                self.has_too_many = false;
                snapshot
            }
            Err(TooMany(sockets)) => {
                if !std::mem::replace(&mut self.has_too_many, true) {
                    tracing::warn!(sockets, limit = max, "too many sockets to show to admins");
                }
                Snapshot::default()
            }
        }
    }

    /// Tells admins that have connected of all sockets here. Whoever is told of them by a change first
    /// passes over them.
    async fn tell_newcomers(&mut self) {
        let here: Arc<[Room]> = std::mem::take(&mut self.here).into();
        let elsewhere = std::mem::take(&mut self.elsewhere);
        if !self.admin.shows_sockets() {
            return;
        }
        match self.shown.take() {
            // What changed since is for the others too.
            Some(before) => self.look(before).await,
            None => {
                self.admin.take_departures(true);
                self.shown = Some(self.snapshot().await);
            }
        }
        while !self.queue.is_empty() {
            self.publish_chunk().await;
            tokio::time::sleep(PACE).await;
        }
        let Some(shown) = &self.shown else { return };
        let mut keys: VecDeque<SocketKey> = shown.keys().cloned().collect();
        if !here.is_empty() {
            // It replaces what the page shows, so those of other instances come after it.
            let first =
                keys.iter().take(CHUNK).filter_map(|key| Some(shown.get(key)?.to_data(&key.0)));
            let all = AdminEvent::new("all_sockets", [Data::Array(first.collect())]);
            self.publish(all, &here).await;
            self.broker.ask_for_sockets(&self.admin.namespace, &here);
        }
        let told_first = if elsewhere.is_empty() { keys.len().min(CHUNK) } else { 0 };
        keys.drain(..told_first);
        let to: Arc<[Room]> = here.iter().cloned().chain(elsewhere).collect();
        self.queue.extend(keys.into_iter().map(|key| Item::Socket(to.clone(), key)));
    }

    async fn publish_chunk(&mut self) {
        for _ in 0..CHUNK {
            match self.queue.pop_front() {
                Some(Item::Change(event)) => self.publish(event, &[]).await,
                Some(Item::Socket(to, key)) => {
                    let socket = self.shown.as_ref().and_then(|shown| shown.get(&key));
                    let Some(socket) = socket else { continue };
                    let event = connected(&key, socket, SystemTime::now());
                    self.publish(event, &to).await;
                }
                None => return,
            }
        }
    }

    /// Publishes to these admins; none: to all.
    async fn publish(&self, event: AdminEvent, to: &[Room]) {
        let publication = Publication {
            id: event.name.into(),
            namespace: self.admin.namespace.clone(),
            rooms: SmallVec::from(to),
            except: SmallVec::new(),
            event: event.name.to_owned(),
            args: event.args,
            volatile: false,
            compress: true,
            source: Source::Admin,
            address: None,
            accepted: Instant::now(),
            traceparent: None,
        };
        if let Err(error) = self.broker.publish_to_admins(publication).await {
            limited!(self.errors, warn, %error, "admins were not told of a change");
        }
    }
}
