//! `socketio.perMessageDeflate`: compressed messages on WebSockets (RFC 7692).

use serde_json::{Value, json};

use crate::client::{Member, Poller, parse_event};
use crate::harness::{Rookery, exclusive_permit, shared_permit, until};
use crate::http::{Request, Response};
use crate::websocket::{Frame, WebSocket, compressed, compressed_frame, frame, handshake};

const CONFIG: &str =
    "socketio: { perMessageDeflate: { threshold: 200 } }\nlimits: { eventsPerSecond: 1000 }\n";

const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// What browsers offer.
const OFFER: &str = "permessage-deflate; client_max_window_bits";

const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

fn offering(target: &str, offer: &str) -> Request {
    handshake(target).header("sec-websocket-extensions", offer)
}

/// A member of a room that offers compressed messages; `parameters` as in [`Member::connect_with`].
async fn compressing(server: &Rookery, parameters: &str, room: &str) -> Member {
    let request = offering(&format!("{WEBSOCKET}{parameters}"), OFFER);
    let mut member = Member::request(server, &request).await;
    assert_eq!(member.socket.agreed.as_deref(), Some(AGREED));
    member.join(room).await;
    member
}

async fn post(server: &Rookery, body: Value) -> Response {
    let request = Request::post("/api/publish", body.to_string());
    request.header("content-type", "application/json").send(server.internal).await.unwrap()
}

/// Text that becomes smaller, and has no character that JSON escapes.
fn text(length: usize) -> String {
    "the quick brown fox, ".chars().cycle().take(length).collect()
}

/// The frames that answer these bytes of a member with compressed messages, and the code that closes it.
async fn close_of(server: &Rookery, bytes: &[u8]) -> Option<u16> {
    let mut member = compressing(server, "", "a room").await;
    // The server may close before everything is written.
    let _ = member.socket.write(bytes).await;
    member.socket.closed().await;
    let close = member.socket.close?;
    close.first_chunk().map(|code| u16::from_be_bytes(*code))
}

/// A megabyte that stands for a gigabyte: a stored block that is empty begins each further stream.
fn bomb() -> Vec<u8> {
    let zeros = miniz_oxide::deflate::compress_to_vec(&vec![0; 64 << 20], 9);
    zeros.repeat(16)
}

#[tokio::test]
async fn offers_are_answered_as_the_rfc_has_it_and_no_handshake_fails() {
    let _permit = shared_permit().await;
    let server = Rookery::start(CONFIG).await;
    let confirmed = format!("{AGREED}; server_max_window_bits=15");
    for (offers, agreed) in [
        (&[][..], None),
        (&["permessage-deflate"][..], Some(AGREED)),
        (&[OFFER], Some(AGREED)),
        (&["permessage-deflate; client_max_window_bits=\"9\""], Some(AGREED)),
        (
            &["permessage-deflate; client_max_window_bits; server_max_window_bits=15"],
            Some(&confirmed),
        ),
        (&["permessage-deflate; server_max_window_bits=10"], None),
        (&["permessage-deflate; server_max_window_bits=10, permessage-deflate"], Some(AGREED)),
        (&["mux", "permessage-deflate; unknown", "permessage-deflate"], Some(AGREED)),
        (&["permessage-deflate; client_max_window_bits; client_max_window_bits"], None),
        (&["permessage-deflate; server_no_context_takeover=1"], None),
        (&["permessage-deflate;;"], None),
        (&["x-webkit-deflate-frame"], None),
    ] {
        for eio in [4, 3] {
            let target = format!("/socket.io/?EIO={eio}&transport=websocket");
            let request = offers.iter().fold(handshake(&target), |request, offer| {
                request.header("sec-websocket-extensions", offer)
            });
            let mut socket = WebSocket::request(server.clients, &request).await.unwrap();
            assert_eq!(socket.agreed.as_deref(), agreed, "{offers:?}");
            assert!(socket.text().await.starts_with("0{"));
            socket.send("40").await;
            assert!(socket.text().await.starts_with("40"), "{offers:?}");
        }
    }
}

#[tokio::test]
async fn without_the_key_nothing_is_agreed_on() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let mut member = Member::request(&server, &offering(WEBSOCKET, OFFER)).await;
    assert_eq!(member.socket.agreed, None);
    member.join("room").await;
    server.publish("room", "e", json!(text(10_000))).await;
    assert_eq!(member.event().await.1, json!(text(10_000)));
    member.socket.write(&compressed_frame(0xc1, b"42[\"e\"]")).await.unwrap();
    member.socket.closed().await;
    assert_eq!(member.socket.close, Some(1002u16.to_be_bytes().to_vec()));
}

#[tokio::test]
async fn a_message_is_compressed_from_the_threshold_on_if_that_makes_it_smaller() {
    let _permit = shared_permit().await;
    let server = Rookery::start(CONFIG).await;
    let mut member = compressing(&server, "", "room").await;
    let before = member.socket.compressed;
    // `42["e","…"]` has ten more bytes.
    for (length, compressed) in [(189, 0), (190, 1), (50_000, 2)] {
        server.publish("room", "e", json!(text(length))).await;
        assert_eq!(member.event().await, ("e".to_owned(), json!(text(length))));
        assert_eq!(member.socket.compressed - before, compressed, "{length}");
    }
    let bytes = async |stage: &str| {
        server.metric(&format!("rookery_deflate_bytes_total{{stage=\"{stage}\"}}")).await
    };
    let (plain, sent) = (bytes("before").await, bytes("after").await);
    assert!((50_380.0..51_000.0).contains(&plain) && sent < 5_000.0, "{plain}, {sent}");
    let (mut seed, before) = (1u32, member.socket.compressed);
    let noise: Vec<u8> = (0..5_000)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .collect();
    let binary =
        json!({ "$binary": base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &noise) });
    let sent = json!({ "room": "room", "event": "e", "args": [binary] });
    assert_eq!(post(&server, sent).await.status, 200);
    assert!(member.packet().await.unwrap().starts_with("451-"));
    assert_eq!(member.socket.next().await, Some(Frame::Binary(noise)));
    assert_eq!(member.socket.compressed, before, "noise");
}

#[tokio::test]
async fn members_with_and_without_compression_hear_the_same_in_order() {
    const EVENTS: usize = 60;
    let _permit = shared_permit().await;
    let server = Rookery::start(CONFIG).await;
    let mut plain = Member::connect(&server).await;
    plain.join("room").await;
    let mut members = [
        compressing(&server, "", "room").await,
        compressing(&server, "&b64=1", "room").await,
        plain,
    ];
    let poller = Poller::connect(&server, 4).await;
    poller.join("room").await;
    let publications = (0..EVENTS).map(|n| {
        let arg = json!({ "n": n, "text": text(n * 97 % 1_500) });
        json!({ "room": "room", "event": "e", "args": [arg] })
    });
    let publications: Vec<Value> = publications.collect();
    // A batch of the API becomes batches of the shards, of several publications in one write.
    let request = Request::post("/api/publish/batch", json!(publications).to_string());
    let request = request.header("content-type", "application/json");
    assert_eq!(request.send(server.internal).await.unwrap().status, 200);
    let expected: Vec<Value> = publications.iter().map(|p| p["args"][0].clone()).collect();
    for (member, compresses) in members.iter_mut().zip([true, true, false]) {
        let mut heard = Vec::new();
        while heard.len() < EVENTS {
            heard.push(member.event().await.1);
        }
        assert_eq!(heard, expected);
        assert_eq!(member.socket.compressed > EVENTS / 2, compresses);
    }
    let mut heard = Vec::new();
    while heard.len() < EVENTS {
        heard.extend(poller.events().await.into_iter().map(|(_, arg)| arg));
    }
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn attachments_are_compressed_as_each_client_takes_them() {
    let _permit = shared_permit().await;
    let server = Rookery::start(CONFIG).await;
    let bytes = text(3_000).into_bytes();
    let base64 = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &bytes);
    let typed = [&[4], &bytes[..]].concat();
    for (eio, parameters, attachment) in [
        (4, "", Frame::Binary(bytes.clone())),
        (3, "", Frame::Binary(typed)),
        (4, "&b64=1", Frame::Text(format!("b{base64}"))),
        (3, "&b64=1", Frame::Text(format!("b4{base64}"))),
    ] {
        let target = format!("/socket.io/?EIO={eio}&transport=websocket{parameters}");
        let offer = offering(&target, OFFER);
        let mut socket = WebSocket::request(server.clients, &offer).await.unwrap();
        socket.send("40").await;
        socket.send("421[\"join\",{\"room\":\"r\"}]").await;
        while !socket.text().await.starts_with("431[") {}
        let before = socket.compressed;
        let arg = json!({ "bytes": { "$binary": base64 }, "text": text(1_000) });
        let sent = json!({ "room": "r", "event": "e", "args": [arg] });
        assert_eq!(post(&server, sent).await.status, 200);
        assert!(socket.text().await.starts_with("451-[\"e\""));
        assert_eq!(socket.next().await, Some(attachment), "EIO={eio}{parameters}");
        assert_eq!(socket.compressed - before, 2);
    }
}

#[tokio::test]
async fn a_publication_that_says_so_is_not_compressed() {
    let _permit = shared_permit().await;
    let server = Rookery::start(CONFIG).await;
    let mut member = compressing(&server, "", "room").await;
    for (flag, compressed) in
        [(json!({}), 1), (json!({ "compress": false }), 0), (json!({ "compress": true }), 1)]
    {
        let before = member.socket.compressed;
        let mut body = json!({ "room": "room", "event": "e", "args": [text(1_000)] });
        body.as_object_mut().unwrap().extend(flag.as_object().unwrap().clone());
        assert_eq!(post(&server, body).await.status, 200);
        assert_eq!(member.event().await.1, json!(text(1_000)));
        assert_eq!(member.socket.compressed - before, compressed, "{flag}");
    }
}

#[tokio::test]
async fn a_client_sends_compressed_messages_whole_and_in_fragments() {
    let _permit = shared_permit().await;
    let server = Rookery::start(CONFIG).await;
    let mut listener = Member::connect(&server).await;
    listener.join("room").await;
    let mut member = compressing(&server, "", "another room").await;
    let event = |n: usize| {
        let data = json!({ "n": n, "text": text(n * 1_000) });
        (format!("42{}", json!(["publish", { "room": "room", "event": "e", "data": data }])), data)
    };
    let mut expected = Vec::new();
    for n in 0..30 {
        let (packet, data) = event(n);
        let bytes = compressed(packet.as_bytes());
        let (first, rest) = bytes.split_at(bytes.len() / 3);
        let (second, third) = rest.split_at(rest.len() / 2);
        let frames = match n % 3 {
            0 => frame(0x81, packet.as_bytes()),
            1 => frame(0xc1, &bytes),
            // A ping between the fragments is answered.
            _ => [frame(0x41, first), frame(0x00, second), frame(0x89, b""), frame(0x80, third)]
                .concat(),
        };
        // Byte for byte the frames arrive as they like.
        for part in frames.chunks(frames.len() / 2 + 1) {
            member.socket.write(part).await.unwrap();
        }
        expected.push(data);
    }
    for data in expected {
        assert_eq!(listener.event().await.1, data);
    }
    // Binary too.
    let header =
        r#"451-["publish",{"room":"room","event":"e","data":{"_placeholder":true,"num":0}}]"#;
    let attachment = text(2_000).into_bytes();
    member.socket.send_compressed(header).await;
    member.socket.write(&compressed_frame(0xc2, &attachment)).await.unwrap();
    assert!(listener.packet().await.unwrap().starts_with("451-[\"e\""));
    assert_eq!(listener.socket.next().await, Some(Frame::Binary(attachment)));
}

#[tokio::test]
async fn a_session_upgrades_by_compressed_packets() {
    let _permit = shared_permit().await;
    let server = Rookery::start(CONFIG).await;
    let poller = Poller::connect(&server, 4).await;
    poller.join("room").await;
    // An earlier attempt with another agreement leaves nothing behind.
    drop(poller.upgrade().await.unwrap());
    let offer = offering(&poller.target("websocket"), OFFER);
    let mut upgraded = None;
    until("the next attempt is taken", async || {
        upgraded = WebSocket::request(server.clients, &offer).await.ok();
        upgraded.is_some()
    })
    .await;
    let mut socket = upgraded.unwrap();
    // Browsers compress even these.
    socket.write(&compressed_frame(0xc1, b"2probe")).await.unwrap();
    assert_eq!(socket.text().await, "3probe");
    let ask = json!(["publish", { "room": "room", "event": "e", "data": text(5_000) }]);
    let first = compressed_frame(0xc1, format!("42{ask}").as_bytes());
    socket.write(&[compressed_frame(0xc1, b"5"), first].concat()).await.unwrap();
    let (name, arg) = parse_event(&socket.text().await).unwrap();
    assert_eq!((name.as_str(), arg), ("e", json!(text(5_000))));
    assert_eq!(socket.compressed, 1);
}

#[tokio::test]
async fn a_close_frame_says_what_is_wrong_with_a_compressed_message() {
    let _permit = shared_permit().await;
    let server = Rookery::start(&CONFIG.replace("{ perM", "{ maxPayload: 10000, perM")).await;
    let hello = compressed(b"42[\"e\"]");
    for (what, code, bytes) in [
        ("too long inflated", 1009, compressed_frame(0xc1, text(10_001).as_bytes())),
        ("too long inflated, in fragments", 1009, {
            let bytes = compressed(text(10_001).as_bytes());
            [frame(0x41, &bytes[..9]), frame(0x80, &bytes[9..])].concat()
        }),
        ("no DEFLATE", 1007, frame(0xc1, b"\x07\x08")),
        ("half a message", 1007, frame(0xc1, &compressed(text(500).as_bytes())[..20])),
        ("nothing", 1007, frame(0xc1, b"")),
        ("text that is not UTF-8", 1007, compressed_frame(0xc1, b"42[\"e\",\"\xff\"]")),
        ("empty blocks", 1008, frame(0xc1, &b"\x02\x08\x20\x80\x00".repeat(1_500))),
        ("a compressed ping", 1002, frame(0xc9, &hello)),
        ("a compressed close", 1002, frame(0xc8, &hello)),
        (
            "a compressed continuation",
            1002,
            [frame(0x41, &hello[..3]), frame(0xc0, &hello[3..])].concat(),
        ),
        ("the second reserved bit", 1002, frame(0xe1, &hello)),
    ] {
        assert_eq!(close_of(&server, &bytes).await, Some(code), "{what}");
    }
    assert_eq!(server.rejected("payload").await, 2.0);
    assert_eq!(server.rejected("bad_packet").await, 9.0);
    let mut healthy = compressing(&server, "", "room").await;
    healthy.socket.send_compressed("421[\"join\",{\"room\":\"x\"}]").await;
    assert!(healthy.packet().await.unwrap().contains("SUCCESS"));
}

#[tokio::test]
async fn bombs_take_no_memory_and_harm_nobody_else() {
    const BOMBS: usize = 30;
    let _permit = exclusive_permit().await;
    let server = Rookery::start(CONFIG).await;
    let mut healthy = compressing(&server, "", "room").await;
    // What the first message takes stays.
    healthy.ask("join", json!({ "room": text(200) })).await;
    let bomb = bomb();
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    let bomb = frame(0xc1, &bomb);
    let before = memory(&server, "VmHWM");
    for n in 0..BOMBS {
        assert_eq!(close_of(&server, &bomb).await, Some(1009), "{n}");
        server.publish("room", "n", json!(n)).await;
        assert_eq!(healthy.event().await, ("n".to_owned(), json!(n)));
    }
    assert_eq!(server.rejected("payload").await, BOMBS as f64);
    let grown = memory(&server, "VmHWM") - before;
    // Several messages of 1 MiB, as they arrive and inflated.
    assert!(grown < 24 << 20, "{grown}");
}

#[tokio::test]
async fn limits_count_the_bytes_that_a_message_stands_for() {
    let _permit = shared_permit().await;
    let config = format!(
        "{}limits: {{ bytesPerSecond: 10000 }}\n",
        CONFIG.split_inclusive('\n').next().unwrap()
    );
    let server = Rookery::start(&config).await;
    let mut member = compressing(&server, "", "room").await;
    // Becomes less than a quarter.
    let records: Vec<u32> = (0..1_500u32).map(|n| n.wrapping_mul(2_654_435_761) >> 18).collect();
    let data = json!({ "records": records.iter().map(|n| json!({ "user": n })).collect::<Vec<_>>(), "text": text(25_000) });
    let ask = |id: u32| {
        format!("42{id}{}", json!(["publish", { "room": "r", "event": "e", "data": data }]))
    };
    // The first one beyond is permitted, however large; the next one is not. Between them, the client
    // is not read for as long as makes up for the bytes that were not sent.
    let first = ask(7);
    let sent = compressed(first.as_bytes()).len();
    assert!(sent < 10_000 && first.len() > 40_000, "{sent} of {}", first.len());
    member.socket.send_compressed(&first).await;
    member.socket.send_compressed(&ask(8)).await;
    assert!(member.packet().await.unwrap().contains("SUCCESS"));
    assert!(member.packet().await.unwrap().contains("rate_limited"));
    assert_eq!(server.rejected("bytes").await, 1.0);
}

#[tokio::test]
async fn a_client_whose_messages_stand_for_much_more_is_read_at_the_rate_of_its_limit() {
    const MESSAGES: u32 = 30;
    const SIZE: usize = 100_000;
    let _permit = shared_permit().await;
    let limits = format!("limits: {{ bytesPerSecond: {SIZE}, eventsPerSecond: 100000 }}\n");
    let server =
        Rookery::start(&format!("{}{limits}", CONFIG.split_inclusive('\n').next().unwrap())).await;
    let mut hostile = compressing(&server, "", "room").await;
    let mut healthy = Member::connect(&server).await;
    let publish = json!(["publish", { "room": "r", "event": "e", "data": text(SIZE) }]);
    let message = compressed_frame(0xc1, format!("42{publish}").as_bytes());
    assert!(message.len() < SIZE / 50, "{}", message.len());
    hostile.socket.write(&message.repeat(MESSAGES as usize)).await.unwrap();
    let handled = async || {
        let published = "rookery_publications_total{source=\"client\"}";
        server.metric(published).await + server.rejected("bytes").await
    };
    until("the first one is handled", async || handled().await > 0.0).await;
    // All of them would be by the end of this.
    for _ in 0..300 {
        healthy.join("room").await;
    }
    let handled = handled().await;
    assert!(handled < f64::from(MESSAGES), "{handled}, one each second");
}

/// A field of the process's status, in bytes.
fn memory(server: &Rookery, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}
