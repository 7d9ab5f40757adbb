//! The [`Exporter`]: sends spans to the collector, in batches, and gives them up where it is away.

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
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::collector::Collector;
use super::queue::SpanCounts;

/// Spans of one request.
const BATCH: usize = 512;

/// How long a span waits for others.
const GATHER: Duration = Duration::from_secs(1);

/// How often a batch is sent before it is given up.
const ATTEMPTS: u32 = 4;

/// The pause before the second attempt; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest pause that a collector may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The most of an answer that is read.
const MAX_ANSWER: usize = 64 << 10;

/// Between two warnings of the same trouble.
const QUIET: Duration = Duration::from_secs(60);

/// Sends spans. Whatever the collector does, it costs no more than the queue and one batch.
pub(super) struct Exporter {
    collector: Collector,
    resource: ResourceAttributesWithSchema,
    counts: SpanCounts,
    warned: Option<Instant>,
    /// A warning is open that has to be taken back.
    in_trouble: bool,
}

/// An attempt that did not succeed.
struct Failed {
    why: String,
    /// Whether, and how soon, another one makes sense.
    again: Option<Option<Duration>>,
}

impl Exporter {
    /// Sends to `collector`, in the name of the instance `pod`.
    pub fn new(collector: Collector, pod: &str, counts: SpanCounts) -> Self {
        let resource = collector.resource(pod);
        Exporter { collector, resource, counts, warned: None, in_trouble: false }
    }

    /// Sends what comes until told to stop; then what is left, once.
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

    /// Sends a batch, several times if that may help; counts what became of it.
    async fn send(&mut self, batch: &mut Vec<SpanData>, stop: &CancellationToken) {
        let spans = batch.len() as u64;
        let grouped = group_spans_by_resource_and_scope(std::mem::take(batch), &self.resource);
        let body = ExportTraceServiceRequest { resource_spans: grouped }.encode_to_vec().into();
        let rejected = self.attempts(body, stop).await.unwrap_or(spans).min(spans);
        self.counts.dropped.inc_by(rejected);
        self.counts.exported.inc_by(spans - rejected);
    }

    /// How many spans the collector rejected; `None`: it has none of them.
    async fn attempts(&mut self, body: Bytes, stop: &CancellationToken) -> Option<u64> {
        let mut pause = PAUSE;
        for attempt in 1..=ATTEMPTS {
            match self.post(body.clone()).await {
                Ok(answer) => return Some(self.took(answer)),
                Err(Failed { why, again }) => {
                    self.warn(&why);
                    let wait = again?.unwrap_or_else(|| jittered(pause));
                    if attempt == ATTEMPTS {
                        return None;
                    }
                    stop.run_until_cancelled(tokio::time::sleep(wait.min(LONGEST_PAUSE))).await?;
                    pause *= 2;
                }
            }
        }
        None
    }

    async fn post(&self, body: Bytes) -> Result<ExportTraceServiceResponse, Failed> {
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
            let again = is_passing(status).then_some(asked);
            return Err(Failed { why: format!("the answer is {status}"), again });
        }
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if answer.len() + chunk.len() > MAX_ANSWER {
                break;
            }
            answer.extend_from_slice(&chunk);
        }
        // It said 200: an answer that is no message of the protocol takes nothing back.
        Ok(ExportTraceServiceResponse::decode(&answer[..]).unwrap_or_default())
    }

    /// How many spans an answer rejects.
    fn took(&mut self, answer: ExportTraceServiceResponse) -> u64 {
        let partial = answer.partial_success.unwrap_or_default();
        let rejected = u64::try_from(partial.rejected_spans).unwrap_or_default();
        if rejected > 0 {
            let why: String = partial.error_message.chars().take(200).collect();
            self.warn(&format!("it rejected {rejected} spans: {why}"));
        } else if std::mem::take(&mut self.in_trouble) {
            tracing::info!("the collector takes spans again");
        }
        rejected
    }

    fn warn(&mut self, why: &str) {
        if self.warned.is_some_and(|at| at.elapsed() < QUIET) {
            return;
        }
        (self.warned, self.in_trouble) = (Some(Instant::now()), true);
        tracing::warn!(
            reason = why,
            dropped = self.counts.dropped.get(),
            "spans are lost, deliveries are not: the collector of telemetry.otlp does not take them"
        );
    }
}

/// Waits for spans: for the first as long as it takes, for more of a batch a moment.
async fn gather(queue: &mut mpsc::Receiver<SpanData>, batch: &mut Vec<SpanData>) {
    if queue.recv_many(batch, BATCH).await == 0 {
        // Nobody makes spans any more.
        std::future::pending::<()>().await;
    }
    let more = async {
        while batch.len() < BATCH && queue.recv_many(batch, BATCH - batch.len()).await > 0 {}
    };
    let _ = tokio::time::timeout(GATHER, more).await;
}

fn unreachable(error: reqwest::Error) -> Failed {
    // Without the URL, which may hold a password.
    let why = format!("{:#}", anyhow::Error::from(error.without_url()));
    Failed { why, again: Some(None) }
}

/// Whether the same request may be taken later.
///
/// Source: OTLP specification, "OTLP/HTTP Response", "Retryable Response Codes".
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// `Retry-After` in seconds; as a date it is not used.
fn seconds(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Half of it and up to as much again, so that instances do not come all at once.
fn jittered(pause: Duration) -> Duration {
    let part = f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX);
    pause.mul_f64(0.5 + part)
}
