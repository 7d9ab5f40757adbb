use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use http::{Request, StatusCode};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;

async fn bound() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A connection that does not shut down by itself.
fn of(peer: SocketAddr, router: Router, idle_timeout: Duration) -> Connection {
    let (tasks, abort) = (TaskTracker::new(), CancellationToken::new());
    let executor = StreamExecutor { tasks, abort };
    let timeouts = Timeouts { head: idle_timeout, idle: idle_timeout };
    Connection { peer, router, executor, shutdown: CancellationToken::new(), timeouts }
}

#[tokio::test]
async fn a_connection_whose_head_takes_too_long_is_closed() {
    let (listener, address) = bound().await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    let soon = Duration::from_millis(50);
    of(peer, Router::new(), soon).serve(stream).await;
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_connection_without_a_whole_preface_is_closed() {
    let (listener, address) = bound().await;
    for start in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(start).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        of(peer, Router::new(), Duration::from_millis(50)).serve(stream).await;
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0, "{start:?}");
    }
}

#[tokio::test]
async fn handlers_know_the_peer_and_idle_connections_do_not_delay_shutdown() {
    let (listener, address) = bound().await;
    let router = Router::new().route(
        "/",
        get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }),
    );
    let stop = CancellationToken::new();
    let grace = Duration::from_secs(3600);
    let server = tokio::spawn(serve(listener, router, stop.clone(), grace));
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut start = [0; 15];
    client.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200 OK");
    stop.cancel();
    server.await.unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with(&client.local_addr().unwrap().to_string()), "{rest}");
}

#[tokio::test]
async fn connections_are_closed_when_the_grace_period_ends() {
    let (listener, address) = bound().await;
    let asked = Arc::new(Notify::new());
    let asking = asked.clone();
    let never = move || async move {
        asking.notify_one();
        std::future::pending::<()>().await;
    };
    let router = Router::new().route("/", get(never));
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(listener, router, stop.clone(), Duration::ZERO));
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    asked.notified().await;
    stop.cancel();
    server.await.unwrap();
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
}

/// An HTTP/2 client, and its connection.
async fn http2_client(
    address: SocketAddr,
) -> (SendRequest<Body>, JoinHandle<Result<(), hyper::Error>>) {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (client, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    (client, tokio::spawn(connection))
}

/// `/` answers at once, `/held` when `release` is notified, and `/echo` with the request's body.
fn routes(asked: Arc<Notify>, release: Arc<Notify>) -> Router {
    let held = move || async move {
        asked.notify_one();
        release.notified().await;
        "done"
    };
    let echo = post(|body: Bytes| async move { body });
    Router::new().route("/", get(|| async {})).route("/held", get(held)).route("/echo", echo)
}

fn get_request(path: &str) -> Request<Body> {
    Request::get(format!("http://x{path}")).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn an_http2_request_in_progress_is_answered_during_shutdown() {
    let (listener, address) = bound().await;
    let (asked, release, stop) =
        (Arc::new(Notify::new()), Arc::new(Notify::new()), CancellationToken::new());
    let router = routes(asked.clone(), release.clone());
    let grace = Duration::from_secs(3600);
    let server = tokio::spawn(serve(listener, router, stop.clone(), grace));
    let (mut client, connection) = http2_client(address).await;
    let answer = tokio::spawn(client.send_request(get_request("/held")));
    asked.notified().await;
    stop.cancel();
    release.notify_one();
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let body = axum::body::to_bytes(Body::new(answer.into_body()), 100).await.unwrap();
    assert_eq!(&body[..], b"done");
    server.await.unwrap();
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn http2_streams_are_ended_when_the_grace_period_ends() {
    let (listener, address) = bound().await;
    let (asked, stop) = (Arc::new(Notify::new()), CancellationToken::new());
    let router = routes(asked.clone(), Arc::default());
    let server = tokio::spawn(serve(listener, router, stop.clone(), Duration::ZERO));
    let (mut client, _connection) = http2_client(address).await;
    let answer = tokio::spawn(client.send_request(get_request("/held")));
    asked.notified().await;
    stop.cancel();
    server.await.unwrap();
    assert!(answer.await.unwrap().is_err());
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed_and_a_busy_one_is_kept() {
    let (listener, address) = bound().await;
    let (asked, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let router = routes(asked.clone(), release.clone());
    let soon = Duration::from_millis(20);
    let (mut client, idle) = http2_client(address).await;
    let (stream, peer) = listener.accept().await.unwrap();
    let busy = tokio::spawn(of(peer, router.clone(), soon).serve(stream));
    let answer = tokio::spawn(client.send_request(get_request("/held")));
    asked.notified().await;

    // While this one is idle for long enough to be closed, the other one has a request in progress.
    let (_idle_client, closed) = http2_client(address).await;
    let (stream, peer) = listener.accept().await.unwrap();
    of(peer, router, soon).serve(stream).await;
    closed.await.unwrap().unwrap();
    assert!(!busy.is_finished());

    release.notify_one();
    assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::OK);
    busy.await.unwrap();
    idle.await.unwrap().unwrap();
}

#[tokio::test]
async fn streams_whose_bodies_never_come_do_not_keep_others_waiting() {
    let (listener, address) = bound().await;
    let stop = CancellationToken::new();
    let router = routes(Arc::default(), Arc::default());
    let server = tokio::spawn(serve(listener, router, stop.clone(), Duration::ZERO));
    let (mut staller, _connection) = http2_client(address).await;
    let stalled = (0..99).map(|_| {
        let body = futures_util::stream::pending::<Result<Bytes, Infallible>>();
        let request = Request::post("http://x/echo").body(Body::from_stream(body)).unwrap();
        tokio::spawn(staller.send_request(request))
    });
    let stalled: Vec<_> = stalled.collect();
    assert_eq!(staller.send_request(get_request("/")).await.unwrap().status(), StatusCode::OK);
    let (mut other, _connection) = http2_client(address).await;
    assert_eq!(other.send_request(get_request("/")).await.unwrap().status(), StatusCode::OK);
    stop.cancel();
    server.await.unwrap();
    for answer in stalled {
        assert!(answer.await.unwrap().is_err());
    }
}
