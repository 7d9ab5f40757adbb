//! The [`Exporter`]: sends spans to the collector in batches, and drops those it cannot send.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::trace::SpanData;
use prost::Message as _;
use rookery_backoff::Backoff;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::collector::Collector;
use super::queue::SpanCounts;

/// Spans in one request at most.
const BATCH: usize = 512;

/// How long a span waits for others to fill a batch.
const GATHER: Duration = Duration::from_secs(1);

/// Attempts to send a batch before it is dropped.
const ATTEMPTS: u32 = 4;

/// The delay before the second attempt; each further one is twice as long, less jitter.
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// The longest delay, also where a collector asks for more.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// Bytes of a response that are read at most.
const MAX_RESPONSE: usize = 64 << 10;

/// The shortest time between two warnings.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// Sends spans. Whatever the collector does, memory is bounded by the queue and one batch.
pub(super) struct Exporter {
    collector: Collector,
    resource: ResourceAttributesWithSchema,
    counts: SpanCounts,
    /// When the last warning was logged.
    warned: Option<Instant>,
    /// Whether a warning was logged since the collector last accepted spans.
    failing: bool,
}

/// Why an attempt failed.
struct SendError {
    reason: String,
    retry: Retry,
}

/// Whether to repeat a failed attempt.
enum Retry {
    Never,
    /// After the usual pause.
    Backoff,
    /// After the pause that the collector asked for.
    After(Duration),
}

impl Exporter {
    /// Sends to `collector` on behalf of the instance `pod`.
    pub fn new(collector: Collector, pod: &str, counts: SpanCounts) -> Self {
        let resource = collector.resource(pod);
        Exporter { collector, resource, counts, warned: None, failing: false }
    }

    /// Sends spans as they arrive until `stop` is cancelled, then makes one attempt at the rest.
    pub async fn run(mut self, mut queue: mpsc::Receiver<SpanData>, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        while stop.run_until_cancelled(gather(&mut queue, &mut batch)).await.is_some() {
            self.send(&mut batch, &stop).await;
        }
        loop {
            while batch.len() < BATCH
                && let Ok(span) = queue.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                return;
            }
            self.send(&mut batch, &stop).await;
        }
    }

    /// Sends a batch, with retries, and counts the outcome.
    async fn send(&mut self, batch: &mut Vec<SpanData>, stop: &CancellationToken) {
        let spans = batch.len() as u64;
        let grouped = group_spans_by_resource_and_scope(std::mem::take(batch), &self.resource);
        let body = ExportTraceServiceRequest { resource_spans: grouped }.encode_to_vec().into();
        let rejected = self.attempts(body, stop).await.unwrap_or(spans).min(spans);
        self.counts.dropped.inc_by(rejected);
        self.counts.exported.inc_by(spans - rejected);
    }

    /// Returns how many spans the collector rejected; `None` where it accepted none of them.
    async fn attempts(&mut self, body: Bytes, stop: &CancellationToken) -> Option<u64> {
        let mut delays = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
        for attempt in 1..=ATTEMPTS {
            match self.post(body.clone()).await {
                Ok(response) => return Some(self.on_response(response)),
                Err(SendError { reason, retry }) => {
                    self.warn(&reason);
                    let delay = delays.next_delay();
                    let wait = match retry {
                        Retry::Never => return None,
                        Retry::Backoff => delay,
                        Retry::After(pause) => pause,
                    };
                    if attempt == ATTEMPTS {
                        return None;
                    }
                    stop.run_until_cancelled(tokio::time::sleep(wait.min(LONGEST_DELAY))).await?;
                }
            }
        }
        None
    }

    async fn post(&self, body: Bytes) -> Result<ExportTraceServiceResponse, SendError> {
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        let request = self
            .collector
            .client
            .post(self.collector.endpoint.clone())
            .headers(self.collector.headers.clone())
            .header(header::CONTENT_TYPE, protobuf)
            .body(body);
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        if status != StatusCode::OK {
            let asked = response.headers().get(header::RETRY_AFTER).and_then(seconds);
            let retry = match is_retryable(status) {
                true => asked.map_or(Retry::Backoff, Retry::After),
                false => Retry::Never,
            };
            return Err(SendError { reason: format!("the collector responded {status}"), retry });
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_RESPONSE {
                break;
            }
            body.extend_from_slice(&chunk);
        }
        // With status 200 the spans were accepted, even if the body is malformed.
        Ok(ExportTraceServiceResponse::decode(&body[..]).unwrap_or_default())
    }

    /// Returns how many spans a successful response rejects.
    fn on_response(&mut self, response: ExportTraceServiceResponse) -> u64 {
        let partial = response.partial_success.unwrap_or_default();
        let rejected = u64::try_from(partial.rejected_spans).unwrap_or_default();
        if rejected > 0 {
            let message: String = partial.error_message.chars().take(200).collect();
            self.warn(&format!("the collector rejected {rejected} spans: {message}"));
        } else if std::mem::take(&mut self.failing) {
            tracing::info!("the collector accepts spans again");
        }
        rejected
    }

    fn warn(&mut self, reason: &str) {
        if self.warned.is_some_and(|at| at.elapsed() < WARN_INTERVAL) {
            return;
        }
        (self.warned, self.failing) = (Some(Instant::now()), true);
        tracing::warn!(
            reason,
            dropped = self.counts.dropped.get(),
            "dropping spans: the collector of telemetry.otlp does not accept them"
        );
    }
}

/// Waits for the first span as long as it takes, and then up to [`GATHER`] for a full batch.
async fn gather(queue: &mut mpsc::Receiver<SpanData>, batch: &mut Vec<SpanData>) {
    if queue.recv_many(batch, BATCH).await == 0 {
        // The queue is closed: no span will ever come.
        std::future::pending::<()>().await;
    }
    let more = async {
        while batch.len() < BATCH && queue.recv_many(batch, BATCH - batch.len()).await > 0 {}
    };
    let _ = tokio::time::timeout(GATHER, more).await;
}

fn unreachable(error: reqwest::Error) -> SendError {
    // Without the URL, which may contain a password.
    let reason = format!("{:#}", anyhow::Error::from(error.without_url()));
    SendError { reason, retry: Retry::Backoff }
}

/// Whether the same request may succeed later.
///
/// Source: OTLP specification, "OTLP/HTTP Response", "Retryable Response Codes".
fn is_retryable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// `Retry-After` in seconds; a date is ignored.
fn seconds(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
