//! [`PublishAnswer`]: what a publisher is answered, and what is kept for its repeats.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::message::{Receipt, Scope};

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
