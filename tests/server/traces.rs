//! Traces: the spans of publications and deliveries that an OTLP collector receives.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};

use crate::client::{Member, Poller};
use crate::collector::{self, Behavior, Collector, Span};
use crate::harness::{Rookery, shared_permit, until};
use crate::http::{Request, Response};
use crate::redis::Redis;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn sampled() -> String {
    format!("00-{TRACE}-{CALLER}-01")
}

fn unsampled() -> String {
    format!("00-{TRACE}-{CALLER}-00")
}

/// An API call with a `traceparent`.
async fn call(server: &Rookery, path: &str, body: Value, traceparent: &str) -> Response {
    let request = Request::post(path, body.to_string())
        .header("content-type", "application/json")
        .header("traceparent", traceparent);
    let answer = request.send(server.internal).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

async fn publish(server: &Rookery, room: &str, traceparent: &str) {
    let body = json!({ "room": room, "event": "e", "args": ["secret"] });
    call(server, "/api/publish", body, traceparent).await;
}

/// `rookery_trace_spans_total` for an outcome.
async fn counted(server: &Rookery, outcome: &str) -> f64 {
    server.metric(&format!("rookery_trace_spans_total{{outcome=\"{outcome}\"}}")).await
}

/// Two instances with one Redis, and members of `room`: two on the first, of which one polls, and
/// one on the second.
struct Pair {
    first: Rookery,
    second: Rookery,
    near: Member,
    polling: Poller,
    far: Member,
    redis: Redis,
}

impl Pair {
    async fn start(collector: &Collector, ratio: f64) -> Self {
        let redis = Redis::start().await;
        let bridge =
            "bridge: [{ channel: orders, room: \"{room}\", event: \"{event}\", args: [] }]";
        let config =
            format!("redis: {{ url: \"{}\", {bridge} }}\n{}", redis.url(), collector.config(ratio));
        // What is traced is timed all the same.
        let config = format!("latency: {{ sampleEvery: 1000 }}\n{config}");
        let (first, second) = (Rookery::start(&config).await, Rookery::start(&config).await);
        for server in [&first, &second] {
            until("Redis is up", async || server.metric("rookery_redis_up").await == 1.0).await;
        }
        let (near, polling) = (Member::connect(&first).await, Poller::connect(&first, 4).await);
        let mut pair =
            Pair { near, polling, far: Member::connect(&second).await, first, second, redis };
        pair.near.join("room").await;
        pair.polling.join("room").await;
        pair.far.join("room").await;
        pair
    }

    /// Receives the next message on every member.
    async fn hear(&mut self, event: &str) {
        assert_eq!(self.near.event().await.0, event);
        assert_eq!(self.far.event().await.0, event);
        let events = self.polling.events().await;
        assert!(events.iter().all(|(name, _)| name == event) && !events.is_empty(), "{events:?}");
    }

    fn instance(server: &Rookery) -> String {
        let log = server.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut pods = lines.filter_map(|line| Some(line.get("pod")?.as_str()?.to_owned()));
        pods.next().expect("it says its name")
    }
}

#[tokio::test]
async fn one_trace_connects_a_publish_to_deliveries_on_two_instances() {
    let _permit = shared_permit().await;
    let collector = Collector::start().await;
    let mut pair = Pair::start(&collector, 0.0).await;
    publish(&pair.first, "room", &sampled()).await;
    pair.hear("e").await;

    let [publish] = &collector.named("publish", 1).await[..] else { panic!("one was asked for") };
    assert_eq!((&*publish.trace, &*publish.parent), (TRACE, CALLER));
    assert_eq!(publish.kind, SpanKind::Producer);
    assert_eq!(publish.resource["service.name"], "rookery");
    assert_eq!(publish.resource["service.instance.id"], Pair::instance(&pair.first));
    assert_eq!(publish.said["messaging.destination.name"], "room");
    assert_eq!(publish.said["rookery.scope"], "cluster");
    assert_eq!(publish.said["rookery.members"], "2");

    let deliveries = collector.named("deliver", 2).await;
    for (server, members, queued) in [(&pair.first, "2", "1"), (&pair.second, "1", "0")] {
        let instance = Pair::instance(server);
        let of = |span: &&Span| span.resource["service.instance.id"] == instance;
        let deliver = deliveries.iter().find(of).expect("each instance tells of its own");
        assert_eq!((&*deliver.trace, &*deliver.parent), (TRACE, &*publish.id));
        assert_eq!(deliver.kind, SpanKind::Consumer);
        assert_eq!(deliver.said["rookery.members"], members);
        assert_eq!(deliver.said["rookery.written"], members);
        assert_eq!(deliver.said["rookery.queued"], queued);
        for none in ["rookery.dropped", "rookery.pending"] {
            assert_eq!(deliver.said[none], "0", "{none}");
        }
        assert!(publish.start <= deliver.start && deliver.start <= deliver.end);
        assert!(deliver.said["rookery.slowest_seconds"].parse::<f64>().unwrap() > 0.0);
        assert_eq!(deliver.said["messaging.message.id"], publish.said["messaging.message.id"]);
    }
    let spans = collector.spans();
    assert!(!format!("{spans:?}").contains("secret"), "{spans:#?}");
    until("all are counted", async || {
        counted(&pair.first, "exported").await == 2.0
            && counted(&pair.second, "exported").await == 1.0
    })
    .await;
    assert_eq!(counted(&pair.first, "dropped").await, 0.0);
}

#[tokio::test]
async fn unsampled_publications_are_not_traced_anywhere() {
    let _permit = shared_permit().await;
    let collector = Collector::start().await;
    let mut pair = Pair::start(&collector, 0.0).await;
    publish(&pair.first, "room", &unsampled()).await;
    pair.hear("e").await;
    publish(&pair.first, "room", "00-nonsense").await;
    pair.hear("e").await;
    pair.first.publish("room", "e", json!(1)).await;
    pair.hear("e").await;
    pair.near.emit("publish", json!({ "room": "room", "event": "e", "data": 1 })).await;
    pair.hear("e").await;
    // The last one shows that the others were not: spans are sent in the order of their end.
    publish(&pair.first, "room", &sampled()).await;
    pair.hear("e").await;
    collector.named("deliver", 2).await;
    assert_eq!(collector.spans().len(), 3, "{:#?}", collector.spans());
}

#[tokio::test]
async fn client_and_bridge_publications_start_traces_by_ratio() {
    let _permit = shared_permit().await;
    let collector = Collector::start().await;
    let mut pair = Pair::start(&collector, 1.0).await;
    publish(&pair.first, "room", &unsampled()).await;
    pair.hear("e").await;
    pair.near.emit("publish", json!({ "room": "room", "event": "client", "data": 1 })).await;
    pair.hear("client").await;
    let publish = &collector.named("publish", 1).await[0];
    assert_eq!((&*publish.parent, &*publish.said["rookery.source"]), ("", "client"));
    for deliver in collector.named("deliver", 2).await {
        assert_eq!((&deliver.trace, &deliver.parent), (&publish.trace, &publish.id));
    }

    let message = json!({ "room": "room", "event": "bridged" }).to_string();
    pair.redis.publish("orders", &message).await;
    pair.hear("bridged").await;
    let deliveries = collector.named("deliver", 4).await;
    let bridged: Vec<_> =
        deliveries.iter().filter(|span| span.said["rookery.source"] == "bridge").collect();
    assert_eq!(bridged.len(), 2);
    assert!(bridged.iter().all(|span| span.parent.is_empty()), "{bridged:#?}");
    assert_ne!(bridged[0].trace, bridged[1].trace);
    collector.named("publish", 1).await;
}

#[tokio::test]
async fn batch_items_share_the_parent_and_all_span_attributes_are_documented() {
    let _permit = shared_permit().await;
    let collector = Collector::start().await;
    let environment = [
        ("OTEL_SERVICE_NAME", "chat"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-scope=a%20b"),
    ];
    let server = Rookery::start_with(&collector.config(0.0), &environment).await;
    let mut member = Member::connect(&server).await;
    member.join("a").await;
    let items = json!([
        { "room": "a", "event": "one" },
        { "rooms": ["a", "b"], "event": "two" },
        { "room": "", "event": "bad" },
        { "room": "nobody", "event": "three" },
    ]);
    call(&server, "/api/publish/batch", items, &sampled()).await;
    assert_eq!(member.event().await.0, "one");
    assert_eq!(member.event().await.0, "two");

    let publishes = collector.named("publish", 3).await;
    let events: Vec<_> = publishes.iter().map(|span| &*span.said["rookery.event"]).collect();
    assert_eq!(events, ["one", "two", "three"]);
    assert!(publishes.iter().all(|span| span.trace == TRACE && span.parent == CALLER));
    assert_eq!(publishes[1].said["rookery.rooms"], "a,b");
    assert_eq!(publishes[1].said["rookery.rooms.count"], "2");
    let deliveries = collector.named("deliver", 2).await;
    assert_eq!(deliveries[0].parent, publishes[0].id);
    assert_eq!(deliveries[1].parent, publishes[1].id);

    let span = &deliveries[0];
    assert_eq!(span.resource["service.name"], "chat");
    assert_eq!(span.resource["deployment.environment.name"], "test");
    assert_eq!(span.headers["x-scope"], "a b");
    let page = std::fs::read_to_string("docs/tracing.md").unwrap();
    let section = page.split_once("## Span attributes").unwrap().1.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split('|').next());
    let documented: BTreeSet<_> =
        rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let spans = collector.spans();
    let sent: BTreeSet<_> = spans.iter().flat_map(|span| span.said.keys()).map(|k| &**k).collect();
    assert_eq!(sent, documented);
}

#[tokio::test]
async fn without_a_collector_deliveries_continue_and_spans_are_counted() {
    let _permit = shared_permit().await;
    // Nothing listens there any more.
    let address: SocketAddr = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let server = Rookery::start(&collector::config(address, 1.0)).await;
    let mut member = Member::connect(&server).await;
    member.join("room").await;
    for n in 0..500 {
        server.publish("room", "n", json!(n)).await;
        assert_eq!(member.event().await, ("n".to_owned(), json!(n)));
    }
    until("spans are lost", async || counted(&server, "dropped").await > 0.0).await;
    assert_eq!(counted(&server, "exported").await, 0.0);
    server.logged("dropping spans").await;
    assert_eq!(server.log().matches("dropping spans").count(), 1, "{}", server.log());

    let collector = Collector::at(address).await;
    until("it is found again", async || {
        server.publish("room", "n", json!(0)).await;
        member.event().await;
        counted(&server, "exported").await > 0.0
    })
    .await;
    assert!(!collector.spans().is_empty());
    until("the log says so", async || server.log().contains("accepts spans again")).await;
}

#[tokio::test]
async fn spans_are_retried_while_the_collector_is_busy_and_dropped_when_refused() {
    let _permit = shared_permit().await;
    let collector = Collector::start().await;
    let server = Rookery::start(&collector.config(0.0)).await;
    collector.set_behavior(Behavior::Refuses(503));
    publish(&server, "nobody", &sampled()).await;
    until("it was asked", async || collector.requests() > 0).await;
    collector.set_behavior(Behavior::Accepts);
    collector.named("publish", 1).await;
    until("it is counted", async || counted(&server, "exported").await == 1.0).await;
    assert_eq!(counted(&server, "dropped").await, 0.0);

    collector.set_behavior(Behavior::Refuses(400));
    let before = collector.requests();
    publish(&server, "nobody", &sampled()).await;
    until("it is dropped", async || counted(&server, "dropped").await == 1.0).await;
    assert_eq!(collector.requests(), before + 1);

    collector.set_behavior(Behavior::Rejects(1));
    publish(&server, "nobody", &sampled()).await;
    until("it is dropped", async || counted(&server, "dropped").await == 2.0).await;
    assert_eq!(counted(&server, "exported").await, 1.0);
}

#[tokio::test]
async fn a_trace_counts_a_slow_client_as_dropped() {
    let _permit = shared_permit().await;
    let collector = Collector::start().await;
    let limits = "limits: { queue: 64KiB, writeStall: 1s }\n";
    let server = Rookery::start(&format!("{limits}{}", collector.config(0.0))).await;
    let (mut healthy, mut stalled) =
        (Member::connect(&server).await, Member::connect(&server).await);
    healthy.join("room").await;
    stalled.join("room").await;
    let body = json!({ "room": "room", "event": "e", "args": ["x".repeat(64 << 10)] });
    let mut published = 0;
    until("the client is shed", async || {
        call(&server, "/api/publish", body.clone(), &sampled()).await;
        healthy.event().await;
        published += 1;
        server.disconnects("slow").await == 1.0
    })
    .await;
    let deliveries = collector.named("deliver", published).await;
    let sum = |key: &str| -> f64 {
        deliveries.iter().map(|span| span.said[key].parse::<f64>().unwrap()).sum()
    };
    let dropped = server.deliveries("dropped_slow").await + server.deliveries("gone").await;
    assert!(dropped > 0.0);
    assert_eq!(sum("rookery.dropped"), dropped);
    assert_eq!(sum("rookery.written"), server.deliveries("written").await);
    assert_eq!(sum("rookery.members"), sum("rookery.written") + dropped);
    assert!(sum("rookery.queued") >= server.deliveries("dropped_slow").await);
}

#[tokio::test]
async fn shutdown_flushes_spans_but_does_not_wait_for_a_hanging_collector() {
    let _permit = shared_permit().await;
    let collector = Collector::start().await;
    let drain = "drain: { lead: 0s, window: 0s }\n";
    let config = format!("{drain}{}", collector.config(0.0));
    let mut server = Rookery::start(&config).await;
    publish(&server, "nobody", &sampled()).await;
    server.terminate();
    until("it ends", async || server.has_ended()).await;
    collector.named("publish", 1).await;

    let mut server = Rookery::start(&config).await;
    collector.set_behavior(Behavior::Hangs);
    publish(&server, "nobody", &sampled()).await;
    server.terminate();
    until("it ends", async || server.has_ended()).await;
    until("it says what is lost", async || {
        server.log().contains("the last spans were not exported")
    })
    .await;
}
