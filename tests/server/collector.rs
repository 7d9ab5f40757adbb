//! An OTLP collector by HTTP for one test: it keeps the spans that it is sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::harness::until;

/// How the collector responds to a request.
#[derive(Clone, Copy, Debug)]
pub enum Behavior {
    /// Accepts the spans.
    Accepts,
    /// Responds with this status.
    Refuses(u16),
    /// Accepts all spans except this many.
    Rejects(i64),
    /// Never responds.
    Hangs,
}

/// A span as received.
#[derive(Clone, Debug)]
pub struct Span {
    pub name: String,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub kind: v1::span::SpanKind,
    pub start: u64,
    pub end: u64,
    /// The span's attributes, as text.
    pub said: BTreeMap<String, String>,
    /// The resource attributes of the process, as text.
    pub resource: BTreeMap<String, String>,
    /// The headers of the request that carried it.
    pub headers: HeaderMap,
}

#[derive(Debug)]
struct Record {
    behavior: Behavior,
    requests: usize,
    spans: Vec<Span>,
}

/// A collector on a port of its own, stopped when dropped.
pub struct Collector {
    address: SocketAddr,
    record: Arc<Mutex<Record>>,
    serving: JoinHandle<()>,
}

impl Collector {
    pub async fn start() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Starts a collector at a given address.
    pub async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let record = Record { behavior: Behavior::Accepts, requests: 0, spans: Vec::new() };
        let record = Arc::new(Mutex::new(record));
        let routes =
            axum::Router::new().route("/v1/traces", post(receive)).with_state(record.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Collector { address, record, serving }
    }

    /// The configuration section that sends all traces to this collector.
    pub fn config(&self, ratio: f64) -> String {
        config(self.address, ratio)
    }

    pub fn set_behavior(&self, behavior: Behavior) {
        self.record.lock().unwrap().behavior = behavior;
    }

    pub fn requests(&self) -> usize {
        self.record.lock().unwrap().requests
    }

    /// The spans received so far, ordered by their start.
    pub fn spans(&self) -> Vec<Span> {
        let mut spans = self.record.lock().unwrap().spans.clone();
        spans.sort_by_key(|span| span.start);
        spans
    }

    /// Waits for `count` spans with this name, and returns them.
    pub async fn named(&self, name: &str, count: usize) -> Vec<Span> {
        let of = || self.spans().into_iter().filter(|span| span.name == name).collect::<Vec<_>>();
        until(&format!("{count} spans `{name}`"), async || of().len() >= count).await;
        let found = of();
        assert_eq!(found.len(), count, "{found:#?}");
        found
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The configuration section for a collector at an address.
pub fn config(address: SocketAddr, ratio: f64) -> String {
    format!("telemetry: {{ otlp: \"http://{address}\", traceRatio: {ratio} }}\n")
}

async fn receive(
    State(record): State<Arc<Mutex<Record>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    assert_eq!(headers[header::CONTENT_TYPE], "application/x-protobuf");
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let behavior = {
        let mut record = record.lock().unwrap();
        record.requests += 1;
        if let Behavior::Accepts | Behavior::Rejects(_) = record.behavior {
            record.spans.extend(spans(request, &headers));
        }
        record.behavior
    };
    let partial_success = match behavior {
        Behavior::Accepts => None,
        Behavior::Rejects(rejected_spans) => {
            let error_message = "too many attributes".to_owned();
            Some(ExportTracePartialSuccess { rejected_spans, error_message })
        }
        Behavior::Refuses(status) => return StatusCode::from_u16(status).unwrap().into_response(),
        Behavior::Hangs => std::future::pending().await,
    };
    let answer = ExportTraceServiceResponse { partial_success }.encode_to_vec();
    ([(header::CONTENT_TYPE, "application/x-protobuf")], answer).into_response()
}

fn spans(request: ExportTraceServiceRequest, headers: &HeaderMap) -> Vec<Span> {
    let mut found = Vec::new();
    for of_resource in request.resource_spans {
        let resource = texts(of_resource.resource.unwrap_or_default().attributes);
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            found.push(Span {
                kind: span.kind(),
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                start: span.start_time_unix_nano,
                end: span.end_time_unix_nano,
                said: texts(span.attributes),
                resource: resource.clone(),
                headers: headers.clone(),
            });
        }
    }
    found
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes.into_iter().map(|kv| (kv.key, text(kv.value.unwrap_or_default().value))).collect()
}

fn text(value: Option<Value>) -> String {
    match value.expect("an attribute has a value") {
        Value::StringValue(text) => text,
        Value::BoolValue(bool) => bool.to_string(),
        Value::IntValue(n) => n.to_string(),
        Value::DoubleValue(n) => n.to_string(),
        Value::ArrayValue(array) => {
            let values: Vec<_> = array.values.into_iter().map(|v| text(v.value)).collect();
            values.join(",")
        }
        other => panic!("unexpected {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
