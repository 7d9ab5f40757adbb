//! The log has what an operator needs, no secrets, and no line per client.

use serde_json::{Value, json};

use crate::client::Member;
use crate::harness::{Rookery, shared_permit, until, within};
use crate::http::Request;
use crate::redis::Redis;
use crate::websocket::{WebSocket, handshake};

pub const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// The lines of a log, as JSON objects.
pub fn lines(server: &Rookery) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    server.log().lines().map(parse).collect()
}

/// The lines with this message.
fn said(server: &Rookery, message: &str) -> Vec<Value> {
    lines(server).into_iter().filter(|line| line["message"] == message).collect()
}

/// Waits for a line with this message; returns the last one.
pub async fn line(server: &Rookery, message: &str) -> Value {
    until(message, async || !said(server, message).is_empty()).await;
    said(server, message).pop().unwrap()
}

/// The refusals for a reason that were logged at `info`.
fn refusals(server: &Rookery, reason: &str) -> Vec<Value> {
    let mut lines = said(server, "refused a client");
    lines.retain(|line| line["reason"] == reason && line["level"] == "INFO");
    lines
}

/// A WebSocket session that has asked for the namespace `/`.
pub struct Asked {
    pub socket: WebSocket,
    pub sid: String,
    pub answer: String,
}

pub async fn connect(server: &Rookery, request: &Request, auth: &str) -> Asked {
    let mut socket = WebSocket::request(server.clients, request).await.unwrap();
    let open = socket.text().await;
    let open: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
    socket.send(&format!("40{auth}")).await;
    let answer = socket.text().await;
    Asked { socket, sid: open["sid"].as_str().unwrap().to_owned(), answer }
}

#[tokio::test]
async fn a_flood_of_refusals_is_throttled_to_a_few_lines() {
    const TIMES: usize = 300;
    let _permit = shared_permit().await;
    let config =
        "rooms: [{ match: open }]\nlimits: { eventsPerSecond: 100000, connectRate: 100000/s }\n";
    let server = Rookery::start(config).await;
    let mut member = Member::connect(&server).await;
    for n in 0..TIMES {
        let (_, answer) = member.ask("join", json!({ "room": format!("closed{n}") })).await;
        assert_eq!(answer["error"]["code"], "forbidden");
    }
    for _ in 0..TIMES {
        let mut socket = connect(&server, &handshake(WEBSOCKET), "").await.socket;
        socket.send("42[\"e\",").await;
        socket.closed().await;
    }
    assert_eq!(server.rejected("forbidden").await, TIMES as f64);
    until("all are counted", async || server.rejected("bad_packet").await == TIMES as f64).await;
    let mut written = 0;
    for reason in ["forbidden", "bad_packet"] {
        let lines = refusals(&server, reason);
        assert!((1..TIMES / 4).contains(&lines.len()), "{}", lines.len());
        assert_eq!(lines[0]["client"], "127.0.0.1");
        written += lines.len();
    }
    assert_eq!(refusals(&server, "forbidden")[0]["room"], "closed0");
    let suppressed = server.metric("rookery_log_lines_suppressed_total").await;
    assert_eq!(suppressed + written as f64, 2.0 * TIMES as f64);
}

#[tokio::test]
async fn one_client_can_be_followed_through_the_log() {
    let _permit = shared_permit().await;
    let config = "rooms: [{ match: open }]\n";
    let server = Rookery::start_with(config, &[("RUST_LOG", "rookery=debug")]).await;
    let mut member = Member::connect(&server).await;
    member.join("open").await;
    member.ask("join", json!({ "room": "closed" })).await;
    member.ask("leave", json!({ "room": "open" })).await;
    drop(member);
    let gone = line(&server, "client disconnected").await;
    let id = gone["member"].as_str().unwrap();
    assert_eq!(id.len(), 20);
    for (message, room) in [
        ("client connected", Value::Null),
        ("joined a room", "open".into()),
        ("refused a client", "closed".into()),
        ("left a room", "open".into()),
    ] {
        let line = line(&server, message).await;
        assert_eq!((&line["member"], &line["namespace"]), (&id.into(), &"/".into()), "{line}");
        assert_eq!(line["room"], room, "{line}");
    }
    assert_eq!(line(&server, "client connected").await["client"], "127.0.0.1");
    assert_eq!(line(&server, "session closed").await["reason"], "transport_error");
}

#[tokio::test]
async fn api_joins_are_throttled_but_every_api_disconnect_is_logged() {
    const TIMES: usize = 60;
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    for path in ["/api/rooms/room/join", "/api/rooms/room/leave", "/api/disconnect"] {
        let order = Request::post(path, "{\"user\":\"nobody\"}");
        let order = order.header("content-type", "application/json");
        for _ in 0..TIMES {
            assert_eq!(order.send(server.internal).await.unwrap().status, 200);
        }
    }
    let told = |of: &[&str]| {
        let orders = said(&server, "a publisher moved or disconnected members");
        let of = |line: &&Value| of.contains(&line["order"].as_str().unwrap());
        orders.iter().filter(|line| line["level"] == "INFO").filter(of).count()
    };
    until("every disconnect is logged", async || told(&["disconnect"]) == TIMES).await;
    let moves = told(&["join", "leave"]);
    assert!((1..TIMES).contains(&moves), "{moves}");
    let suppressed = server.metric("rookery_log_lines_suppressed_total").await;
    assert_eq!(suppressed + moves as f64, 2.0 * TIMES as f64);
}

#[tokio::test]
async fn at_info_the_log_covers_the_lifecycle_but_not_each_client() {
    let _permit = shared_permit().await;
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::write(&keys, "shop:first-0123456789\n").unwrap();
    let config = format!(
        "auth: {{ anonymous: true, apiKeysFile: '{}' }}\ndrain: {{ lead: 100ms, window: 200ms }}\n",
        keys.display()
    );
    let mut server = Rookery::start(&config).await;
    let mut member = Member::connect(&server).await;
    member.join("room").await;
    let start = line(&server, "starting").await;
    assert_eq!(start["version"], env!("CARGO_PKG_VERSION"));

    std::fs::write(server.config(), format!("{config}limits: {{ connections: 9 }}\n")).unwrap();
    let applied = line(&server, "reloaded the configuration").await;
    assert_eq!(applied["keys"], "limits.connections");
    std::fs::write(server.config(), "limits: { connections: many }\n").unwrap();
    let refused =
        line(&server, "cannot reload the configuration; the previous one stays in use").await;
    assert!(refused["error"].as_str().unwrap().contains("limits.connections"), "{refused}");

    let order = Request::post("/api/rooms/other/join", "{\"user\":\"nobody\"}")
        .header("content-type", "application/json")
        .header("authorization", "Bearer first-0123456789");
    assert_eq!(order.send(server.internal).await.unwrap().status, 200);
    let told = line(&server, "a publisher moved or disconnected members").await;
    let expected = json!(["shop", "join", "other", "nobody", 0]);
    let fields = ["publisher", "order", "room", "user", "matched"].map(|name| told[name].clone());
    assert_eq!(Value::from(fields.to_vec()), expected);
    std::fs::write(&keys, "shop:second-0123456789\n").unwrap();
    assert_eq!(line(&server, "reloaded API keys").await["keys"], 1);
    assert_eq!(order.send(server.internal).await.unwrap().status, 401);
    let told = line(&server, "refused an API request without a valid key").await;
    assert_eq!((&told["path"], &told["status"]), (&"/api/rooms/other/join".into(), &401.into()));

    server.terminate();
    within("its end", async { while member.packet().await.is_some() {} }).await;
    until("it ends", async || server.has_ended()).await;
    for message in ["received a stop signal; draining", "closing sessions"] {
        assert_eq!(line(&server, message).await["sessions"], 1, "{message}");
    }
    line(&server, "all sessions are closed").await;
    line(&server, "stopped").await;
    assert!(lines(&server).iter().all(|line| line["member"].is_null()), "{}", server.log());
}

#[tokio::test]
async fn reaching_and_leaving_the_connection_limit_is_logged() {
    let _permit = shared_permit().await;
    let config = "limits: { connections: 1 }\nsocketio: { connectTimeout: 1s }\n";
    let server = Rookery::start(config).await;
    let member = Member::connect(&server).await;
    for _ in 0..20 {
        assert_eq!(WebSocket::open(server.clients, WEBSOCKET).await.err().unwrap().status, 503);
    }
    let told = line(&server, "limits.connections is reached: refusing new clients").await;
    assert_eq!((&told["limit"], &told["level"]), (&1.into(), &"WARN".into()));
    drop(member);
    line(&server, "accepting new clients again").await;
    let refused: u64 = said(&server, "accepting new clients again")
        .iter()
        .filter_map(|line| line["refused"].as_u64())
        .sum();
    assert_eq!(refused, 20);
    assert_eq!(refusals(&server, "connections"), Vec::<Value>::new());
}

#[tokio::test]
async fn a_slow_client_is_logged_with_its_unsent_bytes() {
    let _permit = shared_permit().await;
    let server = Rookery::start("limits: { queue: 64KiB }\n").await;
    let mut stalled = Member::connect(&server).await;
    stalled.join("room").await;
    let members = server.internal("/api/rooms/room").await.json();
    let text = "x".repeat(256 << 10);
    until("it is shed", async || {
        server.publish("room", "event", json!(text)).await;
        server.disconnects("slow").await == 1.0
    })
    .await;
    let told = line(&server, "disconnected a slow client").await;
    assert_eq!(told["member"], members["members"][0]["id"]);
    assert!(told["bytes"].as_u64().unwrap() > 64 << 10, "{told}");
    assert_eq!((&told["client"], &told["level"]), (&"127.0.0.1".into(), &"WARN".into()));
}

#[tokio::test]
async fn losing_and_regaining_redis_is_logged() {
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let server = Rookery::start(&format!("redis: {{ url: '{}' }}\n", redis.url())).await;
    let mut member = Member::connect(&server).await;
    let back = "Redis is connected and all rooms are subscribed";
    line(&server, back).await;
    member.join("room").await;
    redis.kill_connections().await;
    line(&server, "Redis is not connected: other instances are not reached").await;
    until("it is back", async || said(&server, back).len() > 1).await;
    let told = said(&server, back).pop().unwrap();
    assert_eq!((&told["channels"], &told["unsent"]), (&1.into(), &0.into()), "{told}");
    assert!(told["seconds"].is_f64());
}
