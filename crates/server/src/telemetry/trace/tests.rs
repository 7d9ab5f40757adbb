//! Which spans there are, and their attributes. Their export is tested with real servers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use opentelemetry::trace::{SpanId, SpanKind};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;
use crate::message::{Publication, Scope, Source};
use rookery_ops::log;
use rookery_protocol::Room;

const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// Traces whose spans are inspected instead of exported.
struct Recorded {
    tracer: Tracer,
    queue: mpsc::Receiver<SpanData>,
    counts: SpanCounts,
    _subscriber: DefaultGuard,
}

impl Recorded {
    fn new(trace_ratio: f64) -> Self {
        let otlp = Some("http://collector:4318".to_owned());
        let telemetry = Telemetry { otlp, trace_ratio, ..Telemetry::default() };
        let traces = Traces::new(&telemetry, |_| None).unwrap();
        let Pipeline { queue, sdk, .. } = traces.pipeline.unwrap();
        let subscriber = tracing_subscriber::registry().with(log::spans(sdk));
        let _subscriber = tracing::subscriber::set_default(subscriber);
        Recorded { tracer: traces.tracer, queue, counts: traces.counts, _subscriber }
    }

    fn spans(&mut self) -> Vec<SpanData> {
        std::iter::from_fn(|| self.queue.try_recv().ok()).collect()
    }
}

fn publication(source: Source, traceparent: Option<&str>) -> Publication {
    Publication {
        id: "id-1".into(),
        namespace: "/".into(),
        rooms: [Room::from("a")].into(),
        except: Default::default(),
        event: "e".repeat(300),
        args: Default::default(),
        volatile: false,
        compress: true,
        source,
        address: None,
        accepted: Instant::now(),
        traceparent: traceparent.map(Arc::from),
    }
}

fn attributes(span: &SpanData) -> HashMap<&str, String> {
    span.attributes.iter().map(|kv| (kv.key.as_str(), kv.value.to_string())).collect()
}

#[test]
fn a_publication_with_a_sampled_parent_is_traced_at_any_ratio() {
    let mut recorded = Recorded::new(0.0);
    let mut publication = publication(Source::Api, Some(SAMPLED));
    recorded.tracer.publish(&mut publication).accepted(Scope::Cluster, Some(3));
    let spans = recorded.spans();
    let [span] = &spans[..] else { panic!("{spans:?}") };
    let caller = TraceParent::parse(SAMPLED).unwrap().remote();
    assert_eq!(span.span_context.trace_id(), caller.trace_id());
    assert_eq!((span.parent_span_id, span.parent_span_is_remote), (caller.span_id(), true));
    assert_eq!((&*span.name, &span.span_kind), ("publish", &SpanKind::Producer));
    let own = TraceParent::of(&span.span_context).unwrap().to_string();
    assert_eq!(publication.traceparent.as_deref(), Some(&*own));
    let said = attributes(span);
    assert_eq!(said["messaging.destination.name"], "a");
    assert_eq!(said["messaging.operation.type"], "send");
    assert_eq!(said["rookery.event"].len(), 255);
    assert_eq!((&*said["rookery.scope"], &*said["rookery.members"]), ("cluster", "3"));
}

#[test]
fn a_publication_with_an_unsampled_parent_is_not_traced_and_keeps_its_parent() {
    let mut recorded = Recorded::new(1.0);
    let mut publication = publication(Source::Client, Some(UNSAMPLED));
    recorded.tracer.publish(&mut publication).accepted(Scope::Local, None);
    assert!(recorded.tracer.deliver(&publication).is_none());
    assert_eq!(publication.traceparent.as_deref(), Some(UNSAMPLED));
    assert!(recorded.spans().is_empty());
}

#[test]
fn without_a_parent_the_ratio_decides() {
    const OF: usize = 2000;
    let of = |ratio: f64| {
        let mut recorded = Recorded::new(ratio);
        let mut followed = 0;
        for _ in 0..OF {
            let mut publication = publication(Source::Client, None);
            drop(recorded.tracer.publish(&mut publication));
            followed += usize::from(publication.traceparent.is_some());
        }
        let spans = recorded.spans();
        assert_eq!(spans.len(), followed);
        assert!(spans.iter().all(|span| span.parent_span_id == SpanId::INVALID));
        followed
    };
    assert_eq!((of(0.0), of(1.0)), (0, OF));
    let half = of(0.5);
    assert!((OF / 3..OF * 2 / 3).contains(&half), "{half} of {OF}");
}

#[test]
fn of_received_publications_only_those_of_the_bridge_begin_a_trace() {
    let mut recorded = Recorded::new(1.0);
    assert!(recorded.tracer.deliver(&publication(Source::Redis, None)).is_none());
    assert!(recorded.tracer.deliver(&publication(Source::Redis, Some("nonsense"))).is_none());
    assert!(recorded.spans().is_empty());
    let bridged = recorded.tracer.deliver(&publication(Source::Bridge, None)).unwrap();
    bridged.addressed(1);
    bridged.written(Instant::now(), 1, &[Instant::now()]);
    drop(bridged);
    let spans = recorded.spans();
    assert_eq!((spans.len(), spans[0].parent_span_id), (1, SpanId::INVALID));
}

#[test]
fn a_delivery_span_ends_with_its_last_reference_and_carries_the_counts() {
    let mut recorded = Recorded::new(0.0);
    let delivery = recorded.tracer.deliver(&publication(Source::Redis, Some(SAMPLED))).unwrap();
    let waits = delivery.clone();
    let accepted = Instant::now();
    delivery.addressed(4);
    delivery.written(accepted, 1, &[accepted + Duration::from_millis(250)]);
    delivery.queued();
    drop(delivery);
    assert!(recorded.spans().is_empty());
    waits.written(accepted, 1, &[accepted]);
    waits.dropped(1);
    drop(waits);
    let spans = recorded.spans();
    assert_eq!((spans.len(), &spans[0].span_kind), (1, &SpanKind::Consumer));
    let said = attributes(&spans[0]);
    let expected = [
        // The fourth left the room before it was served.
        ("rookery.members", "3"),
        ("rookery.written", "2"),
        ("rookery.dropped", "1"),
        ("rookery.queued", "1"),
        ("rookery.pending", "0"),
        ("rookery.slowest_seconds", "0.25"),
    ];
    for (key, value) in expected {
        assert_eq!(said[key], value, "{key}");
    }
}

#[test]
fn a_delivery_span_without_recipients_is_not_exported() {
    let mut recorded = Recorded::new(0.0);
    drop(recorded.tracer.deliver(&publication(Source::Redis, Some(SAMPLED))).unwrap());
    assert!(recorded.spans().is_empty());
    assert_eq!(recorded.counts.dropped.get(), 0);
}

#[test]
fn a_late_delivery_span_ends_once_and_counts_what_is_pending() {
    let mut recorded = Recorded::new(0.0);
    let delivery = recorded.tracer.deliver(&publication(Source::Redis, Some(SAMPLED))).unwrap();
    delivery.addressed(2);
    delivery.written(Instant::now(), 1, &[Instant::now()]);
    recorded.tracer.close_late();
    assert!(recorded.spans().is_empty());
    recorded.tracer.close_all();
    let spans = recorded.spans();
    let said = attributes(&spans[0]);
    assert_eq!((&*said["rookery.members"], &*said["rookery.pending"]), ("2", "1"));
    drop(delivery);
    assert!(recorded.spans().is_empty());
}

#[test]
fn queue_and_open_spans_are_bounded_and_drops_are_counted() {
    let mut recorded = Recorded::new(1.0);
    for _ in 0..QUEUE + 5 {
        drop(recorded.tracer.publish(&mut publication(Source::Client, None)));
    }
    assert_eq!(recorded.counts.dropped.get(), 5);
    assert_eq!(recorded.spans().len(), QUEUE);
    let sampled = publication(Source::Redis, Some(SAMPLED));
    let mut open = Vec::new();
    while let Some(delivery) = recorded.tracer.deliver(&sampled) {
        open.push(delivery);
    }
    assert_eq!((open.len(), recorded.counts.dropped.get()), (4096, 6));
    open.pop();
    assert!(recorded.tracer.deliver(&sampled).is_some());
}
