//! Engine.IO 4 packet by packet, after the public protocol document.

use serde_json::json;

use crate::client::{Member, Poller, packets};
use crate::harness::{Rookery, shared_permit, until, within};
use crate::http::Request;
use crate::websocket::{Frame, WebSocket};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

#[tokio::test]
async fn a_handshake_returns_the_session_id_and_server_settings() {
    let _permit = shared_permit().await;
    let server = Rookery::start(
        "socketio: { pingInterval: 11s, pingTimeout: 7s, maxPayload: 5000 }\nlimits: {}\n",
    )
    .await;
    let answer = Request::get(POLLING).send(server.clients).await.unwrap();
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
    let polling = Poller::open(&server, 4).await;
    let mut expected = json!({
        "sid": polling.sid, "upgrades": ["websocket"],
        "pingInterval": 11_000, "pingTimeout": 7_000, "maxPayload": 5_000,
    });
    assert_eq!(polling.open, expected);
    assert!(polling.sid.len() >= 20);

    let mut socket =
        WebSocket::open(server.clients, "/socket.io/?EIO=4&transport=websocket").await.unwrap();
    let open: serde_json::Value =
        serde_json::from_str(socket.text().await.strip_prefix('0').unwrap()).unwrap();
    expected["sid"] = open["sid"].clone();
    expected["upgrades"] = json!([]);
    assert_eq!(open, expected);
    assert_ne!(open["sid"], polling.sid);
}

#[tokio::test]
async fn invalid_requests_get_the_same_errors_as_in_node() {
    let _permit = shared_permit().await;
    let server = Rookery::start("socketio: { cors: { origins: [https://a.example] } }\n").await;
    let known = Poller::open(&server, 4).await;
    let get = |target: &str| Request::get(target);
    let foreign = get(POLLING).header("origin", "https://b.example");
    let cases = [
        (get("/socket.io/?EIO=4&transport=pigeon"), 400, 0, "Transport unknown"),
        (get("/socket.io/?EIO=4"), 400, 0, "Transport unknown"),
        (get(&format!("{POLLING}&sid=unknown")), 400, 1, "Session ID unknown"),
        (Request::post(POLLING, "40"), 400, 2, "Bad handshake method"),
        (get("/socket.io/?EIO=4&transport=websocket"), 400, 3, "Bad request"),
        (get(&known.target("websocket")), 400, 3, "Bad request"),
        (foreign, 403, 4, "Forbidden"),
        (get(&known.target("polling").replace("EIO=4&", "")), 400, 3, "Bad request"),
        (get(&known.target("polling").replace("EIO=4", "EIO=3")), 400, 3, "Bad request"),
    ];
    for (request, status, code, message) in cases {
        let answer = request.send(server.clients).await.unwrap();
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let body = answer.json();
        assert_eq!((&body["code"], &body["message"]), (&json!(code), &json!(message)));
    }
    let elsewhere = get("/elsewhere").send(server.clients).await.unwrap();
    assert_eq!(elsewhere.status, 404);
    assert!(elsewhere.text().contains("/socket.io/"), "{}", elsewhere.text());
    // None of them left a session behind.
    assert_eq!(server.metric("rookery_sessions_unconnected").await, 1.0);
    assert_eq!(server.connections().await, 0.0);
}

#[tokio::test]
async fn polling_carries_packets_in_both_directions() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let poller = Poller::connect(&server, 4).await;
    // Three packets in one payload; their answers come in their order.
    let asks = [0, 1, 2].map(|n| format!("42{n}[\"join\",{{\"room\":\"r{n}\"}}]")).join("\u{1e}");
    let answer = poller.post(asks).await;
    assert_eq!((answer.status, &*answer.text()), (200, "ok"));
    let mut acks = Vec::new();
    while acks.len() < 3 {
        acks.extend(poller.packets().await);
    }
    for (n, ack) in acks.iter().enumerate() {
        assert!(ack.starts_with(&format!("43{n}[{{\"status\":\"SUCCESS\"")), "{ack}");
    }
    // A GET that waits is answered when something comes.
    let waiting = async { poller.packets().await };
    let publish = async {
        until("the publication finds its member", async || {
            server.publish("r1", "news", json!({ "n": 1 })).await == 1
        })
        .await;
    };
    let (got, ()) = tokio::join!(waiting, publish);
    assert_eq!(got, ["42[\"news\",{\"n\":1}]"]);
}

#[tokio::test]
async fn binary_is_base64_on_polling_and_bytes_on_websocket() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let poller = Poller::connect(&server, 4).await;
    poller.join("r").await;
    let mut member = Member::connect(&server).await;
    member.join("r").await;
    let event =
        r#"451-["publish",{"room":"r","event":"blob","data":{"_placeholder":true,"num":0}}]"#;
    assert_eq!(poller.post(format!("{event}\u{1e}bAP8H")).await.text(), "ok");
    let header = r#"451-["blob",{"_placeholder":true,"num":0}]"#;
    let mut got = Vec::new();
    while got.len() < 2 {
        got.extend(poller.packets().await);
    }
    assert_eq!(got, [header, "bAP8H"]);
    assert_eq!(member.packet().await.as_deref(), Some(header));
    assert_eq!(member.socket.next().await, Some(Frame::Binary(vec![0, 255, 7])));

    member.socket.send(event).await;
    member.socket.send_binary(&[1, 2]).await;
    assert_eq!(member.packet().await.as_deref(), Some(header));
    assert_eq!(member.socket.next().await, Some(Frame::Binary(vec![1, 2])));
    let mut got = Vec::new();
    while got.len() < 2 {
        got.extend(poller.packets().await);
    }
    assert_eq!(got, [header, "bAQI="]);
}

#[tokio::test]
async fn an_invalid_payload_closes_the_session() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    for body in ["abc", "", "40\u{1e}", "b!", "9"] {
        let poller = Poller::open(&server, 4).await;
        let answer = poller.post(body).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(3)), "{body:?}");
        // A GET may still fetch the `1` that ends it.
        let end = poller.get().await;
        assert!(end.text() == "1" || end.status == 400, "{}", end.text());
        until("the session is gone", async || !poller.is_known().await).await;
    }
    assert_eq!(server.rejected("bad_packet").await, 5.0);
    assert_eq!(server.connections().await, 0.0);
}

#[tokio::test]
async fn a_second_concurrent_get_ends_the_session() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let poller = Poller::connect(&server, 4).await;
    // Which of the two is first, the server says: one is closed, the other refused.
    let (a, b) = tokio::join!(poller.get(), poller.get());
    let mut answers = [(a.status, a.text()), (b.status, b.text())];
    answers.sort();
    assert_eq!(answers[0], (200, "1".to_owned()));
    assert_eq!(answers[1].0, 400);
    until("the session is gone", async || !poller.is_known().await).await;
    assert_eq!(server.connections().await, 0.0);
}

#[tokio::test]
async fn a_closing_client_gets_a_response_to_its_pending_get() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let poller = Poller::connect(&server, 4).await;
    let (got, answer) = tokio::join!(poller.get(), async {
        // The GET waits when the server has counted its request; `1` may come before it too.
        poller.post("1").await
    });
    assert_eq!((answer.status, &*answer.text()), (200, "ok"));
    assert!(got.text() == "6" || got.status == 400, "{}", got.text());
    until("the session is gone", async || !poller.is_known().await).await;
    assert_eq!(server.disconnects("client").await, 1.0);
}

#[tokio::test]
async fn heartbeats_keep_a_session_alive_and_missing_ones_end_it() {
    let _permit = shared_permit().await;
    let server = Rookery::start("socketio: { pingInterval: 300ms, pingTimeout: 5s }\n").await;
    let poller = Poller::connect(&server, 4).await;
    let mut member = Member::connect(&server).await;
    for _ in 0..3 {
        assert_eq!(poller.packets().await, ["2"]);
        poller.send("3").await;
        assert_eq!(member.socket.text().await, "2");
        member.socket.send("3").await;
    }
    // From now on neither answers.
    let end = within("the poller's end", async {
        loop {
            match poller.get().await {
                answer if answer.status == 200 && answer.text() == "2" => {}
                end => return (end.status, end.text()),
            }
        }
    })
    .await;
    assert!(end == (200, "1".to_owned()) || end.0 == 400, "{end:?}");
    let before = member.socket.closed().await;
    assert!(before.iter().all(|f| *f == Frame::Text("2".into()) || *f == Frame::Close));
    until("both are counted", async || server.disconnects("ping_timeout").await == 2.0).await;
    assert_eq!(server.connections().await, 0.0);
}

#[tokio::test]
async fn a_message_over_max_payload_is_refused() {
    let _permit = shared_permit().await;
    let server = Rookery::start("socketio: { maxPayload: 1000 }\n").await;
    let poller = Poller::connect(&server, 4).await;
    let answer = poller.post("4".repeat(1001)).await;
    assert_eq!(answer.status, 413);
    assert!(answer.text().contains("1000"), "{}", answer.text());
    assert_eq!(server.rejected("payload").await, 1.0);

    let mut member = Member::connect(&server).await;
    member.emit("join", json!({ "room": "r".repeat(1000) })).await;
    member.socket.closed().await;
    until("it is gone", async || {
        server.metric("rookery_connections{transport=\"websocket\"}").await == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_get_returns_at_most_max_payload() {
    let _permit = shared_permit().await;
    let server = Rookery::start("socketio: { maxPayload: 1000 }\n").await;
    let poller = Poller::connect(&server, 4).await;
    poller.join("r").await;
    for n in 0..20 {
        server.publish("r", "e", json!(format!("{n}{}", "x".repeat(280)))).await;
    }
    let mut next = 0;
    let mut largest = 0;
    while next < 20 {
        let answer = poller.get().await;
        assert!(answer.body.len() <= 1000, "{}", answer.body.len());
        largest = largest.max(answer.body.len());
        for packet in packets(&answer, 4) {
            assert!(packet.starts_with(&format!("42[\"e\",\"{next}x")), "{packet}");
            next += 1;
        }
    }
    assert!(largest > 500, "several packets in one answer");
}

#[tokio::test]
async fn cors_headers_follow_the_allowed_origins() {
    let _permit = shared_permit().await;
    let open = Rookery::start("socketio: { cors: { origins: ['*'] } }\n").await;
    let request = Request::get(POLLING).header("origin", "https://a.example");
    let answer = request.send(open.clients).await.unwrap();
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);

    let named =
        Rookery::start("socketio: { cors: { origins: [https://a.example], credentials: true } }\n")
            .await;
    let answer = request.send(named.clients).await.unwrap();
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.example"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(answer.header("vary"), Some("Origin"));

    let preflight = Request::new("OPTIONS", POLLING)
        .header("origin", "https://a.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "x-mine");
    let answer = preflight.send(named.clients).await.unwrap();
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-headers"), Some("x-mine"));
    assert!(answer.header("access-control-allow-methods").unwrap().contains("POST"));

    let foreign = Request::get(POLLING).header("origin", "https://b.example");
    let answer = foreign.send(named.clients).await.unwrap();
    assert_eq!(answer.status, 403);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let socket = crate::websocket::handshake("/socket.io/?EIO=4&transport=websocket")
        .header("origin", "https://b.example");
    assert_eq!(WebSocket::request(named.clients, &socket).await.err().unwrap().status, 403);
    assert_eq!(named.rejected("forbidden").await, 2.0);
}

#[tokio::test]
async fn a_websocket_takes_attachments_in_base64_and_sends_them_so_if_asked() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let event = |blobs: &str| format!("45{blobs}");
    let one =
        event(r#"1-["publish",{"room":"r","event":"e","data":{"_placeholder":true,"num":0}}]"#);
    let two = event(
        r#"2-["publish",{"room":"r","event":"e","data":[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]}]"#,
    );
    for (eio, base64) in [(3, false), (3, true), (4, false), (4, true)] {
        let asked = if base64 { "&b64=1" } else { "" };
        let target = format!("/socket.io/?EIO={eio}&transport=websocket{asked}");
        let mut socket = WebSocket::open(server.clients, &target).await.unwrap();
        assert!(socket.text().await.starts_with("0{"));
        if eio == 4 {
            socket.send("40").await;
        }
        assert!(socket.text().await.starts_with("40"));
        socket.send(r#"421["join",{"room":"r"}]"#).await;
        assert!(socket.text().await.starts_with("431["));
        let prefix = if eio == 4 { "b" } else { "b4" };
        let typed = if eio == 4 { &[][..] } else { &[4] };
        let blob = |text: &str, bytes: &[u8]| match base64 {
            true => Frame::Text(format!("{prefix}{text}")),
            false => Frame::Binary([typed, bytes].concat()),
        };
        socket.send(&one).await;
        socket.send(&format!("{prefix}AQID")).await;
        assert!(socket.text().await.starts_with("451-[\"e\""));
        assert_eq!(socket.next().await, Some(blob("AQID", &[1, 2, 3])), "{target}");
        // A later attachment may come in another form than the first.
        socket.send(&two).await;
        socket.send_binary(&[typed, &[9]].concat()).await;
        socket.send(&format!("{prefix}AQI=")).await;
        assert!(socket.text().await.starts_with("452-[\"e\""));
        assert_eq!(socket.next().await, Some(blob("CQ==", &[9])), "{target}");
        assert_eq!(socket.next().await, Some(blob("AQI=", &[1, 2])), "{target}");
    }
}

/// As Node's server does: some clients say `5` on a WebSocket that upgrades nothing, or say it twice.
#[tokio::test]
async fn packets_that_say_nothing_are_ignored() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    for eio in [4, 3] {
        let target = format!("/socket.io/?EIO={eio}&transport=websocket");
        let poller = Poller::connect(&server, eio).await;
        let upgraded = Poller::open(&server, eio).await;
        let mut sockets = Vec::new();
        for mut socket in [
            WebSocket::open(server.clients, &target).await.unwrap(),
            upgraded.upgrade().await.unwrap(),
        ] {
            socket.send("5").await;
            sockets.push(socket);
        }
        for packet in ["5", "6", "0", "0{}", "5{}", "6x"] {
            for socket in &mut sockets {
                socket.send(packet).await;
            }
            poller.send(packet).await;
        }
        for socket in &mut sockets {
            if eio == 4 {
                socket.send("40").await;
            }
            socket.send("5").await;
            socket.send(r#"421["join",{"room":"r"}]"#).await;
            loop {
                let packet = socket.text().await;
                if packet.starts_with("431[") {
                    break;
                }
                assert!(packet.starts_with("0{") || packet.starts_with("40"), "{packet}");
            }
        }
        poller.join("r").await;
        assert_eq!(server.publish("r", "e", json!(eio)).await, 3);
        for socket in &mut sockets {
            assert_eq!(socket.text().await, format!("42[\"e\",{eio}]"));
        }
        assert_eq!(poller.events().await, [("e".to_owned(), json!(eio))]);
        drop(sockets);
        poller.send("1").await;
        until("all are gone", async || server.connections().await == 0.0).await;
    }
    assert_eq!(server.rejected("bad_packet").await, 0.0);
}

#[tokio::test]
async fn an_empty_session_id_is_none() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    for target in
        ["/socket.io/?EIO=4&transport=polling&sid=", "/socket.io/?sid&EIO=4&transport=polling"]
    {
        let answer = Request::get(target).send(server.clients).await.unwrap();
        assert!(answer.status == 200 && answer.text().starts_with("0{"), "{}", answer.text());
    }
    let target = "/socket.io/?EIO=4&transport=websocket&sid=";
    let mut socket = WebSocket::open(server.clients, target).await.unwrap();
    assert!(socket.text().await.starts_with("0{"));
}
