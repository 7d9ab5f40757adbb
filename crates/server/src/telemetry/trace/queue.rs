//! The [`SpanQueue`]: ended spans on their way to the collector, and the account of them.

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use prometheus::{IntCounter, IntCounterVec, Opts};
use tokio::sync::mpsc;

use super::delivery::EMPTY;

/// What became of spans: `rookery_trace_spans_total{outcome}`. Cloning is shallow.
#[derive(Clone, Debug)]
pub(super) struct SpanCounts {
    family: IntCounterVec,
    /// The collector took them.
    pub exported: IntCounter,
    /// They are lost: the collector is away, refused them, or is too slow.
    pub dropped: IntCounter,
}

impl SpanCounts {
    /// At zero.
    pub fn new() -> Self {
        let opts = Opts::new("rookery_trace_spans_total", "Spans for the OTLP collector");
        let family = IntCounterVec::new(opts, &["outcome"]).expect("the name and label are valid");
        SpanCounts {
            exported: family.with_label_values(&["exported"]),
            dropped: family.with_label_values(&["dropped"]),
            family,
        }
    }

    /// To register.
    pub fn family(&self) -> &IntCounterVec {
        &self.family
    }
}

/// Takes spans as they end, on whatever thread; never waits.
#[derive(Debug)]
pub(super) struct SpanQueue {
    queue: mpsc::Sender<SpanData>,
    counts: SpanCounts,
}

impl SpanQueue {
    /// Hands them to `queue`; counts what that does not take.
    pub fn new(queue: mpsc::Sender<SpanData>, counts: SpanCounts) -> Self {
        SpanQueue { queue, counts }
    }
}

impl SpanProcessor for SpanQueue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.attributes.iter().any(|attribute| attribute.key.as_str() == EMPTY) {
            return;
        }
        if self.queue.try_send(span).is_err() {
            self.counts.dropped.inc();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
