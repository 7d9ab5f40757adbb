//! Traces over OTLP: which publications are traced, and the spans that record what became of them.
//!
//! A publication is sampled once, where it is accepted. The decision travels with it in
//! [`Publication::traceparent`](crate::message::Publication::traceparent); a publication that is
//! not traced costs a check of that field.

mod backend_span;
mod collector;
mod delivery_span;
mod export;
mod parent;
mod queue;
mod tracer;

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, SpanData};
use prometheus::IntCounterVec;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use backend_span::BackendSpan;
use collector::Collector;
pub use collector::CollectorError;
pub use delivery_span::DeliverySpan;
use export::Exporter;
pub use parent::TraceParent;
use queue::{SpanCounts, SpanQueue};
use rookery_config::Telemetry;
pub use rookery_ops::log::SPANS as TARGET;
pub use tracer::{PublishSpan, Tracer};

/// Spans that may wait for the collector; further ones are dropped and counted.
const QUEUE: usize = 4096;

/// How long the shutdown waits for the last spans to be exported.
const FLUSH: Duration = Duration::from_millis(1500);

/// How often delivery spans that have been open for too long are ended.
const SWEEP: Duration = Duration::from_secs(1);

/// The traces of this process, before it starts to serve.
pub struct Traces {
    tracer: Tracer,
    counts: SpanCounts,
    /// `None` where traces are off.
    pipeline: Option<Pipeline>,
}

/// From the SDK through the queue to the collector.
struct Pipeline {
    collector: Collector,
    queue: mpsc::Receiver<SpanData>,
    sdk: SdkTracer,
}

/// The running export of traces.
pub struct TraceExport {
    tracer: Tracer,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Traces {
    /// Traces as configured; off without `telemetry.otlp`. `environment` looks up a variable:
    /// `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_EXPORTER_OTLP_HEADERS` are used.
    ///
    /// # Errors
    /// When the collector's URL or headers are not valid, or no HTTP client can be created.
    pub fn new(
        telemetry: &Telemetry,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, CollectorError> {
        let counts = SpanCounts::new();
        let Some(url) = &telemetry.otlp else {
            return Ok(Traces { tracer: Tracer::off(), counts, pipeline: None });
        };
        let collector = Collector::new(url, environment)?;
        let (sender, queue) = mpsc::channel(QUEUE);
        let provider = SdkTracerProvider::builder()
            // The tracer samples before it creates a span.
            .with_sampler(Sampler::AlwaysOn)
            .with_resource(Resource::builder_empty().build())
            .with_span_processor(SpanQueue::new(sender, counts.clone()))
            .build();
        let sdk = provider.tracer("rookery");
        let tracer = Tracer::new(telemetry.trace_ratio, counts.clone());
        Ok(Traces { tracer, counts, pipeline: Some(Pipeline { collector, queue, sdk }) })
    }

    /// OpenTelemetry's tracer, for the subscriber; `None` where traces are off.
    pub fn sdk(&self) -> Option<SdkTracer> {
        self.pipeline.as_ref().map(|pipeline| pipeline.sdk.clone())
    }

    /// The tracer that creates the spans.
    pub fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    /// `rookery_trace_spans_total{outcome}`, to be registered.
    pub fn counters(&self) -> IntCounterVec {
        self.counts.family().clone()
    }

    /// Starts the export on the current runtime. `pod` is the name of this instance.
    pub fn start(self, pod: &str) -> TraceExport {
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        if let Some(pipeline) = self.pipeline {
            let exporter = Exporter::new(pipeline.collector, pod, self.counts);
            tracker.spawn(exporter.run(pipeline.queue, stop.clone()));
            tracker.spawn(sweep(self.tracer.clone(), stop.clone()));
        }
        TraceExport { tracer: self.tracer, tracker, stop }
    }
}

impl TraceExport {
    /// Ends open spans and exports what waits, for at most a second and a half.
    pub async fn stop(self) {
        self.tracer.close_all();
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(FLUSH, self.tracker.wait()).await.is_err() {
            tracing::warn!(
                "the last spans were not exported: telemetry.otlp did not respond in time"
            );
        }
    }
}

async fn sweep(tracer: Tracer, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(SWEEP)).await.is_some() {
        tracer.close_late();
    }
}

#[cfg(test)]
mod tests;
