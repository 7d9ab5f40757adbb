//! The [`ClusterSubscriber`]: the task that keeps, on the sharded wire of a Cluster, a subscribing
//! connection to each primary, and every channel subscribed at the primary that owns its slot.

mod node;
mod placements;
mod session;

use std::sync::Arc;

use rookery_ops::throttle::Throttle;
use tokio_util::sync::CancellationToken;

use crate::backplane::Parts;
use crate::backplane::connect::cluster::Cluster;
use crate::backplane::decoder::Decoder;
use crate::backplane::link_status::LinkStatus;
use crate::backplane::wire::channels::Channels;
use crate::rooms::interest::RoomInterests;
use crate::telemetry::metrics::Metrics;
use session::ClusterSession;

/// Keeps the subscribing connections to a Cluster.
pub(in crate::backplane) struct ClusterSubscriber {
    cluster: Arc<Cluster>,
    channels: Channels,
    interests: Arc<RoomInterests>,
    decoder: Arc<Decoder>,
    status: Arc<LinkStatus>,
    metrics: Arc<Metrics>,
    /// Of the lines about channels that Redis refuses.
    refused: Throttle,
    /// Of the lines about nodes that cannot be reached.
    away: Throttle,
}

impl ClusterSubscriber {
    /// Keeps `interests` subscribed at the primaries of `cluster`, whose messages `decoder` gets.
    pub(in crate::backplane) fn new(
        parts: &Parts,
        cluster: Arc<Cluster>,
        interests: Arc<RoomInterests>,
        decoder: Arc<Decoder>,
    ) -> Self {
        ClusterSubscriber {
            cluster,
            channels: parts.channels.clone(),
            interests,
            decoder,
            status: parts.status.clone(),
            refused: Throttle::new(&parts.metrics.log_lines_suppressed),
            away: Throttle::new(&parts.metrics.log_lines_suppressed),
            metrics: parts.metrics.clone(),
        }
    }

    /// Keeps the connections until `shutdown`.
    pub(in crate::backplane) async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = ClusterSession::new(&self).run() => {}
        }
    }
}
