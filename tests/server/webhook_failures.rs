//! A backend that fails: what its clients are told, and that nobody else notices.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::backend::{Answer, Backend, echo};
use crate::client::Member;
use crate::harness::{Rookery, shared_permit, until, within};
use crate::http::Request;
use crate::websocket::WebSocket;

/// With a rule, by which rooms work without the backend.
fn config(backend: &Backend, more: &str) -> String {
    format!(
        "rooms: open\nevents: [{{ on: join, operation: join, room: '{{room}}' }}]\n\
         backend: {{ url: 'http://{}/rookery'{more} }}\n",
        backend.address
    )
}

async fn requests(server: &Rookery, hook: &str, outcome: &str) -> f64 {
    let labels = format!("{{hook=\"{hook}\",outcome=\"{outcome}\"}}");
    server.metric(&format!("rookery_backend_requests_total{labels}")).await
}

fn is_unavailable(answer: &Value) -> bool {
    let keys: Vec<_> = answer.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["error", "status"], "{answer}");
    assert_eq!(answer["status"], "ERROR");
    assert!(answer["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
    answer["error"]["code"] == "backend_unavailable"
}

/// The CONNECT_ERROR of a client that connects now.
async fn refusal(server: &Rookery) -> Value {
    let opened = WebSocket::open(server.clients, "/socket.io/?EIO=4&transport=websocket").await;
    let mut socket = opened.unwrap_or_else(|refused| panic!("{refused:?}"));
    assert!(socket.text().await.starts_with("0{"));
    socket.send("40").await;
    let packet = socket.text().await;
    serde_json::from_str(packet.strip_prefix("44").unwrap_or_else(|| panic!("{packet}"))).unwrap()
}

type Behavior = fn(&Value) -> Answer;

const FAILURES: [(&str, Behavior); 7] = [
    ("status", |_| Answer::Status(500)),
    ("status", |_| Answer::Status(404)),
    ("status", |_| Answer::Redirect),
    ("timeout", |_| Answer::Never),
    ("bad_reply", |_| Answer::Body(b"<html>sorry</html>".to_vec())),
    ("bad_reply", |_| Answer::Json(json!({ "emit": 5 }))),
    ("too_large", |_| Answer::Body(vec![b' '; 10 << 20])),
];

#[tokio::test]
async fn each_failure_is_answered_and_counted_while_rooms_go_on() {
    let _permit = shared_permit().await;
    let backend = Backend::echo().await;
    let server =
        Rookery::start(&config(&backend, ", timeout: 500ms, hooks: [connect, event]")).await;
    let mut caller = Member::connect(&server).await;
    let mut other = Member::connect(&server).await;
    other.join("room").await;
    for (at, (outcome, behavior)) in FAILURES.into_iter().enumerate() {
        let before = requests(&server, "event", outcome).await;
        backend.set(behavior);
        caller.socket.send(r#"421["a"]"#).await;
        // Others are served meanwhile.
        assert_eq!(server.publish("room", "news", json!(at)).await, 1);
        assert_eq!(other.event().await, ("news".to_owned(), json!(at)));
        let answer = caller.packet().await.unwrap();
        let body = answer.strip_prefix("431[").and_then(|rest| rest.strip_suffix(']')).unwrap();
        assert!(is_unavailable(&serde_json::from_str(body).unwrap()), "{outcome}: {answer}");
        assert_eq!(requests(&server, "event", outcome).await, before + 1.0, "{outcome}");
        let refused = refusal(&server).await;
        assert_eq!(refused["data"]["code"], "backend_unavailable", "{outcome}: {refused}");
        assert_eq!(refused["message"], refused["data"]["message"]);
    }
    backend.set(echo);
    assert_eq!(caller.ask("a", json!(7)).await.1, 7);
    assert_eq!(server.rejected("backend").await, 2.0 * FAILURES.len() as f64);
    // Nobody lost a connection.
    assert_eq!(other.ask("a", json!(8)).await.1, 8);
}

#[tokio::test]
async fn an_event_without_a_callback_is_answered_by_an_error_event() {
    let _permit = shared_permit().await;
    let backend = Backend::echo().await;
    let server = Rookery::start(&config(&backend, "")).await;
    let mut member = Member::connect(&server).await;
    backend.set(|_| Answer::Status(503));
    member.emit("a", json!(1)).await;
    let (event, answer) = member.event().await;
    assert_eq!(event, "rookery:error");
    assert_eq!((&answer["event"], &answer["status"]), (&json!("a"), &json!("ERROR")));
    assert_eq!(answer["error"]["code"], "backend_unavailable");
}

#[tokio::test]
async fn a_backend_that_is_down_is_left_alone_and_used_again_when_it_is_back() {
    let _permit = shared_permit().await;
    let mut backend = Backend::echo().await;
    let server = Rookery::start(&config(&backend, ", hooks: [connect, event]")).await;
    let mut member = Member::connect(&server).await;
    for _ in 0..2 {
        backend.stop().await;
        let before = requests(&server, "event", "circuit_open").await;
        until("calls are refused at once", async || {
            assert!(is_unavailable(&member.ask("a", json!(1)).await.1));
            requests(&server, "event", "circuit_open").await > before
        })
        .await;
        assert!(requests(&server, "event", "unreachable").await >= 20.0);
        backend.resume().await;
        until("the backend is used again", async || member.ask("a", json!(1)).await.1 == 1).await;
    }
    let logged = |text: &str| server.log().matches(text).count();
    until("both ends are logged", async || logged("the backend answers again") >= 2).await;
    for text in ["the backend does not answer", "the backend answers again"] {
        assert_eq!(logged(text), 2, "{}", server.log());
    }
}

#[tokio::test]
async fn a_client_is_not_read_while_its_call_is_in_flight() {
    let _permit = shared_permit().await;
    let backend = Backend::echo().await;
    let limits = "limits: { eventsPerSecond: 1000000, bytesPerSecond: 1GiB }\n";
    let server = Rookery::start(&format!("{limits}{}", config(&backend, ", timeout: 60s"))).await;
    let mut flood = Member::connect(&server).await;
    let mut other = Member::connect(&server).await;
    let text = "x".repeat(64 << 10);
    let first = Arc::new(AtomicUsize::new(0));
    let counted = first.clone();
    backend.set(move |body| match body["event"].as_str() {
        Some("flood") => {
            counted.fetch_add(1, Ordering::SeqCst);
            Answer::Never
        }
        _ => echo(body),
    });
    // More than the kernel buffers: the write stalls because nothing is read.
    let event = crate::websocket::frame(0x81, format!("42{}", json!(["flood", text])).as_bytes());
    let mut sent = 0;
    let flooding = async {
        loop {
            flood.socket.write(&event).await.unwrap();
            sent += event.len();
        }
    };
    let stalled = tokio::time::timeout(Duration::from_secs(3), flooding).await;
    assert!(stalled.is_err());
    assert!(sent < 64 << 20, "{sent} bytes were taken from one client");
    assert_eq!(first.load(Ordering::SeqCst), 1);
    assert_eq!(other.ask("a", json!(1)).await.1, 1);
}

#[tokio::test]
async fn calls_beyond_the_queue_are_refused_at_once_and_those_in_it_in_time() {
    let _permit = shared_permit().await;
    let backend = Backend::echo().await;
    let bounds = ", timeout: 2s, maxInFlight: 1, queue: 1, hooks: [event]";
    let server = Rookery::start(&config(&backend, bounds)).await;
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(Member::connect(&server).await);
    }
    backend.set(|_| Answer::Never);
    let [in_flight, waiting, refused] = &mut members[..] else { unreachable!() };
    in_flight.socket.send(r#"421["a"]"#).await;
    until("a call is in flight", async || server.metric("rookery_backend_in_flight").await == 1.0)
        .await;
    waiting.socket.send(r#"421["a"]"#).await;
    until("a call waits", async || server.metric("rookery_backend_waiting").await == 1.0).await;
    assert!(is_unavailable(&refused.ask("a", json!(1)).await.1));
    assert_eq!(requests(&server, "event", "overloaded").await, 1.0);
    for member in [in_flight, waiting] {
        let answer = within("an answer", member.packet()).await.unwrap();
        assert!(answer.contains("backend_unavailable"), "{answer}");
    }
    assert_eq!(server.metric("rookery_backend_waiting").await, 0.0);
}

#[tokio::test]
async fn a_disconnect_is_sent_again_with_the_same_id_until_it_is_accepted() {
    let _permit = shared_permit().await;
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = attempts.clone();
    let backend = Backend::start(move |body| match body["type"].as_str() {
        Some("disconnect") if counted.fetch_add(1, Ordering::SeqCst) < 2 => Answer::Status(500),
        _ => echo(body),
    })
    .await;
    let server = Rookery::start(&config(&backend, "")).await;
    drop(Member::connect(&server).await.socket);
    let calls = backend.called("disconnect", 3).await;
    let ids: Vec<_> = calls.iter().map(|call| call.header("rookery-event-id")).collect();
    assert_eq!(ids, [ids[0]; 3]);
    assert!(calls.iter().all(|call| call.body == calls[0].body));
    until("nothing waits", async || server.metric("rookery_backend_retry_queue").await == 0.0)
        .await;
    assert_eq!(requests(&server, "disconnect", "status").await, 2.0);
    assert_eq!(requests(&server, "disconnect", "ok").await, 1.0);
    let dropped = "rookery_backend_dropped_total{kind=\"notification\"}";
    assert_eq!(server.metric(dropped).await, 0.0);
}

#[tokio::test]
async fn disconnects_beyond_the_queue_are_dropped_and_counted() {
    let _permit = shared_permit().await;
    let backend = Backend::start(|body| match body["type"].as_str() {
        Some("disconnect") => Answer::Never,
        _ => echo(body),
    })
    .await;
    let server = Rookery::start(&config(&backend, ", timeout: 60s, retryQueue: 2")).await;
    let mut members = Vec::new();
    for _ in 0..40 {
        members.push(Member::connect(&server).await);
    }
    drop(members);
    // 32 are being sent and 2 wait.
    let dropped = "rookery_backend_dropped_total{kind=\"notification\"}";
    until("the others are dropped", async || {
        server.metric(dropped).await + server.metric("rookery_backend_retry_queue").await == 40.0
    })
    .await;
    assert!(server.metric(dropped).await >= 6.0);
    server.logged("dropped a notification").await;
}

#[tokio::test]
async fn an_event_in_flight_ends_before_the_backend_hears_that_its_client_is_gone() {
    let _permit = shared_permit().await;
    let backend = Backend::start(|body| match body["type"].as_str() {
        Some("event") => Answer::After(
            Duration::from_millis(300),
            json!({ "publish": [{ "room": "room", "event": "late" }] }),
        ),
        _ => echo(body),
    })
    .await;
    let server = Rookery::start(&config(&backend, "")).await;
    let mut other = Member::connect(&server).await;
    other.join("room").await;
    let mut member = Member::connect(&server).await;
    member.emit("a", json!(1)).await;
    backend.called("event", 1).await;
    drop(member.socket);
    // What the event asked for is carried out.
    assert_eq!(other.event().await.0, "late");
    backend.called("disconnect", 1).await;
}

fn check(server_config: &str) -> (i32, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), server_config).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_rookery"))
        .args(["check", "--connect"])
        .arg(file.path())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn check_calls_the_backend_and_says_what_it_made_of_the_answer() {
    let _permit = shared_permit().await;
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "a key").unwrap();
    let mut backend = Backend::echo().await;
    let signed = format!(", timeout: 1s, signingKeyFile: '{}'", key.path().display());
    let config = config(&backend, &signed);
    let tried = |text: &str| {
        let text = text.to_owned();
        async move { tokio::task::spawn_blocking(move || check(&text)).await.unwrap() }
    };
    let (code, text) = tried(&config).await;
    assert!(code == 0 && text.contains("answered a test request with a valid reply"), "{text}");
    let call = &backend.of_type("check")[0];
    assert!(call.header("rookery-signature").starts_with("t="));
    for (answer, expected, says) in [
        (400, 0, "whose type it does not know"),
        (403, 0, "warning: the backend at"),
        (404, 0, "check the path of backend.url"),
        (307, 1, "redirects are not followed"),
        (500, 1, "the status is 500"),
    ] {
        backend.set(move |_| Answer::Status(answer));
        let (code, text) = tried(&config).await;
        assert!(code == expected && text.contains(says), "{answer}: {code} {text}");
    }
    backend.set(|_| Answer::Never);
    let (code, text) = tried(&config).await;
    assert!(code == 1 && text.contains("no answer in time"), "{text}");
    backend.stop().await;
    let (code, text) = tried(&config).await;
    assert!(code == 1 && text.contains("no connection"), "{text}");
    let (code, text) =
        tried(&config.replace("signingKeyFile: '", "signingKeyFile: '/nowhere")).await;
    assert!(code == 2 && text.contains("backend.signingKeyFile"), "{text}");
}

#[tokio::test]
async fn a_slow_backend_delays_nobody_but_its_callers() {
    let _permit = shared_permit().await;
    let backend = Backend::echo().await;
    let server = Rookery::start(&config(&backend, "")).await;
    let mut caller = Member::connect(&server).await;
    let mut other = Member::connect(&server).await;
    other.join("room").await;
    backend.set(|body| Answer::After(Duration::from_secs(3), json!({ "ack": body["args"] })));
    caller.socket.send(r#"421["a",5]"#).await;
    backend.called("event", 1).await;
    for n in 0..50 {
        server.publish("room", "news", json!(n)).await;
        assert_eq!(other.event().await.1, n);
    }
    assert_eq!(Request::get("/livez").send(server.internal).await.unwrap().status, 200);
    // The caller still waits.
    assert_eq!(server.metric("rookery_backend_in_flight").await, 1.0);
    assert_eq!(caller.packet().await.unwrap(), "431[5]");
}
