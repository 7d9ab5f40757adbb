//! [`PublishAnswer`]: what a publisher is answered, and what is kept for its repeats.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::broker::AckedReceipt;
use crate::message::{Receipt, Scope};
use rookery_protocol::Data;

/// The result of an accepted publication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublishAnswer {
    /// The id from the request, or a generated one.
    #[schema(value_type = String)]
    pub id: Arc<str>,
    /// Whether the publication was also sent to the other instances.
    pub scope: Scope,
    /// The number of members on this instance that the publication was addressed to.
    pub members: usize,
}

impl PublishAnswer {
    pub(super) fn new(id: Arc<str>, receipt: Receipt) -> Self {
        PublishAnswer { id, scope: receipt.scope, members: receipt.members }
    }
}

/// The answer to a publish request.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Published {
    /// Without `ack`.
    Accepted(PublishAnswer),
    /// With `ack`.
    Acknowledged(AcknowledgedAnswer),
}

/// The result of a publication whose recipients were asked to acknowledge it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AcknowledgedAnswer {
    #[serde(flatten)]
    accepted: PublishAnswer,
    /// The number of members of all instances and Node servers that the publication was addressed to.
    recipients: usize,
    /// The first argument of each acknowledgement, in the order of their arrival; null if it has
    /// none, and beyond 16 MiB of acknowledgements.
    #[schema(value_type = Vec<serde_json::Value>, example = json!(["ok", null]))]
    acks: Vec<Data>,
    /// Whether the time was over before every recipient had acknowledged the event.
    timed_out: bool,
}

impl AcknowledgedAnswer {
    pub(super) fn new(id: Arc<str>, receipt: AckedReceipt) -> Self {
        let AckedReceipt { receipt, recipients, acks, timed_out } = receipt;
        let accepted = PublishAnswer::new(id, receipt);
        AcknowledgedAnswer { accepted, recipients, acks, timed_out }
    }
}
