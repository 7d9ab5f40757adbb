//! The client against a scripted WebSocket server.

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

use super::*;

const OPEN: &str =
    r#"0{"sid":"e","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":100000}"#;
const LONG: Duration = Duration::from_secs(30);

struct Peer(WebSocketStream<TcpStream>);

impl Peer {
    async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    async fn attach(&mut self, bytes: &'static [u8]) {
        self.0.send(Message::binary(bytes)).await.unwrap();
    }

    async fn text(&mut self) -> String {
        match self.0.next().await.unwrap().unwrap() {
            Message::Text(text) => text.to_string(),
            other => panic!("expected text, got {other:?}"),
        }
    }

    async fn binary(&mut self) -> Vec<u8> {
        match self.0.next().await.unwrap().unwrap() {
            Message::Binary(bytes) => bytes.to_vec(),
            other => panic!("expected bytes, got {other:?}"),
        }
    }
}

/// Starts a server that runs `script` with its only client.
async fn server<F: Future<Output = ()> + Send + 'static>(
    script: impl FnOnce(Peer) -> F + Send + 'static,
) -> (Target, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let handle = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        script(Peer(accept_async(stream).await.unwrap())).await;
    });
    (target, handle)
}

#[tokio::test]
async fn it_connects_with_its_token_and_exchanges_events() {
    let (target, server) = server(|mut peer| async move {
        peer.send(OPEN).await;
        assert_eq!(peer.text().await, r#"40/n,{"token":"T"}"#);
        peer.send(r#"40/n,{"sid":"abc"}"#).await;
        assert_eq!(peer.text().await, r#"42/n,["hi",1]"#);
        peer.send("2").await;
        peer.send(r#"42/n,5["there",{"b":1,"a":2}]"#).await;
        assert_eq!(peer.text().await, "3");
        assert_eq!(peer.text().await, r#"43/n,5["ok"]"#);
    })
    .await;
    let target = target.with_namespace("n").unwrap().with_token(Some("T"));
    let mut client = Client::connect(&target).await.unwrap();
    assert_eq!(client.session_id(), "abc");
    client.emit("hi", &[Data::Number(1.into())]).await.unwrap();
    let event = client.next().await.unwrap();
    assert_eq!((event.name.as_str(), event.ack_id), ("there", Some(5)));
    assert!(matches!(&event.args[0], Data::Object(entries) if entries[0].0 == "b"));
    client.ack(5, &["ok".into()]).await.unwrap();
    server.await.unwrap();
}

#[tokio::test]
async fn binary_arguments_are_sent_and_received() {
    let (target, server) = server(|mut peer| async move {
        peer.send(OPEN).await;
        peer.text().await;
        peer.send(r#"40{"sid":"abc"}"#).await;
        assert_eq!(peer.text().await, r#"451-["b",{"_placeholder":true,"num":0}]"#);
        assert_eq!(peer.binary().await, b"out");
        peer.send(r#"452-["b",{"_placeholder":true,"num":1},[{"_placeholder":true,"num":0}]]"#)
            .await;
        peer.attach(b"first").await;
        peer.attach(b"second").await;
    })
    .await;
    let mut client = Client::connect(&target).await.unwrap();
    client.emit("b", &[Data::Binary("out".into())]).await.unwrap();
    let event = client.next().await.unwrap();
    assert_eq!(
        event.args,
        [Data::Binary("second".into()), Data::Array(vec![Data::Binary("first".into())])]
    );
    server.await.unwrap();
}

#[tokio::test]
async fn events_that_arrive_before_an_acknowledgement_are_kept() {
    let (target, server) = server(|mut peer| async move {
        peer.send(OPEN).await;
        peer.text().await;
        peer.send(r#"40{"sid":"abc"}"#).await;
        assert_eq!(peer.text().await, r#"420["join",{"room":"r"}]"#);
        peer.send(r#"42["early"]"#).await;
        peer.send(r#"437["of another"]"#).await;
        peer.send(r#"430[{"status":"SUCCESS"}]"#).await;
    })
    .await;
    let mut client = Client::connect(&target).await.unwrap();
    let room = Data::Object(vec![("room".into(), "r".into())]);
    let answer = client.emit_with_ack("join", &[room], LONG).await.unwrap();
    assert_eq!(answer[0].get("status"), Some(&"SUCCESS".into()));
    assert_eq!(client.next().await.unwrap().name, "early");
    server.await.unwrap();
}

#[tokio::test]
async fn a_refused_connect_carries_its_code() {
    let (target, server) = server(|mut peer| async move {
        peer.send(OPEN).await;
        assert_eq!(peer.text().await, "40");
        peer.send(r#"44{"message":"no token","data":{"code":"unauthenticated"}}"#).await;
    })
    .await;
    let error = Client::connect(&target).await.unwrap_err();
    assert_eq!(error.to_string(), "refused by the server: no token (unauthenticated)");
    assert!(!error.is_temporary());
    server.await.unwrap();
}

#[tokio::test]
async fn a_disconnect_is_final_and_a_lost_connection_is_temporary() {
    for (last, temporary) in [("41", false), ("1", true)] {
        let (target, server) = server(move |mut peer| async move {
            peer.send(OPEN).await;
            peer.text().await;
            peer.send(r#"40{"sid":"abc"}"#).await;
            peer.send(last).await;
        })
        .await;
        let mut client = Client::connect(&target).await.unwrap();
        let error = client.next().await.unwrap_err();
        assert_eq!(error.is_temporary(), temporary, "{error}");
        assert_eq!(matches!(error, ClientError::Disconnected), !temporary);
        server.await.unwrap();
    }
}

#[tokio::test]
async fn an_invalid_packet_from_the_server_is_an_error() {
    for nonsense in ["hello", "42{", "451-[\"b\"]\u{0}", "42[\"connect\"]", "4"] {
        let (target, server) = server(move |mut peer| async move {
            peer.send(OPEN).await;
            peer.text().await;
            peer.send(r#"40{"sid":"abc"}"#).await;
            peer.send(nonsense).await;
            peer.send("42[\"after\"]").await;
        })
        .await;
        let mut client = Client::connect(&target).await.unwrap();
        let error = client.next().await.unwrap_err();
        assert!(
            matches!(error, ClientError::Engine(_) | ClientError::Packet(_)),
            "{nonsense}: {error}"
        );
        server.await.unwrap();
    }
}

#[tokio::test]
async fn a_silent_server_counts_as_a_lost_connection() {
    let (target, _server) = server(|mut peer| async move {
        peer.send(r#"0{"sid":"e","upgrades":[],"pingInterval":200,"pingTimeout":100}"#).await;
        peer.text().await;
        peer.send(r#"40{"sid":"abc"}"#).await;
        std::future::pending::<()>().await;
    })
    .await;
    let target = target.with_timeout(LONG * 100);
    let mut client = Client::connect(&target).await.unwrap();
    let error = client.next().await.unwrap_err();
    assert_eq!(error.to_string(), "the connection was lost: no message for 300ms");
}

#[tokio::test]
async fn an_unreachable_server_error_says_how_to_start_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Client::connect(&Target::new(&url).unwrap()).await.unwrap_err();
    assert!(error.is_temporary());
    let error = error.to_string();
    assert!(error.contains(&url) && error.contains("rookery serve"), "{error}");
}

#[test]
fn a_target_accepts_http_and_websocket_urls_only() {
    let endpoint = |url: &str| Target::new(url).unwrap().with_path("/a/b").endpoint().to_string();
    assert_eq!(endpoint("https://h"), "wss://h/a/b/?EIO=4&transport=websocket");
    assert_eq!(endpoint("ws://h:1/x?y#z"), "ws://h:1/a/b/?EIO=4&transport=websocket");
    assert!(Target::new("localhost:3000").is_err());
    assert!(Target::new("ftp://h").is_err());
    assert!(Target::new("http://h").unwrap().with_namespace("/a,b").is_err());
}
