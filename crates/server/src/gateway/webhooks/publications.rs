//! Publishes what the backend's replies ask for.

use std::sync::Arc;
use std::time::Instant;

use rookery_ops::throttle::limited;
use smallvec::smallvec;

use crate::backend::Publish;
use crate::gateway::state::Gateway;
use crate::message::{Publication, PublicationId, Source};
use crate::rooms::member::Member;

/// Publishes in the namespace of the client that the reply is about, in this order. What is not
/// accepted is counted and logged.
pub async fn publish_all(
    gateway: &Gateway,
    member: &Member,
    publications: Vec<Publish>,
    traceparent: Option<&Arc<str>>,
) {
    for Publish { room, except, event, args, volatile, compress } in publications {
        let publication = Publication {
            id: PublicationId::of_client(&member.id),
            namespace: member.namespace.clone(),
            rooms: smallvec![room],
            except: except.into(),
            event,
            args: args.into(),
            volatile,
            compress,
            source: Source::Backend,
            address: member.address,
            accepted: Instant::now(),
            traceparent: traceparent.cloned(),
        };
        if let Err(error) = gateway.broker.accept(publication).await {
            gateway.metrics.backend.dropped_publications.inc();
            let namespace = &*member.namespace;
            limited!(
                gateway.log_throttles.backend_publications,
                warn,
                namespace,
                %error,
                "dropped a publication of the backend"
            );
        }
    }
}
