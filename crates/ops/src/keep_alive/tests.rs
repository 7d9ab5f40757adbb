use std::convert::Infallible;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;

const TIMEOUTS: Timeouts =
    Timeouts { head: Duration::from_secs(10), idle: Duration::from_secs(120) };

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// A connection whose requests are answered after `pause`, and its client.
fn connect(
    pause: Duration,
    shutdown: &CancellationToken,
) -> (DuplexStream, JoinHandle<Ended<Result<(), ()>>>) {
    let (client, server) = duplex(1 << 16);
    let shutdown = shutdown.clone();
    let served = tokio::spawn(async move {
        let activity = Activity::new(Instant::now());
        let stream = TokioIo::new(ActivityStream::new(server, activity.clone()));
        let ending = shutdown.clone();
        let service = service_fn(|request: Request<Incoming>| {
            let in_progress = activity.request();
            let header = KeepAliveHeader::of(request.version(), request.headers());
            let ending = ending.clone();
            async move {
                tokio::time::sleep(pause).await;
                let mut response = Response::new(Body::from("ok"));
                let (status, is_ending) = (response.status(), ending.is_cancelled());
                header.add(status, response.headers_mut(), TIMEOUTS.idle, is_ending);
                drop(in_progress);
                Ok::<_, Infallible>(response)
            }
        });
        let mut connection = pin!(http1::Builder::new().serve_connection(stream, service));
        let end = |connection: Pin<&mut _>| http1::Connection::graceful_shutdown(connection);
        match run(connection.as_mut(), end, &activity, TIMEOUTS, &shutdown).await {
            Ended::Closed(result) => Ended::Closed(result.map_err(drop)),
            Ended::HeadTimeout => Ended::HeadTimeout,
            Ended::Unused => Ended::Unused,
        }
    });
    (client, served)
}

async fn response(client: &mut DuplexStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\nok") {
        assert_ne!(client.read_buf(&mut read).await.unwrap(), 0, "{read:?}");
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_longer_than_it_says() {
    let (mut client, served) = connect(Duration::ZERO, &CancellationToken::new());
    for _ in 0..3 {
        client.write_all(REQUEST).await.unwrap();
        let answer = response(&mut client).await;
        assert!(
            answer.contains("connection: keep-alive\r\nkeep-alive: timeout=120\r\n"),
            "{answer}"
        );
        tokio::time::sleep(Duration::from_secs(121)).await;
    }
    let start = Instant::now();
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    assert!(start.elapsed() < LEEWAY);
    drop(client);
    assert_eq!(served.await.unwrap(), Ended::Closed(Ok(())));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_arrive_in_time_ends_the_connection() {
    for start in [&b""[..], b"GET / HTTP/1.1\r\nhost:"] {
        let (mut client, served) = connect(Duration::ZERO, &CancellationToken::new());
        client.write_all(start).await.unwrap();
        let begun = Instant::now();
        assert_eq!(served.await.unwrap(), Ended::HeadTimeout);
        assert!(begun.elapsed() < TIMEOUTS.head + LEEWAY);
    }
    let (mut client, served) = connect(Duration::ZERO, &CancellationToken::new());
    client.write_all(REQUEST).await.unwrap();
    response(&mut client).await;
    let begun = Instant::now();
    client.write_all(b"G").await.unwrap();
    assert_eq!(served.await.unwrap(), Ended::HeadTimeout);
    assert!(begun.elapsed() < TIMEOUTS.head + LEEWAY);
}

#[tokio::test(start_paused = true)]
async fn a_request_in_progress_may_take_any_time() {
    let (mut client, _served) = connect(Duration::from_secs(3600), &CancellationToken::new());
    client.write_all(REQUEST).await.unwrap();
    response(&mut client).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_arriving_at_shutdown_is_answered() {
    let shutdown = CancellationToken::new();
    let (mut client, served) = connect(Duration::ZERO, &shutdown);
    client.write_all(REQUEST).await.unwrap();
    response(&mut client).await;
    client.write_all(&REQUEST[..5]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    shutdown.cancel();
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.write_all(&REQUEST[5..]).await.unwrap();
    assert!(response(&mut client).await.contains("connection: close\r\n"));
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    drop(client);
    assert_eq!(served.await.unwrap(), Ended::Closed(Ok(())));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_a_new_and_an_idle_connection_at_once() {
    let shutdown = CancellationToken::new();
    let (_new, unused) = connect(Duration::ZERO, &shutdown);
    let (mut client, idle) = connect(Duration::ZERO, &shutdown);
    client.write_all(REQUEST).await.unwrap();
    response(&mut client).await;
    shutdown.cancel();
    assert_eq!(unused.await.unwrap(), Ended::Unused);
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    drop(client);
    assert_eq!(idle.await.unwrap(), Ended::Closed(Ok(())));
}

#[test]
fn what_a_response_says_follows_the_request() {
    let says = |version, connection: &'static str, is_ending| {
        let mut request = HeaderMap::new();
        if !connection.is_empty() {
            request.insert(CONNECTION, HeaderValue::from_static(connection));
        }
        let mut response = HeaderMap::new();
        let header = KeepAliveHeader::of(version, &request);
        header.add(StatusCode::OK, &mut response, Duration::from_secs(120), is_ending);
        response.get(CONNECTION).cloned().map(|v| v.to_str().unwrap_or_default().to_owned())
    };
    assert_eq!(says(Version::HTTP_11, "", false).as_deref(), Some("keep-alive"));
    assert_eq!(says(Version::HTTP_11, "", true).as_deref(), Some("close"));
    assert_eq!(says(Version::HTTP_11, "TE, Close", false), None);
    assert_eq!(says(Version::HTTP_10, "keep-alive", false), None);
}
