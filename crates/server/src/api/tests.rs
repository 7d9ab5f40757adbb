//! The API over real connections, with a fake [`Cluster`]: [`World`].

mod idempotency;
mod key_scopes;
mod publish;
mod refusals;
mod routes;
mod status;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use prometheus::IntCounter;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::access::Access;
use super::cluster::Cluster;
use super::idempotency::{IdempotencyStore, MemoryStore};
use super::*;
use crate::broker::{AckedReceipt, Matched, MembersAnswer, PresenceAnswer, RoomsAnswer};
use crate::message::Publication;
use crate::message::RoomKey;
use crate::message::{MemberInfo, PublishError, Receipt, Scope, Selector};
use crate::rooms::presence::occupant::{Occupant, Roster};
use crate::rooms::ranking::{RankedNamespaces, RoomFigures, RoomRanking, RoomRankingQuery, SortBy};
use crate::status_page as page;
use crate::telemetry::latency::histogram::Histogram;
use crate::telemetry::metrics::Metrics;
use rookery_config::api_keys::ApiKeys;
use rookery_ops::readiness::Readiness;
use rookery_ops::{admin, listener};
use rookery_policy::{Namespaces, RoomRule, Rules};
use rookery_protocol::{Data, Room};

/// The largest packet in these tests.
const MAX_PAYLOAD: usize = 64 << 10;

/// A membership change: its kind, the namespace, the members and the rooms.
type Change = (&'static str, String, Selector, Vec<Room>);

/// A fake cluster that records what the API asks of it.
struct World {
    published: Mutex<Vec<Publication>>,
    /// The error that publishing ends with, if any.
    publish_error: Mutex<Option<PublishError>>,
    /// A publication takes a permit before it goes on; a held cluster starts with none.
    gate: Semaphore,
    /// The number of publications that reached the gate.
    arrived: AtomicUsize,
    changes: Mutex<Vec<Change>>,
    rankings: Mutex<Vec<RoomRankingQuery>>,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(World {
            published: Mutex::default(),
            publish_error: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            arrived: AtomicUsize::new(0),
            changes: Mutex::default(),
            rankings: Mutex::default(),
        })
    }

    /// A cluster whose publications wait for permits.
    fn held() -> Arc<Self> {
        let mut world = Arc::into_inner(Self::new()).unwrap();
        world.gate = Semaphore::new(0);
        Arc::new(world)
    }

    fn change(
        &self,
        kind: &'static str,
        namespace: &str,
        members: &Selector,
        rooms: &[Room],
    ) -> BoxFuture<'static, Matched> {
        self.changes.lock().push((kind, namespace.to_owned(), members.clone(), rooms.to_vec()));
        let matched = if *members == Selector::User("nobody".to_owned()) { 0 } else { 2 };
        futures_util::future::ready(Matched { matched, unanswered: vec!["podBBBBB".to_owned()] })
            .boxed()
    }
}

impl Cluster for World {
    fn publish(&self, publication: Publication) -> BoxFuture<'_, Result<Receipt, PublishError>> {
        async move {
            self.arrived.fetch_add(1, Ordering::AcqRel);
            self.gate.acquire().await.unwrap().forget();
            if let Some(error) = *self.publish_error.lock() {
                return Err(error);
            }
            let mut published = self.published.lock();
            published.push(publication);
            Ok(Receipt { scope: Scope::Cluster, members: published.len() })
        }
        .boxed()
    }

    fn accept(
        &self,
        publication: Publication,
    ) -> BoxFuture<'_, Result<BoxFuture<'static, Receipt>, PublishError>> {
        let published = self.publish(publication);
        async move { Ok(futures_util::future::ready(published.await?).boxed()) }.boxed()
    }

    fn publish_with_acks(
        &self,
        publication: Publication,
        patience: Duration,
    ) -> BoxFuture<'_, Result<AckedReceipt, PublishError>> {
        let published = self.publish(publication);
        async move {
            let acks = vec![Data::from("yes"), Data::Null, Data::Binary(vec![1, 2].into())];
            let timed_out = patience < Duration::from_secs(1);
            Ok(AckedReceipt { receipt: published.await?, recipients: 3, acks, timed_out })
        }
        .boxed()
    }

    fn rooms<'a>(&'a self, namespace: &'a str, prefix: &'a str) -> BoxFuture<'a, RoomsAnswer> {
        let all = BTreeMap::from([("a:1".into(), 3), ("a:2".into(), 1), ("b:1".into(), 2)]);
        let here = if namespace == "/" { all } else { BTreeMap::new() };
        let rooms = here.into_iter().filter(|(room, _): &(Room, usize)| room.starts_with(prefix));
        let answer =
            RoomsAnswer { rooms: rooms.collect(), unanswered: vec!["podBBBBB".to_owned()] };
        futures_util::future::ready(answer).boxed()
    }

    fn members<'a>(&'a self, _: &'a str, room: &'a str) -> BoxFuture<'a, MembersAnswer> {
        let member = |id: &str, user: Option<&str>, connected_at| MemberInfo {
            id: id.to_owned(),
            user: user.map(str::to_owned),
            connected_at,
            rooms: vec![room.into()],
        };
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let members = match room {
            "empty" => Vec::new(),
            _ => vec![
                member("podAAAAAxxxxxxxxxxxx", Some("ada"), Some(at)),
                member("node-server-id", None, None),
            ],
        };
        futures_util::future::ready(MembersAnswer { members, unanswered: Vec::new() }).boxed()
    }

    fn presence<'a>(&'a self, room: &'a RoomKey) -> BoxFuture<'a, PresenceAnswer> {
        let ada = Occupant::user("ada".into(), Some(serde_json::json!({ "name": "Ada" })));
        let occupants = [Arc::new(ada)];
        let roster = match &*room.room {
            "doc:full" => Roster::new(2_000, None),
            _ => Roster::new(1, Some(occupants.into())),
        };
        let answer = PresenceAnswer { roster, scope: Scope::Cluster };
        futures_util::future::ready(answer).boxed()
    }

    fn rank_rooms<'a>(&'a self, query: &'a RoomRankingQuery) -> BoxFuture<'a, RoomRanking> {
        self.rankings.lock().push(query.clone());
        let names = match &query.namespaces {
            RankedNamespaces::Named(names) => names.clone(),
            RankedNamespaces::All => vec!["/tenant-7".into()],
        };
        let rooms = names.iter().flat_map(|namespace| {
            [("a/1", 4), ("idle", 0)].map(|(room, n)| figures(namespace, room, n))
        });
        let rooms = rooms.collect();
        let unanswered = vec!["podBBBBB".to_owned()];
        futures_util::future::ready(RoomRanking { rooms, pods: 2, unanswered }).boxed()
    }

    fn room_latency<'a>(&'a self, key: &'a RoomKey, scope: Scope) -> BoxFuture<'a, RoomRanking> {
        let known = *key.namespace == *"/" && *key.room == *"a/1";
        let unanswered = match scope {
            Scope::Cluster => vec!["podBBBBB".to_owned()],
            Scope::Local => Vec::new(),
        };
        let rooms = vec![figures(&key.namespace, &key.room, if known { 4 } else { 0 })];
        futures_util::future::ready(RoomRanking { rooms, pods: 2, unanswered }).boxed()
    }

    fn join<'a>(
        &'a self,
        namespace: &'a str,
        members: &'a Selector,
        rooms: &'a [Room],
    ) -> BoxFuture<'a, Matched> {
        self.change("join", namespace, members, rooms)
    }

    fn leave<'a>(
        &'a self,
        namespace: &'a str,
        members: &'a Selector,
        rooms: &'a [Room],
    ) -> BoxFuture<'a, Matched> {
        self.change("leave", namespace, members, rooms)
    }

    fn disconnect<'a>(
        &'a self,
        namespace: &'a str,
        members: &'a Selector,
        close: bool,
    ) -> BoxFuture<'a, Matched> {
        let order = if close { "disconnect" } else { "leave the namespace" };
        self.change(order, namespace, members, &[])
    }
}

/// A room of three members, and `n` deliveries of a millisecond each.
fn figures(namespace: &str, room: &str, n: u64) -> RoomFigures {
    let ms = Duration::from_millis(u64::from(n > 0));
    RoomFigures {
        key: RoomKey { namespace: namespace.into(), room: room.into() },
        members: 3,
        deliveries: 30 * n,
        latency: Histogram::from_parts(&[0, 0, 0, 0, n], ms, ms),
    }
}

/// `{workspace}:{app}`: `ada` may join, and the user 7 may publish.
fn rules() -> Rules {
    let presence = RoomRule {
        pattern: "doc:{id}".to_owned(),
        presence: rookery_policy::Presence::User,
        ..RoomRule::default()
    };
    let rule = RoomRule {
        pattern: "{workspace}:{app}".to_owned(),
        join: Some("user == 'ada' && claims.sub == 'ada'".to_owned()),
        publish: Some("user == '7' && claims.sub == 7".to_owned()),
        ..RoomRule::default()
    };
    Rules::compile(&[presence, rule]).unwrap()
}

/// A key that may do everything.
const KEY: &str = "sesame-0123456789";

/// Access with [`KEY`] alone.
fn one_key() -> Access {
    access(&format!("ci:{KEY}\n"))
}

/// Access with the keys of a file with this text.
fn access(text: &str) -> Access {
    let keys = ApiKeys::from_text(Path::new("api.keys"), text).unwrap();
    Access::Keys(Arc::new(ArcSwap::from_pointee(keys)))
}

/// The API behind a listener that stops when dropped.
struct Server {
    address: SocketAddr,
    /// The same routes, to be called without a connection.
    router: Router,
    client: Client,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    _stop: DropGuard,
}

/// The settings that tests change.
struct Setup {
    access: Access,
    idempotency: Arc<dyn IdempotencyStore>,
    body_budget: u32,
    namespaces: &'static [&'static str],
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            access: Access::Open,
            idempotency: Arc::new(memory_store()),
            body_budget: BODY_BUDGET,
            namespaces: &["/", "/chat"],
        }
    }
}

impl Server {
    async fn start(world: &Arc<World>) -> Self {
        Self::with(world, Setup::default()).await
    }

    async fn with(world: &Arc<World>, setup: Setup) -> Self {
        let metrics = Arc::new(Metrics::new().unwrap());
        let readiness = Readiness::default();
        let state = ApiState {
            cluster: world.clone(),
            rules: Arc::new(ArcSwap::from_pointee(rules())),
            idempotency: setup.idempotency,
            access: setup.access,
            namespaces: Arc::new(Namespaces::compile(setup.namespaces).unwrap()),
            user_claim: "sub".into(),
            status: Arc::new(status::fixed_status),
            max_payload: MAX_PAYLOAD,
            metrics: metrics.clone(),
            tasks: TaskTracker::new(),
        };
        let gather = metrics.clone();
        let router = admin::router(move |names| gather.gather(names), readiness.clone())
            .merge(page::router())
            .merge(router_with_budget(state, setup.body_budget));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(listener::serve(
            listener,
            router.clone(),
            stop.clone(),
            Duration::from_secs(5),
        ));
        let client = Client::new();
        Server { address, router, client, metrics, readiness, _stop: stop.drop_guard() }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path))
    }

    fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.client.post(self.url(path)).header("content-type", "application/json").body(body)
    }

    /// Posts and returns the body of the answer, which must have status 200.
    async fn ok(&self, path: &str, body: Value) -> Value {
        let response = self.post(path, body.to_string()).send().await.unwrap();
        answer(response, 200).await
    }
}

/// The JSON body of a response that must have this status.
async fn answer(response: Response, status: u16) -> Value {
    let got = response.status().as_u16();
    let text = response.text().await.unwrap();
    assert_eq!(got, status, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn memory_store() -> MemoryStore {
    MemoryStore::new(1000, IntCounter::new("evicted", "evicted").unwrap())
}

/// Waits for a condition. The limit only ends a test that would hang.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("timed out waiting until {what}");
}
