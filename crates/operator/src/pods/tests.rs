use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::store::QUIET_SCRAPE_INTERVAL;
use super::*;

fn observed(pod: Value) -> ObservedPod {
    ObservedPod::of(&serde_json::from_value(pod).unwrap()).unwrap()
}

fn pod(name: &str, address: &str, port: u16) -> Value {
    json!({
        "metadata": {
            "namespace": "apps",
            "name": name,
            "uid": format!("uid-of-{name}"),
            "labels": {"app.kubernetes.io/instance": "chat", "tier": "gold"},
        },
        "spec": {"containers": [{"name": "rookery", "ports": [
            {"name": "client", "containerPort": 3000},
            {"name": "internal", "containerPort": port},
        ]}]},
        "status": {
            "phase": "Running",
            "podIP": address,
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

fn tracked(name: &str) -> (PodStore, u64) {
    let mut store = PodStore::new(1);
    let (_, task) =
        store.apply(observed(pod(name, "10.0.0.1", 9090)), &CancellationToken::new()).unwrap();
    (store, task.id)
}

fn key(name: &str) -> (String, String) {
    ("apps".into(), name.into())
}

fn chat() -> (String, String) {
    ("apps".into(), "chat".into())
}

fn sample(connections: u64) -> Option<Sample> {
    Some(Sample { connections, redis_up: Some(true), ..Sample::default() })
}

#[test]
fn a_pod_is_scraped_at_its_internal_port_while_it_runs() {
    let mut running = pod("a", "10.0.0.1", 9191);
    let found = observed(running.clone());
    assert_eq!(found.address, Some("10.0.0.1:9191".parse().unwrap()));
    assert!(found.ready && !found.terminating);
    assert_eq!((found.instance.as_str(), found.deletion_cost), ("chat", None));
    running["spec"]["containers"][0]["ports"] = json!([]);
    assert_eq!(observed(running.clone()).address, Some("10.0.0.1:9090".parse().unwrap()));
    running["metadata"]["deletionTimestamp"] = json!("2026-03-04T05:06:07Z");
    running["metadata"]["annotations"] =
        json!({"controller.kubernetes.io/pod-deletion-cost": "17"});
    assert!(observed(running.clone()).terminating);
    assert_eq!(observed(running.clone()).deletion_cost, Some(17));
    running["status"]["phase"] = json!("Succeeded");
    assert_eq!(observed(running).address, None);
}

#[test]
fn a_count_is_served_until_it_is_stale() {
    let (mut store, task) = tracked("a");
    let start = Instant::now();
    assert_eq!(store.of("apps", "chat", start)[0].connections, None);
    let (notified, pace) = store.record(&key("a"), task, sample(7), start);
    assert_eq!((notified, pace), (Some(chat()), SCRAPE_INTERVAL));
    let almost = start + STALE_AFTER - Duration::from_millis(1);
    let count = &store.of("apps", "chat", almost)[0];
    assert_eq!((count.connections, count.redis_up), (Some(7), Some(true)));
    assert!(count.read_at.is_some());
    let (notified, _) = store.record(&key("a"), task, None, almost);
    assert_eq!(notified, None);
    let stale = start + STALE_AFTER;
    let count = &store.of("apps", "chat", stale)[0];
    assert_eq!((count.connections, count.redis_up, count.read_at), (None, None, None));
    assert_eq!(store.record(&key("a"), task, None, stale).0, Some(chat()));
    assert_eq!(store.record(&key("a"), task, None, stale).0, None);
    assert_eq!(store.record(&key("a"), task, sample(7), stale).0, Some(chat()));
}

#[test]
fn a_pod_with_a_steady_count_is_scraped_less_often_until_it_changes() {
    let (mut store, task) = tracked("a");
    let now = Instant::now();
    let mut paces = Vec::new();
    for _ in 0..7 {
        paces.push(store.record(&key("a"), task, sample(7), now).1);
    }
    assert_eq!(paces[..5], [SCRAPE_INTERVAL; 5]);
    assert_eq!(paces[5..], [QUIET_SCRAPE_INTERVAL; 2]);
    assert_eq!(store.record(&key("a"), task, sample(8), now), (Some(chat()), SCRAPE_INTERVAL));
    assert_eq!(store.record(&key("a"), task, None, now), (None, SCRAPE_INTERVAL));
}

#[test]
fn a_steady_count_stays_quiet_under_load_and_the_load_is_served() {
    let (mut store, task) = tracked("a");
    let start = Instant::now();
    let mut last = (None, SCRAPE_INTERVAL);
    for n in 0..7 {
        let sample =
            Sample { deliveries: Some(n * 200), outbox_bytes: Some(n), ..sample(7).unwrap() };
        let now = start + Duration::from_secs(2 * n);
        last = store.record(&key("a"), task, Some(sample), now);
    }
    assert_eq!(last, (None, QUIET_SCRAPE_INTERVAL));
    let pod = &store.of("apps", "chat", start + Duration::from_secs(12))[0];
    assert_eq!((pod.deliveries_per_second, pod.outbox_bytes), (Some(100), Some(6)));
    let pod = &store.of("apps", "chat", start + Duration::from_secs(12) + STALE_AFTER)[0];
    assert_eq!((pod.deliveries_per_second, pod.outbox_bytes), (None, None));
}

#[test]
fn a_changed_address_restarts_scraping_and_discards_earlier_results() {
    let mut store = PodStore::new(1);
    let stop = CancellationToken::new();
    let (_, first) = store.apply(observed(pod("a", "10.0.0.1", 9090)), &stop).unwrap();
    assert!(store.apply(observed(pod("a", "10.0.0.1", 9090)), &stop).is_none());
    let (address, second) = store.apply(observed(pod("a", "10.0.0.2", 9090)), &stop).unwrap();
    assert_eq!(address, "10.0.0.2:9090".parse().unwrap());
    assert!(first.stop.is_cancelled() && !second.stop.is_cancelled());
    let now = Instant::now();
    assert_eq!(store.record(&key("a"), first.id, sample(7), now).0, None);
    assert_eq!(store.of("apps", "chat", now)[0].connections, None);
    store.record(&key("a"), second.id, sample(8), now);
    assert_eq!(store.of("apps", "chat", now)[0].connections, Some(8));
    let mut namesake = pod("a", "10.0.0.2", 9090);
    namesake["metadata"]["uid"] = json!("another");
    assert!(store.apply(observed(namesake), &stop).is_some());
    assert!(second.stop.is_cancelled());
    assert_eq!(store.of("apps", "chat", now)[0].connections, None);
    assert_eq!(store.remove(&observed(pod("a", "10.0.0.2", 9090))), None);
    assert_eq!(store.len(), 1);
    stop.cancel();
}

#[test]
fn a_pod_missing_from_a_list_is_forgotten_only_in_its_scope() {
    let mut store = PodStore::new(2);
    let stop = CancellationToken::new();
    let (_, a) = store.apply(observed(pod("a", "10.0.0.1", 9090)), &stop).unwrap();
    let mut elsewhere = pod("b", "10.0.0.2", 9090);
    elsewhere["metadata"]["namespace"] = json!("other");
    let (_, b) = store.apply(observed(elsewhere), &stop).unwrap();
    store.record(&key("a"), a.id, sample(1), Instant::now());
    assert_eq!(store.listed(Some("apps"), &HashSet::new()), [chat()]);
    assert!(a.stop.is_cancelled() && !b.stop.is_cancelled());
    assert!(!store.is_synced(), "the other scope is not listed");
    store.listed(Some("other"), &HashSet::from([("other".into(), "b".into())]));
    assert!(!store.is_synced(), "a pod has not been scraped");
    store.record(&("other".into(), "b".into()), b.id, None, Instant::now());
    assert!(store.is_synced());
    assert!(store.apply(observed(pod("c", "10.0.0.3", 9090)), &stop).is_some());
    assert!(store.is_synced(), "once is enough");
}

#[test]
fn pods_are_found_by_instance_and_by_labels() {
    let mut store = PodStore::new(1);
    let stop = CancellationToken::new();
    for name in ["a", "b"] {
        store.apply(observed(pod(name, "10.0.0.1", 9090)), &stop);
    }
    let mut other = pod("c", "10.0.0.2", 9090);
    other["metadata"]["labels"]["app.kubernetes.io/instance"] = json!("shop");
    other["metadata"]["labels"]["tier"] = json!("silver");
    store.apply(observed(other), &stop);
    let now = Instant::now();
    let names = |pods: Vec<ServerPod>| pods.into_iter().map(|pod| pod.name).collect::<Vec<_>>();
    assert_eq!(names(store.of("apps", "chat", now)), ["a", "b"]);
    assert_eq!(names(store.of("app", "chat", now)), Vec::<String>::new());
    assert_eq!(names(store.of("apps", "shop", now)), ["c"]);
    let silver: Selector = [("tier", "silver")].into_iter().collect();
    assert_eq!(names(store.matching("apps", &silver, now)), ["c"]);
    assert_eq!(names(store.matching("other", &silver, now)), Vec::<String>::new());
    assert_eq!(names(store.matching("apps", &Selector::default(), now)).len(), 3);
}

/// Answers one request.
async fn answer(stream: &mut TcpStream, status: &str, body: &str) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).await.unwrap();
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_scraper_reuses_its_connection_and_reconnects_when_it_was_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut scraper = Scraper::new(listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = answer(&mut stream, "200 OK", "rookery_connections 1\n").await;
        answer(&mut stream, "200 OK", "rookery_connections 2\n").await;
        drop(stream);
        let (mut stream, _) = listener.accept().await.unwrap();
        answer(&mut stream, "200 OK", "rookery_connections 3\nrookery_redis_up 0\n").await;
        answer(&mut stream, "500 Oops", "").await;
        let (mut stream, _) = listener.accept().await.unwrap();
        answer(&mut stream, "200 OK", "up 1\n").await;
        head
    });
    assert_eq!(scraper.scrape().await.unwrap().connections, 1);
    assert_eq!(scraper.scrape().await.unwrap().connections, 2);
    let third = scraper.scrape().await.unwrap();
    let expected = Sample { connections: 3, redis_up: Some(false), ..Sample::default() };
    assert_eq!(third, expected);
    let error = scraper.scrape().await.unwrap_err().to_string();
    assert!(error.contains("rookery_connections"), "{error}");
    let head = server.await.unwrap();
    let path = "GET /metrics?name[]=rookery_connections&name[]=rookery_redis_up\
        &name[]=rookery_build_info&name[]=rookery_deliveries_total&name[]=rookery_outbox_bytes \
        HTTP/1.1\r\n";
    assert!(head.starts_with(path), "{head}");
}

#[tokio::test]
async fn a_tracked_pod_is_scraped_and_its_change_is_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let registry = Registry::new();
    let pods = Pods::new(1, &registry, &tracker, stop.clone()).unwrap();
    let mut changes = std::pin::pin!(pods.changes());
    pods.shared.track(observed(pod("a", "127.0.0.1", port)));
    let (mut stream, _) = listener.accept().await.unwrap();
    answer(&mut stream, "200 OK", "rookery_connections{transport=\"polling\"} 5\n").await;
    assert_eq!(changes.next().await, Some(chat()));
    assert_eq!(pods.of("apps", "chat")[0].connections, Some(5));
    assert_eq!(pods.shared.succeeded.get(), 1);
    stop.cancel();
    tracker.close();
    tracker.wait().await;
}
