//! The link between pods, over a real Redis.

#![allow(clippy::unwrap_used)]

#[path = "redis_link/members.rs"]
mod members;
#[path = "redis_link/server.rs"]
mod server;
#[path = "redis_link/waits.rs"]
mod waits;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use members::Members;
use rookery_config as config;
use rookery_protocol::Data;
use rookery_protocol::Room;
use rookery_server::backplane::{CompiledBridge, Hold, Link, LinkParts};
use rookery_server::broker::cluster::Cluster;
use rookery_server::message::Selector;
use rookery_server::message::{Publication, Source};
use rookery_server::rooms::LocalMembers;
use rookery_server::rooms::ranking::LocalWaits;
use rookery_server::telemetry::latency::Latency;
use rookery_server::telemetry::metrics::Metrics;
use server::Server;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Waits for a condition; panics, with its name, when it does not come.
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let patience = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), patience)
        .await
        .unwrap_or_else(|_| panic!("not within 30 s: {what}"));
}

struct Pod {
    link: Link,
    members: Arc<Members>,
    metrics: Arc<Metrics>,
    cluster: Cluster,
    shutdown: CancellationToken,
    tracker: TaskTracker,
}

impl Pod {
    fn new(name: &str, server: &Server) -> Pod {
        Pod::lingering(name, server, Duration::from_secs(30))
    }

    fn lingering(name: &str, server: &Server, linger: Duration) -> Pod {
        let members = Arc::new(Members::default());
        let metrics = Arc::new(Metrics::new().unwrap());
        let (shutdown, tracker) = (CancellationToken::new(), TaskTracker::new());
        let pod: Arc<str> = name.into();
        let waits = LocalWaits::new(
            members.clone(),
            Latency::new(1, &Default::default(), "", &Arc::new(Metrics::new().unwrap())),
            tracker.clone(),
        );
        let parts = LinkParts {
            config: config::Redis::at(server.url()),
            pod: pod.clone(),
            namespaces: vec!["/".into(), "/admin".into()],
            local: members.clone(),
            waits: waits.clone(),
            metrics: metrics.clone(),
            bridge: vec![CompiledBridge {
                channel: "bridge".into(),
                namespace: "/".into(),
                route: Arc::new(|data| match data.get("room").and_then(Data::as_str) {
                    Some(room) => Ok((room.into(), "bridged".into(), vec![data.clone()])),
                    None => Err("no room".into()),
                }),
            }],
            linger,
            state: None,
        };
        let link = Link::start(parts, &tracker, shutdown.clone()).unwrap();
        let local: Arc<dyn LocalMembers> = members.clone();
        let cluster = Cluster::new(local, waits, pod, Some(link.clone()));
        Pod { link, members, metrics, cluster, shutdown, tracker }
    }

    async fn up(name: &str, server: &Server) -> Pod {
        let pod = Pod::new(name, server);
        pod.is_up().await;
        pod
    }

    async fn is_up(&self) {
        until("the link is up", async || self.link.is_up()).await;
    }

    async fn hold(&self, room: &str) {
        if let Hold::Pending(confirmed) = self.link.hold("/", room) {
            confirmed.await;
        }
    }

    fn publish(&self, rooms: &[&str], event: &str) -> bool {
        self.link.publish(&publication(rooms, event))
    }

    async fn gets(&self, event: &str) {
        let has = async || self.members.events().iter().any(|e| e == event);
        until(&format!("{event} arrives"), has).await;
    }

    fn received(&self) -> u64 {
        let families = self.metrics.registry().gather();
        let family = families.iter().find(|f| f.name() == "rookery_redis_messages_total").unwrap();
        let of = |direction: &str| {
            let metrics = family.get_metric().iter();
            let mut metrics =
                metrics.filter(|m| m.get_label().iter().any(|l| l.value() == direction));
            metrics.next().unwrap().get_counter().get_value() as u64
        };
        of("in")
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn publication(rooms: &[&str], event: &str) -> Publication {
    Publication {
        id: "id".into(),
        namespace: "/".into(),
        rooms: rooms.iter().map(|room| Room::from(*room)).collect(),
        except: Vec::new(),
        event: event.into(),
        args: vec![Data::from("x"), Data::Binary(vec![0, 255].into())],
        volatile: false,
        source: Source::Api,
        accepted: Instant::now(),
        traceparent: None,
    }
}

async fn know_each_other(pods: &[&Pod]) {
    for pod in pods {
        until("pods know each other", async || pod.link.peers().len() == pods.len() - 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_reaches_the_other_pods_once_and_never_its_own() {
    let server = Server::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &server).await, Pod::up("pod-bbbb", &server).await);
    b.hold("room").await;
    a.hold("room").await;
    for (rooms, event) in
        [(&["room"][..], "one"), (&["room", "other"], "two"), (&[], "all"), (&["room"], "last")]
    {
        let mut old = publication(rooms, event);
        old.accepted = Instant::now() - Duration::from_secs(60);
        assert!(a.link.publish(&old));
        b.gets(event).await;
        let delivered = b.members.delivered();
        let got = delivered.last().unwrap();
        assert_eq!((got.rooms.len(), got.args.len()), (rooms.len(), 2));
        assert_eq!(got.args[1], Data::Binary(vec![0, 255].into()));
        assert_eq!(got.source, Source::Redis);
        assert_eq!(&*got.id, "id");
        let age = got.accepted.elapsed();
        assert!((Duration::from_secs(59)..Duration::from_secs(120)).contains(&age), "{age:?}");
    }
    assert_eq!(b.members.events(), ["one", "two", "all", "last"]);
    assert!(b.publish(&["room"], "answer"));
    a.gets("answer").await;
    assert_eq!(a.members.events(), ["answer"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_arrives_whole_and_in_order() {
    let server = Server::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &server).await, Pod::up("pod-bbbb", &server).await);
    b.hold("room").await;
    let sent: Vec<String> = (0..20_000).map(|n| format!("e{n}")).collect();
    for event in &sent {
        assert!(a.publish(&["room"], event));
    }
    b.gets("e19999").await;
    assert_eq!(b.members.events(), sent);
    assert_eq!(a.metrics.redis_unsent.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_without_members_of_a_room_hears_nothing_of_it() {
    let server = Server::start().await;
    let a = Pod::up("pod-aaaa", &server).await;
    let b = Pod::lingering("pod-bbbb", &server, Duration::from_millis(300));
    b.is_up().await;
    let before = b.received();
    for n in 0..50 {
        assert!(a.publish(&["elsewhere"], &format!("e{n}")));
    }
    assert!(a.publish(&["a", "b"], "general"));
    b.gets("general").await;
    assert_eq!(b.received(), before + 1);

    b.hold("room").await;
    b.hold("room").await;
    b.link.release("/", "room");
    assert!(a.publish(&["room"], "still held"));
    b.gets("still held").await;
    b.link.release("/", "room");
    let channel = "socket.io#/#room#".to_owned();
    assert!(server.channels().await.contains(&channel));
    let gone = async || !server.channels().await.contains(&channel);
    until("the channel is given up", gone).await;
    let before = b.received();
    assert!(a.publish(&["room"], "unheard"));
    assert!(a.publish(&["a", "b"], "general 2"));
    b.gets("general 2").await;
    assert_eq!(b.received(), before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_addressed_by_their_ids_without_a_subscription() {
    let server = Server::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &server).await, Pod::up("pod*bbbb", &server).await);
    let id = "pod*bbbb0123456789ab";
    assert!(matches!(b.link.hold("/", id), Hold::Ready));
    assert!(a.publish(&[id], "to one"));
    b.gets("to one").await;
    assert!(a.publish(&["pod-bbbb0123456789ab"], "to nobody"));
    assert!(a.publish(&[], "to all"));
    b.gets("to all").await;
    assert_eq!(b.members.events(), ["to one", "to all"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rooms_at_once_are_confirmed_and_come_back_with_redis() {
    let mut server = Server::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &server).await, Pod::up("pod-bbbb", &server).await);
    let rooms: Vec<String> = (0..3000).map(|n| format!("room {n}")).collect();
    let holds: Vec<_> = rooms.iter().map(|room| b.hold(room)).collect();
    futures_util::future::join_all(holds).await;
    let room_channels =
        async || server.channels().await.iter().filter(|c| c.contains("#room ")).count();
    assert_eq!(room_channels().await, 3000);

    server.kill();
    until("the loss is noticed", async || !a.link.is_up() && !b.link.is_up()).await;
    assert_eq!(b.metrics.redis_up.get(), 0);
    let unsent = a.metrics.redis_unsent.get();
    assert!(!a.publish(&["room 1"], "lost"));
    assert_eq!(a.metrics.redis_unsent.get(), unsent + 1);
    // At once, or as soon as the subscriber's connection is seen to be gone as well.
    b.hold("new").await;

    server.run().await;
    a.is_up().await;
    b.is_up().await;
    assert!(b.metrics.redis_reconnects.get() >= 2);
    assert_eq!(b.metrics.redis_up.get(), 1);
    for room in ["room 2999", "new"] {
        assert!(a.publish(&[room], room));
        b.gets(room).await;
    }
    assert_eq!(b.members.events(), ["room 2999", "new"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_without_redis_and_finds_it_later() {
    let mut server = Server::stopped();
    let a = Pod::new("pod-aaaa", &server);
    assert!(matches!(a.link.hold("/", "room"), Hold::Ready));
    assert!(!a.publish(&["room"], "lost"));
    assert_eq!(a.metrics.redis_unsent.get(), 1);
    let rooms = a.cluster.rooms("/", "").await;
    assert_eq!(rooms.unanswered, ["redis"]);
    server.run().await;
    a.is_up().await;
    assert_eq!(a.metrics.redis_reconnects.get(), 0);
    assert!(server.channels().await.contains(&"socket.io#/#room#".to_owned()));
    assert!(a.link.commands().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_redis_is_noticed_and_what_was_underway_is_counted() {
    let server = Server::start().await;
    let a = Pod::up("pod-aaaa", &server).await;
    server.signal("STOP");
    let accepted = (0..100).filter(|n| a.publish(&["room"], &format!("e{n}"))).count();
    assert_eq!(accepted, 100);
    let wait = a.link.hold("/", "new");
    until("the silence is noticed", async || !a.link.is_up()).await;
    until("all are counted", async || a.metrics.redis_unsent.get() == 100).await;
    if let Hold::Pending(confirmed) = wait {
        confirmed.await;
    }
    server.signal("CONT");
    a.is_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_and_full_shards_are_counted() {
    let server = Server::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &server).await, Pod::up("pod-bbbb", &server).await);
    b.members.full.store(true, Ordering::Relaxed);
    assert!(a.publish(&[], "dropped"));
    until("the drop is counted", async || b.metrics.redis_dropped.get() == 1).await;
    server.signal("STOP");
    let mut big = publication(&[], "big");
    big.args = vec![Data::String("x".repeat(1 << 20))];
    let mut accepted = 0;
    while a.link.publish(&big) {
        accepted += 1;
        assert!(accepted < 64, "the queue is not bounded");
    }
    assert_eq!(a.metrics.redis_unsent.get(), 1);
    server.signal("CONT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_forbids_does_not_break_the_link() {
    let server = Server::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &server).await, Pod::up("pod-bbbb", &server).await);
    let mut allowed = redis::cmd("ACL");
    allowed.arg("SETUSER").arg("default").arg("resetchannels").arg("&socket.io-*").arg("&bridge");
    for namespace in ["/", "/admin"] {
        allowed.arg(format!("&socket.io#{namespace}#"));
        for pod in ["pod-aaaa", "pod-bbbb"] {
            allowed.arg(format!("&socket.io#{namespace}#{pod}*"));
        }
    }
    allowed.arg("&socket.io#/#allowed#");
    allowed.query_async::<()>(&mut server.connection().await).await.unwrap();

    let many: Vec<String> = (0..30).map(|n| format!("forbidden{n}")).collect();
    let rooms = ["forbidden", "allowed"].into_iter().chain(many.iter().map(String::as_str));
    let holds: Vec<Hold> = rooms.map(|room| b.link.hold("/", room)).collect();
    for hold in holds {
        if let Hold::Pending(confirmed) = hold {
            confirmed.await;
        }
    }
    until("the allowed room is subscribed", async || {
        server.channels().await.contains(&"socket.io#/#allowed#".to_owned())
    })
    .await;
    assert!(a.publish(&["forbidden"], "refused"));
    assert!(a.publish(&["allowed"], "passes"));
    b.gets("passes").await;
    until("the refusal is counted", async || a.metrics.redis_unsent.get() == 1).await;
    assert_eq!(b.members.events(), ["passes"]);
    until("not every refusal is a line", async || b.metrics.log_lines_suppressed.get() > 0).await;
    assert_eq!(a.metrics.redis_reconnects.get() + b.metrics.redis_reconnects.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bridge_reaches_every_pod() {
    let server = Server::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &server).await, Pod::up("pod-bbbb", &server).await);
    let mut redis = server.connection().await;
    for message in ["{", r#"{"no": 1}"#, r#"{"room": "r", "bin": {"$binary": "AQ=="}}"#] {
        let publish = redis::cmd("PUBLISH").arg("bridge").arg(message).to_owned();
        publish.query_async::<()>(&mut redis).await.unwrap();
    }
    for pod in [&a, &b] {
        pod.gets("bridged").await;
        let delivered = pod.members.delivered();
        assert_eq!(delivered.len(), 1);
        assert_eq!(delivered[0].source, Source::Bridge);
        assert_eq!(delivered[0].args[0].get("bin"), Some(&Data::Binary(vec![1].into())));
        assert_eq!(pod.metrics.redis_dropped.get(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_messages_are_dropped_and_the_link_lives_on() {
    let server = Server::start().await;
    let a = Pod::up("pod-aaaa", &server).await;
    let mut redis = server.connection().await;
    let channels = ["socket.io#/#", "socket.io-request#/#", "socket.io-response#/#", "bridge"];
    let garbage: [&[u8]; 5] =
        [b"", b"\xff\xff", b"\xdd\xff\xff\xff\xff", &[0x91; 5000], b"{\"a\":"];
    for channel in channels.into_iter().chain(["socket.io-rookery#"]) {
        for message in garbage {
            let publish = redis::cmd("PUBLISH").arg(channel).arg(message).to_owned();
            publish.query_async::<()>(&mut redis).await.unwrap();
        }
    }
    until("all but answers are counted", async || a.metrics.redis_dropped.get() == 20).await;
    assert!(a.link.is_up());
    assert_eq!(a.metrics.redis_reconnects.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_reach_all_pods() {
    let server = Server::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &server).await, Pod::up("pod-bbbb", &server).await);
    know_each_other(&[&a, &b]).await;
    a.members.add("pod-aaaa000000000001", Some("ann"), &["x:1", "y:1"]);
    b.members.add("pod-bbbb000000000001", Some("ann"), &["x:1"]);
    b.members.add("pod-bbbb000000000002", Some("bob"), &["x:2"]);

    let rooms = a.cluster.rooms("/", "x:").await;
    let counts: Vec<_> = rooms.rooms.iter().map(|(room, n)| (&**room, *n)).collect();
    assert_eq!(counts, [("x:1", 2), ("x:2", 1)]);
    assert!(rooms.unanswered.is_empty());

    let mut members = b.cluster.members("/", "x:1").await.members;
    members.sort_by(|x, y| x.id.cmp(&y.id));
    let named: Vec<_> = members.iter().map(|m| (m.id.as_str(), &m.id[..8])).collect();
    assert_eq!(named, [("pod-aaaa000000000001", "pod-aaaa"), ("pod-bbbb000000000001", "pod-bbbb")]);
    assert_eq!(members[0].user.as_deref(), Some("ann"));
    assert!(members[0].connected_at.is_some());

    let new = [Room::from("new")];
    let ann = Selector::User("ann".into());
    assert_eq!(a.cluster.join("/", &ann, &new).await.matched, 2);
    assert_eq!(b.members.rooms_of("pod-bbbb000000000001").unwrap(), ["x:1", "new"]);
    let left = a.cluster.leave("/", &Selector::Member("pod-bbbb000000000001".into()), &new).await;
    assert_eq!((left.matched, left.unanswered.len()), (1, 0));
    assert_eq!(b.members.rooms_of("pod-bbbb000000000001").unwrap(), ["x:1"]);
    assert_eq!(a.cluster.disconnect("/", &Selector::room("x:1")).await.matched, 2);
    assert_eq!(a.cluster.disconnect("/", &Selector::User("nobody".into())).await.matched, 0);
    assert_eq!(b.members.rooms_of("pod-bbbb000000000001"), None);
    assert!(b.members.rooms_of("pod-bbbb000000000002").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_peer_is_named_at_the_deadline_and_then_forgotten() {
    let server = Server::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &server).await, Pod::up("pod-bbbb", &server).await);
    b.members.add("pod-bbbb000000000001", None, &["x"]);
    know_each_other(&[&a, &b]).await;
    let dead = dead_peer(&server, "pod-dead").await;
    until("the dead peer is known", async || a.link.peers().len() == 2).await;
    let deadline = Duration::from_millis(600);
    let cluster = a.cluster.clone().with_deadline(deadline);
    let asked = Instant::now();
    let members = cluster.members("/", "x").await;
    assert!(asked.elapsed() >= deadline);
    assert_eq!(members.unanswered, ["pod-dead"]);
    assert_eq!(members.members.len(), 1);
    until("it is forgotten", async || a.link.peers() == ["pod-bbbb"]).await;
    assert!(a.cluster.members("/", "x").await.unanswered.is_empty());
    drop(dead);
}

/// A pod that beat once, still listens, and never answers.
async fn dead_peer(server: &Server, name: &str) -> redis::aio::PubSub {
    let client = redis::Client::open(server.url()).unwrap();
    let mut listening = client.get_async_pubsub().await.unwrap();
    listening.subscribe(&["socket.io-rookery#", "socket.io-request#/#"]).await.unwrap();
    let hello = format!(r#"{{"kind":"hello","pod":"{name}","greet":false}}"#);
    let publish = redis::cmd("PUBLISH").arg("socket.io-rookery#").arg(hello).to_owned();
    publish.query_async::<()>(&mut server.connection().await).await.unwrap();
    listening
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_stops_sends_what_waits_and_says_goodbye() {
    let server = Server::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &server).await, Pod::up("pod-bbbb", &server).await);
    know_each_other(&[&a, &b]).await;
    for n in 0..1000 {
        assert!(a.publish(&[], &format!("e{n}")));
    }
    a.shutdown.cancel();
    a.tracker.close();
    a.tracker.wait().await;
    b.gets("e999").await;
    assert_eq!(a.metrics.redis_unsent.get(), 0);
    until("the goodbye is heard", async || b.link.peers().is_empty()).await;
    assert!(!a.publish(&[], "too late"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_of_a_node_server_is_answered() {
    let server = Server::start().await;
    let a = Pod::up("pod-aaaa", &server).await;
    let id = "pod-aaaa000000000001";
    a.members.add(id, Some("ann"), &["room"]);
    let client = redis::Client::open(server.url()).unwrap();
    let (mut sink, mut answers) = client.get_async_pubsub().await.unwrap().split();
    sink.subscribe("socket.io-response#/#").await.unwrap();
    let mut redis = server.connection().await;
    let everybody = r#""opts":{"rooms":["room"],"except":[]}"#;
    let requests = [
        (r#"{"requestId":"q","uid":"u","type":0,"rooms":["room"]}"#.to_owned(), "sockets"),
        (r#"{"requestId":"q","uid":"u","type":1}"#.to_owned(), "rooms"),
        (format!(r#"{{"requestId":"q","type":2,"sid":"{id}","room":"new"}}"#), "requestId"),
        (format!(r#"{{"requestId":"q","type":3,"sid":"{id}","room":"new"}}"#), "requestId"),
        (format!(r#"{{"requestId":"q","uid":"u","type":5,{everybody}}}"#), "sockets"),
        (r#"{"requestId":"q","uid":"u","type":6,"data":["x"]}"#.to_owned(), "data"),
        (
            format!(
                r#"{{"requestId":"q","uid":"u","type":7,{everybody},
                    "packet":{{"type":2,"data":["wants acks"],"nsp":"/"}}}}"#
            ),
            "clientCount",
        ),
        (format!(r#"{{"requestId":"q","type":4,"sid":"{id}","close":true}}"#), "requestId"),
    ];
    for (request, field) in requests {
        let publish = redis::cmd("PUBLISH").arg("socket.io-request#/#").arg(&request).to_owned();
        publish.query_async::<()>(&mut redis).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(5), answers.next()).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer to {request}")).unwrap();
        let answer: serde_json::Value = serde_json::from_slice(answer.get_payload_bytes()).unwrap();
        assert_eq!(answer["requestId"], "q", "{request}");
        assert!(answer.get(field).is_some(), "{request}: {answer}");
    }
    assert_eq!(a.members.events(), ["wants acks"]);
    assert_eq!(a.members.rooms_of(id), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_servers_are_asked_and_named_when_they_are_silent() {
    let server = Server::start().await;
    let a = Pod::up("pod-aaaa", &server).await;
    let client = redis::Client::open(server.url()).unwrap();
    let (mut sink, mut requests) = client.get_async_pubsub().await.unwrap().split();
    sink.subscribe("socket.io-request#/#").await.unwrap();
    let silent = a.cluster.clone().with_deadline(Duration::from_millis(300));
    assert_eq!(silent.members("/", "room").await.unanswered, ["node"]);
    // Node servers know no users: nobody is waited for.
    let nobody = a.cluster.disconnect("/", &Selector::User("ann".into())).await;
    assert_eq!((nobody.matched, nobody.unanswered.len()), (0, 0));

    let mut redis = server.connection().await;
    let answering = tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let request: serde_json::Value =
                serde_json::from_slice(request.get_payload_bytes()).unwrap();
            if request["type"] != 5 {
                return request;
            }
            let answer = serde_json::json!({
                "requestId": request["requestId"],
                "sockets": [{ "id": "n1", "handshake": {}, "rooms": ["n1", "room"], "data": {} }],
            });
            let channel = "socket.io-response#/#";
            let publish = redis::cmd("PUBLISH").arg(channel).arg(answer.to_string()).to_owned();
            publish.query_async::<()>(&mut redis).await.unwrap();
        }
        panic!("no order came");
    });
    let members = a.cluster.members("/", "room").await;
    assert_eq!(members.members[0].id.as_str(), "n1");
    assert_eq!(a.cluster.rooms("/", "").await.rooms, [("room".into(), 1)].into());
    let joined = a.cluster.join("/", &Selector::room("room"), &["new".into()]).await;
    assert_eq!((joined.matched, joined.unanswered.len()), (1, 0));
    let order = answering.await.unwrap();
    assert_eq!((&order["type"], &order["rooms"][0]), (&2.into(), &"new".into()));
    assert_eq!(order["opts"]["rooms"][0], "room");
}
