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

/// What it does with a request.
#[derive(Clone, Copy, Debug)]
pub enum Mood {
    /// Takes it.
    Takes,
    /// Answers with this status.
    Refuses(u16),
    /// Takes all spans but this many.
    Rejects(i64),
    /// Never answers.
    Hangs,
}

/// A span as it came.
#[derive(Clone, Debug)]
pub struct Span {
    pub name: String,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub kind: v1::span::SpanKind,
    pub start: u64,
    pub end: u64,
    /// Its attributes, as text.
    pub said: BTreeMap<String, String>,
    /// Those of the process.
    pub resource: BTreeMap<String, String>,
    /// The headers that it came with.
    pub headers: HeaderMap,
}

#[derive(Debug)]
struct Book {
    mood: Mood,
    requests: usize,
    spans: Vec<Span>,
}

/// A collector on a port of its own; gone when dropped.
pub struct Collector {
    address: SocketAddr,
    book: Arc<Mutex<Book>>,
    serving: JoinHandle<()>,
}

impl Collector {
    pub async fn start() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// One where another one was, or nobody.
    pub async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let book = Book { mood: Mood::Takes, requests: 0, spans: Vec::new() };
        let book = Arc::new(Mutex::new(book));
        let routes = axum::Router::new().route("/v1/traces", post(take)).with_state(book.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Collector { address, book, serving }
    }

    /// The section of the configuration that sends everything here.
    pub fn config(&self, ratio: f64) -> String {
        config(self.address, ratio)
    }

    pub fn mood(&self, mood: Mood) {
        self.book.lock().unwrap().mood = mood;
    }

    pub fn requests(&self) -> usize {
        self.book.lock().unwrap().requests
    }

    /// The spans so far, by their start.
    pub fn spans(&self) -> Vec<Span> {
        let mut spans = self.book.lock().unwrap().spans.clone();
        spans.sort_by_key(|span| span.start);
        spans
    }

    /// Waits for so many spans with this name, and gives them.
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

/// The section of the configuration for a collector at an address.
pub fn config(address: SocketAddr, ratio: f64) -> String {
    format!("telemetry: {{ otlp: \"http://{address}\", traceRatio: {ratio} }}\n")
}

async fn take(State(book): State<Arc<Mutex<Book>>>, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(headers[header::CONTENT_TYPE], "application/x-protobuf");
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mood = {
        let mut book = book.lock().unwrap();
        book.requests += 1;
        if let Mood::Takes | Mood::Rejects(_) = book.mood {
            book.spans.extend(spans(request, &headers));
        }
        book.mood
    };
    let partial_success = match mood {
        Mood::Takes => None,
        Mood::Rejects(rejected_spans) => {
            let error_message = "too many attributes".to_owned();
            Some(ExportTracePartialSuccess { rejected_spans, error_message })
        }
        Mood::Refuses(status) => return StatusCode::from_u16(status).unwrap().into_response(),
        Mood::Hangs => std::future::pending().await,
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
