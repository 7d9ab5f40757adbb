//! A load generator for `POST /api/publish`: connections that are kept and have one request in
//! flight each, or HTTP/2 streams of one connection. Prints what was answered and what the server
//! spent as JSON.
//!
//! ```text
//! cargo run --release --example http_publisher -- --url http://127.0.0.1:9090/api/publish \
//!     --body '{"room": "r", "event": "e"}' --pid "$(pidof rookery)"
//! ```

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Parser;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rookery_client::bench::Usage;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const JSON: &str = "application/json";

/// Publish over HTTP as fast as the server answers.
#[derive(Parser)]
struct Args {
    /// The URL that requests are sent to.
    #[arg(long)]
    url: http::Uri,
    /// The JSON body of each request.
    #[arg(long)]
    body: String,
    /// The number of requests in flight.
    #[arg(long, default_value_t = 16)]
    inflight: usize,
    /// Send all requests over one HTTP/2 connection, without an upgrade.
    #[arg(long)]
    http2: bool,
    /// The id of the server's process.
    #[arg(long)]
    pid: u32,
    /// How long to run before measuring, in seconds.
    #[arg(long, default_value_t = 2.0)]
    warmup: f64,
    /// How long to measure, in seconds.
    #[arg(long, default_value_t = 10.0)]
    duration: f64,
}

/// What was measured.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// Requests answered 200 during the measurement.
    requests: u64,
    /// The duration of the measurement, in seconds.
    seconds: f64,
    /// CPU time of the server during the measurement, in seconds.
    server_cpu_seconds: f64,
    /// CPU time of the generator itself, as a share of one core.
    generator_cpu: f64,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let body = Bytes::from(args.body.clone());
    let begin = Instant::now() + Duration::from_secs_f64(args.warmup);
    let end = begin + Duration::from_secs_f64(args.duration);
    let mut tasks = JoinSet::new();
    for sender in connect(&args).await? {
        tasks.spawn(publish(sender, args.url.clone(), body.clone(), begin, end));
    }
    tokio::time::sleep_until(begin.into()).await;
    let (server, own, start) = (Usage::of(&[args.pid])?, Usage::own()?, Instant::now());
    tokio::time::sleep_until(end.into()).await;
    let spent = |from: Usage, to: Usage| to.cpu.saturating_sub(from.cpu).as_secs_f64();
    let seconds = start.elapsed().as_secs_f64();
    let server_cpu_seconds = spent(server, Usage::of(&[args.pid])?);
    let generator_cpu = spent(own, Usage::own()?) / seconds;
    let mut requests = 0;
    while let Some(answered) = tasks.join_next().await {
        requests += answered??;
    }
    let report = Report { requests, seconds, server_cpu_seconds, generator_cpu };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// A sender for each request in flight.
async fn connect(args: &Args) -> anyhow::Result<Vec<Sender>> {
    let authority = args.url.authority().context("the URL has no host")?;
    let dial = async || {
        let stream = TcpStream::connect(authority.as_str()).await?;
        stream.set_nodelay(true)?;
        anyhow::Ok(TokioIo::new(stream))
    };
    if args.http2 {
        let executor = TokioExecutor::new();
        let (sender, connection) = http2::handshake(executor, dial().await?).await?;
        tokio::spawn(connection);
        return Ok((0..args.inflight).map(|_| Sender::Http2(sender.clone())).collect());
    }
    let mut senders = Vec::new();
    for _ in 0..args.inflight {
        let (sender, connection) = http1::handshake(dial().await?).await?;
        tokio::spawn(connection);
        senders.push(Sender::Http1(sender));
    }
    Ok(senders)
}

/// Sends one request after the other until `end`, and counts those answered since `begin`.
async fn publish(
    mut sender: Sender,
    url: http::Uri,
    body: Bytes,
    begin: Instant,
    end: Instant,
) -> anyhow::Result<u64> {
    let host = url.authority().map(ToString::to_string).unwrap_or_default();
    let uri = match (&sender, url.path_and_query()) {
        (Sender::Http1(_), Some(path)) => path.as_str().parse()?,
        _ => url,
    };
    let mut answered = 0;
    loop {
        let mut request = Request::post(uri.clone()).header(header::CONTENT_TYPE, JSON);
        if let Sender::Http1(_) = sender {
            request = request.header(header::HOST, &host);
        }
        let request = request.body(Full::new(body.clone()))?;
        let answer = sender.send(request).await?;
        let status = answer.status();
        let text = answer.into_body().collect().await?.to_bytes();
        ensure!(status == StatusCode::OK, "{status}: {}", String::from_utf8_lossy(&text));
        let now = Instant::now();
        if now >= end {
            return Ok(answered);
        }
        answered += u64::from(now >= begin);
    }
}

impl Sender {
    async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> anyhow::Result<hyper::Response<Incoming>> {
        Ok(match self {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        })
    }
}
