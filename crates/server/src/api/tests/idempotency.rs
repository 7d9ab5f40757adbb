//! An id is delivered once: on one instance, and on two that share a real Redis.

use std::process::{Child, Command, Stdio};

use redis::aio::MultiplexedConnection;
use serde_json::json;

use super::*;
use crate::api::idempotency::RedisStore;
use crate::api::idempotency::redis::{GetConnection, Unkept};

fn body(id: &str) -> Value {
    json!({"room": "r", "event": "e", "id": id})
}

fn setup(store: impl IdempotencyStore) -> Setup {
    Setup { idempotency: Arc::new(store), ..Setup::default() }
}

fn store(connection: GetConnection) -> RedisStore {
    RedisStore::new(connection, "test", memory_store(), &Metrics::new().unwrap())
}

/// A Redis server for one test; killed when dropped.
struct Redis {
    child: Child,
    client: redis::Client,
}

impl Redis {
    async fn start() -> Self {
        for _ in 0..5 {
            let port =
                std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let child = Command::new("redis-server")
                .args(["--port", &port.to_string(), "--save", "", "--appendonly", "no"])
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server is installed");
            let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
            let mut redis = Redis { child, client };
            while redis.child.try_wait().unwrap().is_none() {
                if redis.client.get_multiplexed_async_connection().await.is_ok() {
                    return redis;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        panic!("redis-server does not start");
    }

    async fn connection(&self) -> MultiplexedConnection {
        self.client.get_multiplexed_async_connection().await.unwrap()
    }

    async fn store(&self) -> RedisStore {
        let connection = self.connection().await;
        store(Arc::new(move |_| Ok(connection.clone().into())))
    }

    async fn get(&self, key: &str) -> Option<String> {
        let mut connection = self.connection().await;
        redis::cmd("GET").arg(key).query_async(&mut connection).await.unwrap()
    }

    async fn set(&self, key: &str, value: &str, milliseconds: u64) {
        let mut connection = self.connection().await;
        let mut set = redis::cmd("SET");
        set.arg(key).arg(value).arg("PX").arg(milliseconds);
        let () = set.query_async(&mut connection).await.unwrap();
    }

    async fn delete(&self, key: &str) {
        let mut connection = self.connection().await;
        let () = redis::cmd("DEL").arg(key).query_async(&mut connection).await.unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends `n` requests with the same id to each server at once.
async fn at_once<const N: usize>(servers: [&Server; N], n: usize) -> Vec<Value> {
    let requests = servers.iter().flat_map(|server| {
        (0..n).map(|_| server.post("/api/publish", body("same").to_string()).send())
    });
    let responses = futures_util::future::join_all(requests).await;
    let answers = responses.into_iter().map(|response| answer(response.unwrap(), 200));
    futures_util::future::join_all(answers).await
}

#[tokio::test]
async fn a_repeat_on_one_instance_gets_the_first_answer() {
    let world = World::new();
    let server = Server::start(&world).await;
    let first = server.ok("/api/publish", body("a")).await;
    let other = json!({"room": "elsewhere", "event": "f", "id": "a"});
    assert_eq!(server.ok("/api/publish", other).await, first);
    assert_eq!(world.published.lock().len(), 1);
    // Another id, and another namespace, are other publications. Keys are apart too: see key_scopes.
    server.ok("/api/publish", body("b")).await;
    server.ok("/api/publish?namespace=/chat", body("a")).await;
    assert_eq!(world.published.lock().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_repeats_on_one_instance_are_delivered_once() {
    let world = World::held();
    let server = Server::start(&world).await;
    let (answers, ()) = tokio::join!(at_once([&server], 20), async {
        until("the first waits", || world.arrived.load(Ordering::Acquire) > 0).await;
        world.gate.add_permits(20);
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(world.arrived.load(Ordering::Acquire), 1);
}

#[tokio::test]
async fn the_repeat_of_a_dropped_request_gets_its_answer() {
    let world = World::held();
    let server = Server::start(&world).await;
    let request = tokio::spawn(server.post("/api/publish", body("cut").to_string()).send());
    until("the publication waits", || world.arrived.load(Ordering::Acquire) == 1).await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    world.gate.add_permits(5);
    assert_eq!(server.ok("/api/publish", body("cut")).await["members"], 1);
    assert_eq!(world.published.lock().len(), 1);
}

#[tokio::test]
async fn a_full_store_evicts_the_oldest_answer_and_counts_it() {
    let evicted = IntCounter::new("evicted", "evicted").unwrap();
    let world = World::new();
    let server = Server::with(&world, setup(MemoryStore::new(2, evicted.clone()))).await;
    for id in ["a", "b", "c", "c", "b"] {
        server.ok("/api/publish", body(id)).await;
    }
    assert_eq!((world.published.lock().len(), evicted.get()), (3, 1));
    server.ok("/api/publish", body("a")).await;
    assert_eq!((world.published.lock().len(), evicted.get()), (4, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_repeats_on_two_instances_are_delivered_once() {
    let redis = Redis::start().await;
    let world = World::held();
    let a = Server::with(&world, setup(redis.store().await)).await;
    let b = Server::with(&world, setup(redis.store().await)).await;
    let (answers, ()) = tokio::join!(at_once([&a, &b], 10), async {
        until("the first waits", || world.arrived.load(Ordering::Acquire) > 0).await;
        world.gate.add_permits(20);
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(world.arrived.load(Ordering::Acquire), 1);
    let kept = redis.get("test:rookery:idem:/:same").await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap(), answers[0]);

    let first = a.ok("/api/publish", body("later")).await;
    assert_eq!(b.ok("/api/publish", body("later")).await, first);
    assert_eq!(world.published.lock().len(), 2);
}

#[tokio::test]
async fn the_ids_of_two_publishers_are_apart_on_every_instance() {
    let redis = Redis::start().await;
    let world = World::new();
    let keys = [KEY, "rotated-0123456789", "other-0123456789"];
    let text = format!("ci:{}\nci:{}\nshop:{}\n", keys[0], keys[1], keys[2]);
    let both = async || Setup { access: access(&text), ..setup(redis.store().await) };
    let (a, b) =
        (Server::with(&world, both().await).await, Server::with(&world, both().await).await);
    let publish = async |server: &Server, key: &str| {
        let request = server.post("/api/publish", body("same").to_string()).bearer_auth(key);
        answer(request.send().await.unwrap(), 200).await
    };
    let first = publish(&a, keys[0]).await;
    for server in [&a, &b] {
        assert_eq!(publish(server, keys[0]).await, first);
        assert_eq!(publish(server, keys[1]).await, first, "another key of the same name");
    }
    let other = publish(&a, keys[2]).await;
    assert_eq!(world.published.lock().len(), 2);
    assert_ne!(other["members"], first["members"]);
    assert_eq!(publish(&b, keys[2]).await, other);

    let mut connection = redis.connection().await;
    let kept: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    assert_eq!(kept.len(), 2, "{kept:?}");
    for key in kept {
        assert!(key.starts_with("test:rookery:idem:") && key.ends_with(":/:same"), "{key}");
        assert!(!key.contains("shop") && keys.iter().all(|secret| !key.contains(secret)), "{key}");
    }
}

#[tokio::test]
async fn a_refused_publication_frees_its_id_on_every_instance() {
    let redis = Redis::start().await;
    let world = World::new();
    let a = Server::with(&world, setup(redis.store().await)).await;
    let b = Server::with(&world, setup(redis.store().await)).await;
    *world.publish_error.lock() = Some(PublishError::RedisDown);
    let refused = a.post("/api/publish", body("x").to_string()).send().await.unwrap();
    answer(refused, 503).await;
    assert_eq!(redis.get("test:rookery:idem:/:x").await, None);
    *world.publish_error.lock() = None;
    assert_eq!(b.ok("/api/publish", body("x")).await["members"], 1);
}

#[tokio::test]
async fn a_repeat_waits_for_another_claim_to_expire_until_its_deadline() {
    let redis = Redis::start().await;
    let world = World::new();
    let server = Server::with(&world, setup(redis.store().await)).await;
    redis.set("test:rookery:idem:/:stuck", "open:of-a-dead-pod", 600).await;
    assert_eq!(server.ok("/api/publish", body("stuck")).await["members"], 1);
    // A claim that stays open beyond the deadline.
    redis.set("test:rookery:idem:/:open", "open:of-a-slow-pod", 60_000).await;
    let busy = server.post("/api/publish", body("open").to_string()).send().await.unwrap();
    assert_eq!(busy.headers()["retry-after"], "1");
    assert_eq!(answer(busy, 503).await["field"], "id");
    assert_eq!(world.published.lock().len(), 1);
}

/// The key in Redis of the id `slow`.
const SLOW: &str = "test:rookery:idem:/:slow";

/// Starts a publication with the id `slow`, lets its claim expire, runs `meanwhile` and then
/// completes the publication.
async fn outlast_the_claim(redis: &Redis, meanwhile: impl AsyncFnOnce()) {
    let world = World::held();
    let server = Server::with(&world, setup(redis.store().await)).await;
    let (response, ()) = tokio::join!(server.ok("/api/publish", body("slow")), async {
        until("the publication waits", || world.arrived.load(Ordering::Acquire) == 1).await;
        assert!(redis.get(SLOW).await.unwrap().starts_with("open:"));
        redis.delete(SLOW).await;
        meanwhile().await;
        world.gate.add_permits(1);
    });
    assert_eq!(response["members"], 1);
}

#[tokio::test]
async fn a_publication_that_outlasts_its_claim_leaves_the_next_owner_alone() {
    let redis = Redis::start().await;
    let next = World::held();
    let server = Server::with(&next, setup(redis.store().await)).await;
    let mut repeat = None;
    outlast_the_claim(&redis, async || {
        let request = server.post("/api/publish", body("slow").to_string());
        repeat = Some(tokio::spawn(request.send()));
        until("the repeat owns the id", || next.arrived.load(Ordering::Acquire) == 1).await;
    })
    .await;
    assert!(redis.get(SLOW).await.unwrap().starts_with("open:"), "the claim is still open");

    next.gate.add_permits(1);
    let answered = answer(repeat.unwrap().await.unwrap().unwrap(), 200).await;
    let kept = redis.get(SLOW).await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap(), answered);
}

#[tokio::test]
async fn an_answer_is_never_overwritten() {
    let redis = Redis::start().await;
    let first = json!({"id": "slow", "scope": "cluster", "members": 7}).to_string();
    outlast_the_claim(&redis, async || redis.set(SLOW, &first, 60_000).await).await;
    assert_eq!(redis.get(SLOW).await, Some(first));
}

#[tokio::test]
async fn the_answer_is_kept_if_the_claim_expired_unnoticed() {
    let redis = Redis::start().await;
    outlast_the_claim(&redis, async || {}).await;
    let kept = redis.get(SLOW).await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap()["members"], 1);
}

#[tokio::test]
async fn without_redis_an_id_is_delivered_once_per_instance() {
    let redis = Redis::start().await;
    let world = World::new();
    let unconnected = store(Arc::new(|_| Err(Unkept::Down)));
    let broken = redis.store().await;
    drop(redis);
    for store in [unconnected, broken] {
        let before = world.published.lock().len();
        let server = Server::with(&world, setup(store)).await;
        let first = server.ok("/api/publish", body("same")).await;
        assert_eq!(server.ok("/api/publish", body("same")).await, first);
        assert_eq!(world.published.lock().len(), before + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_redis_refuses_to_keep_is_not_delivered() {
    let redis = Redis::start().await;
    let mut admin = redis.connection().await;
    let all = "ACL SETUSER default +@all";
    for (refuse, permit) in [
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
        ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
        ("ACL SETUSER default -set", all),
        ("ACL SETUSER default -eval", all),
        ("ACL SETUSER default resetkeys", "ACL SETUSER default ~*"),
    ] {
        let mut order = async |line: &str| {
            let mut words = line.split(' ');
            let mut command = redis::cmd(words.next().unwrap());
            words.for_each(|word| {
                command.arg(word);
            });
            let () = command.query_async(&mut admin).await.unwrap();
        };
        order(refuse).await;
        let (world, other) = (World::new(), World::new());
        for world in [&world, &other] {
            let server = Server::with(world, setup(redis.store().await)).await;
            let response = server.post("/api/publish", body(refuse).to_string()).send().await;
            let problem = answer(response.unwrap(), 503).await;
            assert_eq!(problem["field"], "id", "{refuse}: {problem}");
        }
        assert_eq!(world.published.lock().len() + other.published.lock().len(), 0, "{refuse}");
        order(permit).await;
        let server = Server::with(&world, setup(redis.store().await)).await;
        server.ok("/api/publish", body(refuse)).await;
    }
    let replica = store(Arc::new(|_| Err(Unkept::Refused)));
    let server = Server::with(&World::new(), setup(replica)).await;
    server.post("/api/publish", body("a").to_string()).send().await.unwrap();
    let response = server.post("/api/publish", body("a").to_string()).send().await.unwrap();
    answer(response, 503).await;
}
