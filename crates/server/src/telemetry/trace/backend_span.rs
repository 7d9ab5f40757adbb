//! The [`BackendSpan`]: the span of one call to the application's backend.

use std::sync::Arc;

use opentelemetry::trace::{Status, TraceContextExt as _};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::parent::TraceParent;
use rookery_ops::log::SPANS as TARGET;

/// The span of one call to the application's backend. It ends when dropped.
#[derive(Debug)]
pub struct BackendSpan {
    span: Span,
    traceparent: Arc<str>,
}

impl BackendSpan {
    /// A span that is recorded. `namespace` may be empty, where a call concerns none.
    ///
    /// Source: OpenTelemetry semantic conventions for HTTP client spans; `rookery.*` is ours.
    pub(super) fn begin(hook: &'static str, namespace: &str) -> Self {
        let span = tracing::info_span!(
            target: TARGET,
            parent: None,
            "webhook",
            otel.kind = "client",
            http.request.method = "POST",
        );
        span.set_attribute("rookery.hook", hook);
        if !namespace.is_empty() {
            span.set_attribute("rookery.namespace", namespace.to_owned());
        }
        let own = TraceParent::of(span.context().span().span_context());
        let parent = own.unwrap_or_else(TraceParent::unsampled);
        BackendSpan { span, traceparent: parent.to_string().into() }
    }

    /// No span: the backend is told that the trace is not sampled.
    pub(super) fn unsampled() -> Self {
        let parent = TraceParent::unsampled();
        BackendSpan { span: Span::none(), traceparent: parent.to_string().into() }
    }

    /// The value of the header `traceparent`, and the parent of what follows from the call.
    pub fn traceparent(&self) -> &Arc<str> {
        &self.traceparent
    }

    /// Records why the call failed.
    pub fn failed(&self, error: &dyn std::fmt::Display) {
        if !self.span.is_none() {
            self.span.set_status(Status::error(error.to_string()));
        }
    }
}
