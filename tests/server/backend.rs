//! An application's backend for one test: it answers webhooks as it is told, and keeps them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::harness::until;

/// What the backend answers a webhook with.
pub enum Answer {
    /// A reply.
    Json(Value),
    /// 200 with a body that need not be a reply.
    Body(Vec<u8>),
    /// Another status.
    Status(u16),
    /// 307 to the webhook's own URL.
    Redirect,
    /// A reply after so long.
    After(Duration, Value),
    /// Nothing.
    Never,
}

/// A webhook as received.
#[derive(Clone, Debug)]
pub struct Call {
    pub headers: HeaderMap,
    pub body: Value,
    /// The body's bytes.
    pub bytes: Bytes,
    pub version: Version,
}

impl Call {
    /// A header, which must be there.
    pub fn header(&self, name: &str) -> &str {
        let header = self.headers.get(name).unwrap_or_else(|| panic!("{name}: {self:?}"));
        header.to_str().unwrap()
    }

    /// The `type`.
    pub fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap()
    }
}

type Behavior = dyn Fn(&Value) -> Answer + Send + Sync;

#[derive(Clone)]
pub struct Shared {
    calls: Arc<Mutex<Vec<Call>>>,
    behavior: Arc<Mutex<Arc<Behavior>>>,
    in_flight: Arc<AtomicUsize>,
    most_in_flight: Arc<AtomicUsize>,
}

/// A backend on a port of its own, stopped when dropped.
pub struct Backend {
    pub address: SocketAddr,
    shared: Shared,
    serving: Option<JoinHandle<()>>,
}

impl Backend {
    /// A backend that answers each webhook with what `behavior` makes of its body.
    pub async fn start(behavior: impl Fn(&Value) -> Answer + Send + Sync + 'static) -> Self {
        let shared = Shared {
            calls: Arc::default(),
            behavior: Arc::new(Mutex::new(Arc::new(behavior))),
            in_flight: Arc::default(),
            most_in_flight: Arc::default(),
        };
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut backend = Backend { address, shared, serving: None };
        backend.resume().await;
        backend
    }

    /// A backend that accepts everything, and answers an event with its arguments.
    pub async fn echo() -> Self {
        Self::start(echo).await
    }

    /// Serves, again on the same port.
    pub async fn resume(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let routes = routes(self.shared.clone());
        let serving = async move { axum::serve(listener, routes).await.unwrap() };
        self.serving = Some(tokio::spawn(serving));
    }

    /// Refuses connections.
    pub async fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ = serving.await;
        }
    }

    /// The configuration section for this backend, with more keys, each after a comma.
    pub fn config(&self, more: &str) -> String {
        format!("events: []\nbackend: {{ url: 'http://{}/rookery?a=b'{more} }}\n", self.address)
    }

    pub fn set(&self, behavior: impl Fn(&Value) -> Answer + Send + Sync + 'static) {
        *self.shared.behavior.lock().unwrap() = Arc::new(behavior);
    }

    /// The webhooks so far, in the order of their arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// The webhooks of a type.
    pub fn of_type(&self, kind: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.kind() == kind).collect()
    }

    /// Waits for `count` webhooks of a type, and returns them.
    pub async fn called(&self, kind: &str, count: usize) -> Vec<Call> {
        until(&format!("{count} webhooks of the type {kind}"), async || {
            self.of_type(kind).len() >= count
        })
        .await;
        self.of_type(kind)
    }

    /// The most webhooks that were being answered at the same time.
    pub fn most_in_flight(&self) -> usize {
        self.shared.most_in_flight.load(Ordering::SeqCst)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

/// Accepts everything, and answers an event with its arguments.
pub fn echo(body: &Value) -> Answer {
    Answer::Json(match body["type"].as_str() {
        Some("event") => serde_json::json!({ "ack": body["args"] }),
        _ => serde_json::json!({}),
    })
}

/// The routes of a backend, for tests that serve them in another way.
pub fn routes(shared: Shared) -> axum::Router {
    axum::Router::new().route("/rookery", post(receive)).with_state(shared)
}

impl Backend {
    /// What [`routes`] need.
    pub fn shared(&self) -> Shared {
        self.shared.clone()
    }
}

async fn receive(
    State(shared): State<Shared>,
    version: Version,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    let call = Call { headers, body: body.clone(), bytes, version };
    shared.calls.lock().unwrap().push(call);
    let now = shared.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most_in_flight.fetch_max(now, Ordering::SeqCst);
    let behavior = shared.behavior.lock().unwrap().clone();
    let response = match behavior(&body) {
        Answer::Json(reply) => axum::Json(reply).into_response(),
        Answer::Body(bytes) => bytes.into_response(),
        Answer::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Answer::Redirect => {
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/rookery")]).into_response()
        }
        Answer::After(time, reply) => {
            tokio::time::sleep(time).await;
            axum::Json(reply).into_response()
        }
        Answer::Never => std::future::pending().await,
    };
    shared.in_flight.fetch_sub(1, Ordering::SeqCst);
    response
}
