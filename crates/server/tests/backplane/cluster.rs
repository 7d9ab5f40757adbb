//! Pods on a real Redis Cluster, on either wire.

use std::time::Duration;

use rookery_config::{Redis, SubscriptionMode, Wire};
use rookery_policy::Namespaces;
use rookery_server::backplane::inspection::{Severity, Tracking, inspect};
use rookery_server::message::Selector;
use rookery_server::telemetry::metrics::Metrics;

use super::cluster_servers::RedisCluster;
use super::pod::{Pod, publication};
use super::{know_each_other, until};

const WIRES: [Wire; 2] = [Wire::Classic, Wire::Sharded];

const PATIENCE: Duration = Duration::from_secs(3600);

async fn pods(config: &Redis) -> (Pod, Pod) {
    let a = Pod::configured("pod-aaaa", config.clone());
    let b = Pod::configured("pod-bbbb", config.clone());
    a.is_up().await;
    b.is_up().await;
    know_each_other(&[&a, &b]).await;
    (a, b)
}

/// Publishes in every way from `a` to a member at `b`, and asks who is there.
async fn everything_crosses(cluster: &RedisCluster, a: &Pod, b: &Pod) {
    let id = "pod-bbbb000000000001";
    b.add(id, Some("ann"), &["room", "other"]).await;
    let rooms: Vec<String> = (0..60).map(|n| format!("room {n}")).collect();
    let _subscribed = futures_util::future::join_all(rooms.iter().map(|r| b.subscribe(r))).await;
    for room in &rooms {
        assert!(a.publish(&[room], room) && a.publish(&[room], "again"));
    }
    assert!(a.publish(&["room"], "room") && a.publish(&[id], "member") && a.publish(&[], "all"));
    assert!(a.publish(&["room", "other"], "several"));
    let bridge = ["PUBLISH", "bridge", r#"{"room":"room"}"#];
    cluster.order::<()>(cluster.servers[1].port, &bridge).await.unwrap();
    for event in ["room", "member", "all", "several", "bridged"] {
        b.gets(event).await;
    }
    a.gets("bridged").await;
    for room in &rooms {
        b.gets(room).await;
    }
    until("all have come", async || b.events().len() == 2 * rooms.len() + 5).await;
    assert_eq!(a.events(), ["bridged"]);
    let patient = a.broker.clone().with_query_deadline(PATIENCE);
    let members = patient.members("/", "room").await;
    assert_eq!((members.members.len(), members.unanswered.len()), (1, 0));
    let joined = patient.join_selected("/", &Selector::room("room"), &["new".into()]).await;
    assert_eq!((joined.matched, joined.unanswered.len()), (1, 0));
    let lost = |pod: &Pod| {
        let metrics = &pod.metrics;
        let counters = [
            &metrics.redis_unsent,
            &metrics.redis_gaps,
            &metrics.redis_repeats,
            &metrics.redis_dropped,
            &metrics.redis_reconnects,
        ];
        counters.map(|counter| counter.get())
    };
    assert_eq!((lost(a), lost(b)), ([0; 5], [0; 5]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_crosses_on_either_wire() {
    for wire in WIRES {
        let cluster = RedisCluster::start(wire).await;
        let (a, b) = pods(&cluster.config()).await;
        everything_crosses(&cluster, &a, &b).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_crosses_where_each_client_has_its_channel() {
    let cluster = RedisCluster::start(Wire::Sharded).await;
    let mode = SubscriptionMode::DynamicPrivate;
    let (a, b) = pods(&Redis { subscription_mode: mode, ..cluster.config() }).await;
    everything_crosses(&cluster, &a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_with_the_documented_rights_can_do_everything_by_tls() {
    for wire in WIRES {
        let cluster = RedisCluster::secured(wire).await;
        let (a, b) = pods(&cluster.config()).await;
        everything_crosses(&cluster, &a, &b).await;
        keys_are_kept(&a).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_are_subscribed_at_the_owner_of_their_slot_while_they_have_members() {
    let cluster = RedisCluster::start(Wire::Sharded).await;
    let a = Pod::start("pod-aaaa", cluster.config(), Duration::ZERO);
    a.is_up().await;
    let rooms: Vec<String> = (0..1500).map(|n| format!("room {n}")).collect();
    let held = futures_util::future::join_all(rooms.iter().map(|room| a.subscribe(room))).await;
    let subscribed = async || {
        let mut counts = Vec::new();
        for server in &cluster.servers {
            let list = ["PUBSUB", "SHARDCHANNELS", "socket.io#/#room *"];
            let channels: Vec<String> = cluster.order(server.port, &list).await.unwrap();
            counts.push(channels.len());
        }
        counts
    };
    let counts = subscribed().await;
    assert_eq!(counts.iter().sum::<usize>(), rooms.len(), "{counts:?}");
    assert!(counts[..3].iter().all(|count| *count > 300), "{counts:?}");
    drop(held);
    until("all are given up", async || subscribed().await.iter().sum::<usize>() == 0).await;
}

/// Keeps keys in many slots, and reads them again.
async fn keys_are_kept(pod: &Pod) {
    for n in 0..60 {
        let key = format!("socket.io:rookery:idem:/:{n}");
        let mut commands = pod.backplane.commands(&key).unwrap();
        let mut keep = redis::cmd("EVAL");
        keep.arg(
            "redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000) return redis.call('GET', KEYS[1])",
        );
        keep.arg(1).arg(&key).arg(n);
        assert_eq!(commands.query::<u64>(&keep).await.unwrap(), n);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_at_the_owner_of_their_slot_and_found_while_it_moves() {
    for wire in WIRES {
        let cluster = RedisCluster::start(wire).await;
        let (a, b) = pods(&cluster.config()).await;
        keys_are_kept(&a).await;
        assert_eq!(cluster.keys().await, (60, 3));

        // A key that is not there yet is the next owner's already, which answers after ASKING only.
        let key = "socket.io:rookery:idem:/:moving";
        let next = (cluster.owner(key).await + 1) % 3;
        cluster.begin_move(key, next).await;
        let set = redis::cmd("SET").arg(key).arg("kept").arg("NX").to_owned();
        a.backplane.commands(key).unwrap().query::<()>(&set).await.unwrap();
        let get = redis::cmd("GET").arg(key).to_owned();
        let found = b.backplane.commands(key).unwrap().query::<String>(&get).await;
        assert_eq!(found.unwrap(), "kept");
        cluster.finish_move(key, next).await;
        let found = a.backplane.commands(key).unwrap().query::<String>(&get).await;
        assert_eq!(found.unwrap(), "kept");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_with_acknowledgements_waits_for_the_other_pods() {
    for wire in WIRES {
        let cluster = RedisCluster::start(wire).await;
        let (a, _b) = pods(&cluster.config()).await;
        let receipt = a.broker.publish_with_acks(publication(&["nobody"], "ask"), PATIENCE).await;
        let receipt = receipt.unwrap();
        assert_eq!((receipt.recipients, receipt.timed_out), (0, false));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inspection_looks_at_every_primary() {
    for wire in WIRES {
        let mut cluster = RedisCluster::start(wire).await;
        let namespaces = Namespaces::compile(&["/", "/admin"]).unwrap();
        let inspected = async |config: &Redis| {
            inspect(config, &namespaces, Tracking::Off, &Metrics::new().unwrap()).await
        };
        let errors = async |config: &Redis| -> Vec<String> {
            let findings = inspected(config).await.unwrap().findings;
            let errors = findings.into_iter().filter(|f| f.severity == Severity::Error);
            errors.map(|finding| finding.text).collect()
        };
        let mut config = cluster.config();
        config.bridge.clear();
        assert_eq!(errors(&config).await, [""; 0]);
        assert_eq!(cluster.keys().await.0, 0, "no key is left behind");

        let port = cluster.servers[2].port;
        let take = ["ACL", "SETUSER", "default", "-cluster|slots", "-time"];
        cluster.order::<()>(port, &take).await.unwrap();
        let found = errors(&config).await;
        assert!(found.iter().all(|text| text.starts_with(&format!("127.0.0.1:{port}: "))));
        assert!(found.len() == 2 && found.iter().any(|text| text.contains("+cluster|slots")));

        cluster.servers[2].process.kill();
        let found = errors(&config).await;
        assert!(found[0].contains("an instance must reach every primary"), "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_taken_for_a_single_server_is_named_with_the_fix() {
    let cluster = RedisCluster::start(Wire::Sharded).await;
    let mut config = cluster.config();
    (config.mode, config.addresses) = (None, config.addresses[..1].to_vec());
    let namespaces = Namespaces::compile(&["/"]).unwrap();
    let findings = inspect(&config, &namespaces, Tracking::Off, &Metrics::new().unwrap())
        .await
        .unwrap()
        .findings;
    assert_eq!(findings.len(), 1, "what else it refuses has the same reason: {findings:?}");
    assert!(findings[0].text.contains("redis.mode: cluster"), "{findings:?}");
}
