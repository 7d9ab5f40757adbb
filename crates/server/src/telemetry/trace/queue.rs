//! The [`SpanQueue`]: ended spans that wait for export, and the [`SpanCounts`].

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use prometheus::{IntCounter, IntCounterVec, Opts};
use tokio::sync::mpsc;

use super::delivery_span::EMPTY;

/// Counts spans by outcome: `rookery_trace_spans_total{outcome}`. Cloning is shallow.
#[derive(Clone, Debug)]
pub(super) struct SpanCounts {
    family: IntCounterVec,
    /// Spans that the collector accepted.
    pub exported: IntCounter,
    /// Spans that were lost: the collector was unreachable, rejected them, or was too slow.
    pub dropped: IntCounter,
}

impl SpanCounts {
    /// All outcomes at zero.
    pub fn new() -> Self {
        let opts = Opts::new(
            "rookery_trace_spans_total",
            "Spans exported to the OTLP collector or dropped",
        );
        let family = IntCounterVec::new(opts, &["outcome"]).expect("the name and label are valid");
        SpanCounts {
            exported: family.with_label_values(&["exported"]),
            dropped: family.with_label_values(&["dropped"]),
            family,
        }
    }

    /// The metric, to be registered.
    pub fn family(&self) -> &IntCounterVec {
        &self.family
    }
}

/// Queues spans as they end, on any thread. It never waits.
#[derive(Debug)]
pub(super) struct SpanQueue {
    queue: mpsc::Sender<SpanData>,
    counts: SpanCounts,
}

impl SpanQueue {
    /// Sends spans to `queue`, and counts those for which it is full.
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
