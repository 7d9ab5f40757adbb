//! The [`Tracer`]: decides which publications are traced, and creates their spans.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::trace::{Status, TraceContextExt as _};
use opentelemetry::{Array, Context, StringValue, Value};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::backend_span::BackendSpan;
use super::delivery_span::{DeliverySpan, MAX_AGE, OpenSpans};
use super::parent::TraceParent;
use super::queue::SpanCounts;
use crate::message::{Publication, PublishError, Scope, Source};
use rookery_ops::log::SPANS as TARGET;

/// Rooms that a span names at most.
const MAX_ROOMS: usize = 8;

/// Bytes of a text attribute at most; an event's name may be as long as a message.
const MAX_TEXT: usize = 255;

/// Creates the spans of publications and deliveries. Cloning is shallow.
#[derive(Clone, Debug, Default)]
pub struct Tracer(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    ratio: Ratio,
    open: OpenSpans,
    counts: SpanCounts,
}

/// Samples a part of all publications.
#[derive(Debug)]
struct Ratio {
    /// A publication is sampled where a random number is at most this.
    threshold: u64,
    /// The state of the random number generator.
    state: AtomicU64,
}

/// The span of accepting a publication on this instance. It ends when dropped.
#[derive(Debug)]
pub struct PublishSpan(Span);

impl Tracer {
    /// A tracer that creates no spans.
    pub fn off() -> Self {
        Tracer(None)
    }

    /// Traces publications with a sampled parent, and a `ratio` (0 to 1) of those without a parent.
    pub(super) fn new(ratio: f64, counts: SpanCounts) -> Self {
        let (ratio, open) = (Ratio::new(ratio), OpenSpans::default());
        Tracer(Some(Arc::new(Inner { ratio, open, counts })))
    }

    /// Begins the span of a publication that this instance accepts. Where it is sampled, it becomes
    /// the parent of all further spans of the publication, on other instances too.
    pub fn publish(&self, publication: &mut Publication) -> PublishSpan {
        let Some(inner) = &self.0 else { return PublishSpan(Span::none()) };
        let parent = parent(publication);
        if !parent.map_or_else(|| inner.ratio.draw(), |parent| parent.is_sampled()) {
            return PublishSpan(Span::none());
        }
        let span = tracing::info_span!(
            target: TARGET,
            parent: None,
            "publish",
            otel.kind = "producer",
            messaging.operation.name = "publish",
            messaging.operation.type = "send",
        );
        set_parent(&span, parent);
        describe(&span, publication);
        let context = span.context();
        if let Some(own) = TraceParent::of(context.span().span_context()) {
            publication.traceparent = Some(own.to_string().into());
        }
        PublishSpan(span)
    }

    /// Begins the span of a publication's deliveries on this instance; `None` where it is not
    /// traced. A publication of the bridge reaches every instance on its own, so its trace may
    /// begin here.
    pub fn deliver(&self, publication: &Publication) -> Option<Arc<DeliverySpan>> {
        let inner = self.0.as_ref()?;
        let parent = parent(publication);
        let starts = || publication.source == Source::Bridge && inner.ratio.draw();
        if !parent.map_or_else(starts, |parent| parent.is_sampled()) {
            return None;
        }
        let begun = inner.open.begin(|| {
            let span = tracing::info_span!(
                target: TARGET,
                parent: None,
                "deliver",
                otel.kind = "consumer",
                messaging.operation.name = "deliver",
                messaging.operation.type = "process",
            );
            set_parent(&span, parent);
            describe(&span, publication);
            span
        });
        if begun.is_none() {
            inner.counts.dropped.inc();
        }
        begun
    }

    /// Begins the span of a call to the application's backend. Where it is sampled, it is the parent
    /// of what the backend does, and of the publications of its reply. `namespace` may be empty.
    pub fn call_backend(&self, hook: &'static str, namespace: &str) -> BackendSpan {
        let is_sampled = self.0.as_ref().is_some_and(|inner| inner.ratio.draw());
        if is_sampled { BackendSpan::begin(hook, namespace) } else { BackendSpan::unsampled() }
    }

    /// Ends the delivery spans that have been open for too long.
    pub(super) fn close_late(&self) {
        if let Some(inner) = &self.0 {
            inner.open.close(MAX_AGE);
        }
    }

    /// Ends all delivery spans.
    pub(super) fn close_all(&self) {
        if let Some(inner) = &self.0 {
            inner.open.close(Duration::ZERO);
        }
    }
}

impl PublishSpan {
    /// Records that the publication was accepted; `members` is the number of recipients on this
    /// instance, where it is known.
    pub fn accepted(self, scope: Scope, members: Option<usize>) {
        if self.0.is_none() {
            return;
        }
        let scope = match scope {
            Scope::Cluster => "cluster",
            Scope::Local => "local",
        };
        self.0.set_attribute("rookery.scope", scope);
        if let Some(members) = members {
            self.0.set_attribute("rookery.members", i64::try_from(members).unwrap_or(i64::MAX));
        }
    }

    /// Records that the publication was refused.
    pub fn refused(self, error: &PublishError) {
        self.0.set_status(Status::error(error.to_string()));
    }
}

impl Ratio {
    fn new(ratio: f64) -> Self {
        // Seeded, so that instances draw different numbers.
        let seed = getrandom::u64().unwrap_or_default();
        Ratio { threshold: (ratio * 2f64.powi(64)) as u64, state: AtomicU64::new(seed) }
    }

    /// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
    fn draw(&self) -> bool {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        if self.threshold == 0 {
            return false;
        }
        let mut z = self.state.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31) <= self.threshold
    }
}

fn parent(publication: &Publication) -> Option<TraceParent> {
    publication.traceparent.as_deref().and_then(TraceParent::parse)
}

fn set_parent(span: &Span, parent: Option<TraceParent>) {
    if let Some(parent) = parent {
        // It fails only for a span that was entered already or is not recorded.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent.remote()));
    }
}

/// Sets the attributes of the publication, never its arguments.
///
/// Source: OpenTelemetry semantic conventions for messaging spans; `rookery.*` is ours.
fn describe(span: &Span, publication: &Publication) {
    span.set_attribute("messaging.system", "rookery");
    span.set_attribute("messaging.message.id", text(&publication.id.text()));
    span.set_attribute("rookery.namespace", text(&publication.namespace));
    span.set_attribute("rookery.event", text(&publication.event));
    span.set_attribute("rookery.source", publication.source.label());
    match &publication.rooms[..] {
        [] => {}
        [room] => span.set_attribute("messaging.destination.name", text(room)),
        rooms => {
            let names: Vec<StringValue> =
                rooms.iter().take(MAX_ROOMS).map(|room| text(room).into()).collect();
            span.set_attribute("rookery.rooms", Value::Array(Array::String(names)));
            span.set_attribute("rookery.rooms.count", rooms.len() as i64);
        }
    }
}

fn text(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT)].to_owned()
}
