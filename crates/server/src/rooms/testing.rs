//! Members for the tests of rooms, on polling: their outboxes keep what was delivered, in order.

use std::sync::Arc;
use std::time::Duration;

use rookery_protocol::{Parser, Revision};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::member::Member;
use crate::connection::outbox::{Outbox, OutboxContext, OutboxLimits};
use crate::telemetry::latency::DeliveryRecorder;

/// What the outboxes of one shard share.
pub(super) fn context(recorder: &Arc<DeliveryRecorder>) -> Arc<OutboxContext> {
    Arc::new(OutboxContext {
        parser: Parser::Json,
        deflate: None,
        limits: Arc::new(OutboxLimits::new(1 << 30, Duration::from_secs(60), 1 << 30)),
        recorder: recorder.clone(),
        backlog: Arc::default(),
        runtime: Handle::current(),
        tracker: TaskTracker::new(),
    })
}

/// A member of the namespace `/`.
pub(super) fn member(id: &str, context: &Arc<OutboxContext>) -> Arc<Member> {
    let outbox = Outbox::new(Revision::V4, context.clone());
    Arc::new(Member::new(id.into(), "/".into(), None, outbox, Box::new(|_| {})))
}
