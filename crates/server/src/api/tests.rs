//! The API over real connections, with the rest of the process played by [`World`].

mod idempotency;
mod refusals;
mod routes;
mod status;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use prometheus::IntCounter;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::auth::ApiKeyCheck;
use super::explain::Explanation;
use super::idempotency::{IdempotencyStore, Memory};
use super::*;
use crate::broker::{Matched, MembersAnswer, RoomsAnswer};
use crate::message::Publication;
use crate::message::{MemberInfo, PublishError, Receipt, Scope, Selector};
use crate::rooms::waits::{Place, RoomFigures, SortBy, WaitsAnswer, WaitsQuery};
use crate::status_page as page;
use crate::telemetry::latency::histogram::Histogram;
use rookery_ops::readiness::Readiness;
use rookery_ops::{admin, listener};
use rookery_protocol::Room;

/// The largest packet in these tests.
const MAX_PAYLOAD: usize = 64 << 10;

/// What was asked of the members: what, in which namespace, of whom, with which rooms.
type Order = (&'static str, String, Selector, Vec<Room>);

/// Everything that the API talks to, and what it said.
struct World {
    published: Mutex<Vec<Publication>>,
    redis_down: Mutex<bool>,
    /// A publication takes a permit before it goes on; tests that hold it up start with none.
    gate: Semaphore,
    /// How many publications came to the gate.
    arrived: AtomicUsize,
    orders: Mutex<Vec<Order>>,
    ranked: Mutex<Vec<WaitsQuery>>,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(World {
            published: Mutex::default(),
            redis_down: Mutex::new(false),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            arrived: AtomicUsize::new(0),
            orders: Mutex::default(),
            ranked: Mutex::default(),
        })
    }

    fn held_up() -> Arc<Self> {
        let mut world = Arc::into_inner(Self::new()).unwrap();
        world.gate = Semaphore::new(0);
        Arc::new(world)
    }

    fn order(
        &self,
        what: &'static str,
        namespace: &str,
        of: &Selector,
        rooms: &[Room],
    ) -> BoxFuture<'static, Matched> {
        self.orders.lock().push((what, namespace.to_owned(), of.clone(), rooms.to_vec()));
        let matched = if *of == Selector::User("nobody".to_owned()) { 0 } else { 2 };
        futures_util::future::ready(Matched { matched, unanswered: vec!["podBBBBB".to_owned()] })
            .boxed()
    }
}

impl Publisher for World {
    fn publish(&self, publication: Publication) -> BoxFuture<'_, Result<Receipt, PublishError>> {
        async move {
            self.arrived.fetch_add(1, Ordering::AcqRel);
            self.gate.acquire().await.unwrap().forget();
            if *self.redis_down.lock() {
                return Err(PublishError::RedisDown);
            }
            let mut published = self.published.lock();
            published.push(publication);
            Ok(Receipt { scope: Scope::Cluster, members: published.len() })
        }
        .boxed()
    }
}

impl ClusterQueries for World {
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

    fn busiest<'a>(&'a self, query: &'a WaitsQuery) -> BoxFuture<'a, WaitsAnswer> {
        self.ranked.lock().push(query.clone());
        let rooms = query.namespaces.iter().flat_map(|namespace| {
            [("a/1", 4), ("idle", 0)].map(|(room, n)| figures(namespace, room, n))
        });
        let rooms = rooms.collect();
        let unanswered = vec!["podBBBBB".to_owned()];
        futures_util::future::ready(WaitsAnswer { rooms, pods: 2, unanswered }).boxed()
    }

    fn waits<'a>(&'a self, place: &'a Place, scope: Scope) -> BoxFuture<'a, WaitsAnswer> {
        let known = *place.namespace == *"/" && *place.room == *"a/1";
        let unanswered = match scope {
            Scope::Cluster => vec!["podBBBBB".to_owned()],
            Scope::Local => Vec::new(),
        };
        let rooms = vec![figures(&place.namespace, &place.room, if known { 4 } else { 0 })];
        futures_util::future::ready(WaitsAnswer { rooms, pods: 2, unanswered }).boxed()
    }

    fn join<'a>(
        &'a self,
        namespace: &'a str,
        of: &'a Selector,
        rooms: &'a [Room],
    ) -> BoxFuture<'a, Matched> {
        self.order("join", namespace, of, rooms)
    }

    fn leave<'a>(
        &'a self,
        namespace: &'a str,
        of: &'a Selector,
        rooms: &'a [Room],
    ) -> BoxFuture<'a, Matched> {
        self.order("leave", namespace, of, rooms)
    }

    fn disconnect<'a>(&'a self, namespace: &'a str, of: &'a Selector) -> BoxFuture<'a, Matched> {
        self.order("disconnect", namespace, of, &[])
    }
}

/// A room of three members, and `n` deliveries of a millisecond each.
fn figures(namespace: &str, room: &str, n: u64) -> RoomFigures {
    let ms = Duration::from_millis(u64::from(n > 0));
    RoomFigures {
        place: Place { namespace: namespace.into(), room: room.into() },
        members: 3,
        deliveries: 30 * n,
        waits: Histogram::from_parts(&[0, 0, 0, 0, n], ms, ms),
    }
}

impl Explain for World {
    fn explain(
        &self,
        action: &str,
        room: &str,
        claims: Map<String, Value>,
        user: Option<String>,
    ) -> Explanation {
        let why = format!("{action} {room} {} {user:?}", Value::Object(claims));
        Explanation { allowed: action == "join", rule: Some("{a}:{b}".to_owned()), why }
    }
}

/// One key: `sesame`.
struct OneKey;

impl ApiKeyCheck for OneKey {
    fn name_of(&self, key: &str) -> Option<String> {
        (key == "sesame").then(|| "ci".to_owned())
    }
}

/// A listener that answers, and stops when dropped.
struct Server {
    address: SocketAddr,
    client: Client,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    _stop: DropGuard,
}

/// How a test's server differs from the others.
struct Setup {
    access: Access,
    idempotency: Arc<dyn IdempotencyStore>,
    body_budget: u32,
}

impl Default for Setup {
    fn default() -> Self {
        Setup { access: Access::Open, idempotency: Arc::new(memory()), body_budget: BODY_BUDGET }
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
            publisher: world.clone(),
            cluster: world.clone(),
            policy: world.clone(),
            idempotency: setup.idempotency,
            access: setup.access,
            namespaces: vec!["/".into(), "/chat".into()],
            user_claim: "sub".into(),
            status: world.clone(),
            max_payload: MAX_PAYLOAD,
            metrics: metrics.clone(),
            tasks: TaskTracker::new(),
        };
        let gather = metrics.clone();
        let router = admin::router(move |names| gather.gather(names), readiness.clone())
            .merge(page::router())
            .merge(limited(state, setup.body_budget));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(listener::serve(listener, router, stop.clone(), Duration::from_secs(5)));
        let client = Client::new();
        Server { address, client, metrics, readiness, _stop: stop.drop_guard() }
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

    /// Posts, expects 200, gives the body.
    async fn ok(&self, path: &str, body: Value) -> Value {
        let response = self.post(path, body.to_string()).send().await.unwrap();
        answer(response, 200).await
    }
}

/// The JSON body of an answer that must have this status.
async fn answer(response: Response, status: u16) -> Value {
    let got = response.status().as_u16();
    let text = response.text().await.unwrap();
    assert_eq!(got, status, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn memory() -> Memory {
    Memory::new(1000, IntCounter::new("evicted", "evicted").unwrap())
}

/// Waits for a condition; the limit only ends a test that would hang.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never came true: {what}");
}
