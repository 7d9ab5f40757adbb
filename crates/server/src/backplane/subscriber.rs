//! The [`Subscriber`]: the task that keeps the subscribing connection and what is subscribed on it.
//! Messages do not pass through it; the connection hands them to the decoder as it reads them.

pub(super) mod cluster;
pub(super) mod commands;
mod output_buffer;
mod session;

use std::sync::Arc;
use std::time::Instant;

use rookery_ops::throttle::{Throttle, limited};
use tokio_util::sync::CancellationToken;

use super::Parts;
use super::connect::{Connector, ReconnectDelays};
use super::decoder::Decoder;
use super::link_status::{LinkConnection, LinkStatus};
use super::wire::channels::Channels;
use crate::rooms::interest::RoomInterests;
use crate::telemetry::metrics::Metrics;
use output_buffer::OutputBuffer;
use session::Session;

/// Keeps the subscribing connection.
pub(super) struct Subscriber {
    connector: Connector,
    channels: Channels,
    interests: Arc<RoomInterests>,
    decoder: Arc<Decoder>,
    status: Arc<LinkStatus>,
    metrics: Arc<Metrics>,
    output_buffer: Arc<OutputBuffer>,
    /// Of the lines about rooms that Redis refuses; it outlives a connection.
    refused: Throttle,
    /// Of the lines about patterns that Redis does not permit.
    forbidden_patterns: Throttle,
}

impl Subscriber {
    /// Keeps `interests` subscribed, by connections whose messages `decoder` gets.
    pub fn new(parts: &Parts, interests: Arc<RoomInterests>, decoder: Arc<Decoder>) -> Self {
        Subscriber {
            connector: parts.connector.clone(),
            channels: parts.channels.clone(),
            interests,
            decoder,
            status: parts.status.clone(),
            output_buffer: Arc::default(),
            refused: Throttle::new(&parts.metrics.log_lines_suppressed),
            forbidden_patterns: Throttle::new(&parts.metrics.log_lines_suppressed),
            metrics: parts.metrics.clone(),
        }
    }

    /// Keeps the connection until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let (mut delays, mut links) = (ReconnectDelays::default(), 0_u64);
        let mut was_closed = false;
        let away = Throttle::new(&self.metrics.log_lines_suppressed);
        while !shutdown.is_cancelled() {
            let opened = tokio::select! {
                () = shutdown.cancelled() => return,
                opened = Session::open(&self, was_closed) => opened,
            };
            match opened {
                Ok(mut session) => {
                    self.metrics.redis_reconnects.inc_by(u64::from(links > 0));
                    links += 1;
                    let since = Instant::now();
                    let why = session.run(&shutdown).await;
                    was_closed = session.was_closed();
                    delays.lasted(since.elapsed());
                    self.status.set(LinkConnection::Subscriber, false);
                    self.interests.disconnected();
                    if !shutdown.is_cancelled() {
                        let reason = why;
                        tracing::warn!(reason, "lost the connection to Redis that subscribes");
                    }
                }
                Err(error) => {
                    let hint = self.connector.advice(&error);
                    limited!(away, warn, %error, hint, "cannot connect to Redis to subscribe");
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.connector.pause(delays.next_delay()) => {}
            }
        }
    }
}
