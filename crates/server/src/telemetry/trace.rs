//! Traces by OTLP: which publications are followed, and the spans that say what became of them.
//!
//! The decision is made once, where a publication is accepted, and travels with it in
//! [`Publication::traceparent`](crate::message::Publication::traceparent). A publication that
//! is not followed costs one look at that field.

mod collector;
mod delivery;
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

use collector::Collector;
pub use collector::CollectorError;
pub use delivery::Delivery;
use export::Exporter;
pub use parent::TraceParent;
use queue::{SpanCounts, SpanQueue};
use rookery_config::Telemetry;
pub use rookery_ops::log::SPANS as TARGET;
pub use tracer::{Publishing, Tracer};

/// Spans that wait for the collector; further ones are dropped and counted.
const QUEUE: usize = 4096;

/// How long the end of the process waits for what is not sent yet.
const FLUSH: Duration = Duration::from_millis(1500);

/// How often deliveries that take too long are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// The traces of this process, before it serves.
pub struct Traces {
    tracer: Tracer,
    counts: SpanCounts,
    sending: Option<Sending>,
}

struct Sending {
    collector: Collector,
    queue: mpsc::Receiver<SpanData>,
    sdk: SdkTracer,
}

/// Traces that are being sent.
pub struct Running {
    tracer: Tracer,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Traces {
    /// As the configuration says; off without `telemetry.otlp`. `environment` gives variables:
    /// `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_EXPORTER_OTLP_HEADERS` are read.
    ///
    /// # Errors
    /// When the collector's URL or headers make no sense, or no HTTP client can be made.
    pub fn new(
        telemetry: &Telemetry,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, CollectorError> {
        let counts = SpanCounts::new();
        let Some(url) = &telemetry.otlp else {
            return Ok(Traces { tracer: Tracer::off(), counts, sending: None });
        };
        let collector = Collector::new(url, environment)?;
        let (sender, queue) = mpsc::channel(QUEUE);
        let provider = SdkTracerProvider::builder()
            // Whoever makes a span has decided already.
            .with_sampler(Sampler::AlwaysOn)
            .with_resource(Resource::builder_empty().build())
            .with_span_processor(SpanQueue::new(sender, counts.clone()))
            .build();
        let sdk = provider.tracer("rookery");
        let tracer = Tracer::new(telemetry.trace_ratio, counts.clone());
        Ok(Traces { tracer, counts, sending: Some(Sending { collector, queue, sdk }) })
    }

    /// What turns our spans into OpenTelemetry's; `None` where traces are off.
    pub fn sdk(&self) -> Option<SdkTracer> {
        self.sending.as_ref().map(|sending| sending.sdk.clone())
    }

    /// What makes the spans.
    pub fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    /// `rookery_trace_spans_total{outcome}`, to register.
    pub fn counters(&self) -> IntCounterVec {
        self.counts.family().clone()
    }

    /// Begins to send, on the current runtime. `pod` names this instance.
    pub fn start(self, pod: &str) -> Running {
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        if let Some(sending) = self.sending {
            let exporter = Exporter::new(sending.collector, pod, self.counts);
            tracker.spawn(exporter.run(sending.queue, stop.clone()));
            tracker.spawn(sweep(self.tracer.clone(), stop.clone()));
        }
        Running { tracer: self.tracer, tracker, stop }
    }
}

impl Running {
    /// Ends open spans, sends what waits and gives up on it after a second and a half.
    pub async fn stop(self) {
        self.tracer.close_all();
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(FLUSH, self.tracker.wait()).await.is_err() {
            tracing::warn!("the last spans were not sent: telemetry.otlp does not answer in time");
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
