//! The HTTP API over HTTP/2 with prior knowledge.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use futures_util::stream;
use http::{Request, StatusCode};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::client::Member;
use crate::harness::{Rookery, shared_permit, until, within};

/// The most streams on a connection: what the server says in its settings.
const MAX_STREAMS: usize = 100;

/// An HTTP/2 connection to the API.
struct Publisher {
    sender: SendRequest<Body>,
}

impl Publisher {
    async fn connect(server: &Rookery) -> Self {
        let stream = TcpStream::connect(server.internal).await.unwrap();
        let (executor, stream) = (TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = http2::handshake(executor, stream).await.unwrap();
        tokio::spawn(connection);
        Publisher { sender }
    }

    /// The status and the JSON body of the answer to a publication.
    async fn post(&mut self, body: impl Into<Body>) -> hyper::Result<(StatusCode, Value)> {
        let request = Request::post("http://localhost/api/publish")
            .header("content-type", "application/json")
            .body(body.into())
            .unwrap();
        self.sender.ready().await?;
        let answer = within("the answer", self.sender.send_request(request)).await?;
        let status = answer.status();
        let body = axum::body::to_bytes(Body::new(answer.into_body()), 1 << 20).await.unwrap();
        Ok((status, serde_json::from_slice(&body).unwrap()))
    }

    async fn publish(&mut self, room: &str, arg: Value) -> Value {
        let body = json!({ "room": room, "event": "e", "args": [arg] }).to_string();
        let (status, answer) = self.post(body).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }
}

/// A body that is sent piece by piece; it ends when the sender is dropped.
fn pieces() -> (mpsc::UnboundedSender<&'static str>, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let next = |mut receiver: mpsc::UnboundedReceiver<&'static str>| async {
        let piece = Bytes::from(receiver.recv().await?);
        Some((Ok::<_, Infallible>(piece), receiver))
    };
    (sender, Body::from_stream(stream::unfold(receiver, next)))
}

#[tokio::test]
async fn a_publication_over_http2_reaches_the_room() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let mut member = Member::connect(&server).await;
    member.join("r").await;
    let mut publisher = Publisher::connect(&server).await;
    let answer = publisher.publish("r", json!({ "n": 1 })).await;
    assert_eq!((&answer["scope"], &answer["members"]), (&json!("local"), &json!(1)), "{answer}");
    assert_eq!(member.event().await, ("e".to_owned(), json!({ "n": 1 })));
    let (status, problem) = publisher.post(r#"{"room": 1}"#).await.unwrap();
    assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!("room")), "{problem}");
}

#[tokio::test]
async fn every_publication_of_many_concurrent_streams_is_delivered_once() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let mut member = Member::connect(&server).await;
    member.join("r").await;
    let publisher = Publisher::connect(&server).await;
    let n = 5 * MAX_STREAMS;
    let streams: Vec<_> = (0..n)
        .map(|i| {
            let mut publisher = Publisher { sender: publisher.sender.clone() };
            tokio::spawn(async move { publisher.publish("r", json!(i)).await })
        })
        .collect();
    for stream in streams {
        assert_eq!(stream.await.unwrap()["members"], 1);
    }
    let mut received = Vec::new();
    for _ in 0..n {
        received.push(member.event().await.1.as_u64().unwrap());
    }
    received.sort_unstable();
    assert!(received.iter().copied().eq(0..n as u64));
}

#[tokio::test]
async fn a_stream_in_progress_is_answered_during_shutdown() {
    let _permit = shared_permit().await;
    let mut server = Rookery::start("").await;
    let mut publisher = Publisher::connect(&server).await;
    let (body, rest) = pieces();
    body.send(r#"{"room": "r", "#).unwrap();
    let answer = tokio::spawn(async move { publisher.post(rest).await });
    let mut other = Publisher::connect(&server).await;
    other.publish("r", json!(1)).await;
    server.terminate();
    // The listener is closed, and each client is told to open no more streams.
    until("no stream can be opened", async || other.post("{}").await.is_err()).await;
    body.send(r#""event": "e"}"#).unwrap();
    drop(body);
    let (status, answer) = answer.await.unwrap().unwrap();
    assert_eq!(status, StatusCode::OK, "{answer}");
    until("the process has ended", async || server.has_ended()).await;
}

#[tokio::test]
async fn streams_without_a_body_hold_no_memory_that_others_need() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let publisher = Publisher::connect(&server).await;
        for _ in 0..MAX_STREAMS {
            let mut publisher = Publisher { sender: publisher.sender.clone() };
            let (body, rest) = pieces();
            body.send(r#"{"room": "r", "#).unwrap();
            stalled.push((body, tokio::spawn(async move { publisher.post(rest).await })));
        }
    }
    let mut other = Publisher::connect(&server).await;
    for i in 0..10 {
        other.publish("r", json!(i)).await;
    }
    // The last one is answered, so all of them were taken.
    let (body, answer) = stalled.pop().unwrap();
    body.send(r#""event": "e"}"#).unwrap();
    drop(body);
    assert_eq!(answer.await.unwrap().unwrap().0, StatusCode::OK);
    assert!(stalled.iter().all(|(_, answer)| !answer.is_finished()));
}
