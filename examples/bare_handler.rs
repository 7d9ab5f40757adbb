//! A baseline for `POST /api/publish`: an axum handler that parses the same JSON into the same types
//! and answers in the same form, and delivers nothing. And a backend that answers webhooks of events
//! (`POST /`) and RPCs of Centrifugo's proxy (`POST /rpc`) at once.
//!
//! It runs on one thread and serves HTTP/1.1 and HTTP/2 without TLS.
//!
//! ```text
//! cargo run --release --example bare_handler -- 127.0.0.1:9090
//! ```

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use axum::routing::post;
use axum::{Json, Router};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rookery_protocol::Data;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The fields of a publication; the unused ones are parsed all the same.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct PublishRequest {
    namespace: Option<String>,
    room: Option<String>,
    rooms: Option<Vec<String>>,
    except: Option<Vec<String>>,
    event: Option<String>,
    #[serde(default)]
    args: Vec<Data>,
    #[serde(default)]
    volatile: bool,
    id: Option<String>,
}

/// A webhook of an event, or an RPC; the unused fields are parsed all the same.
#[derive(Deserialize)]
#[allow(dead_code)]
struct Called {
    event: Option<String>,
    method: Option<String>,
    args: Option<Vec<Data>>,
    data: Option<Data>,
}

#[derive(Serialize)]
struct PublishAnswer {
    id: String,
    scope: &'static str,
    members: usize,
}

#[derive(Serialize)]
struct BatchAnswer {
    results: Vec<PublishAnswer>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9090".to_owned());
    let listener = TcpListener::bind(&address).await.context("expected an address and a port")?;
    let router = Router::new()
        .route("/api/publish", post(publish))
        .route("/api/publish/batch", post(publish_batch))
        .route("/", post(event))
        .route("/rpc", post(rpc));
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let connections = auto::Builder::new(TokioExecutor::new());
            if let Err(error) = connections.serve_connection(TokioIo::new(stream), service).await {
                eprintln!("{error}");
            }
        });
    }
}

async fn publish(Json(request): Json<PublishRequest>) -> Json<PublishAnswer> {
    Json(answer(request))
}

async fn publish_batch(Json(requests): Json<Vec<PublishRequest>>) -> Json<BatchAnswer> {
    Json(BatchAnswer { results: requests.into_iter().map(answer).collect() })
}

async fn event(Json(_): Json<Called>) -> Json<Value> {
    Json(json!({ "ack": ["ok"] }))
}

async fn rpc(Json(_): Json<Called>) -> Json<Value> {
    Json(json!({ "result": { "data": ["ok"] } }))
}

fn answer(request: PublishRequest) -> PublishAnswer {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = request.id.unwrap_or_else(|| format!("{:016x}", NEXT.fetch_add(1, Ordering::Relaxed)));
    PublishAnswer { id, scope: "local", members: 1 }
}
