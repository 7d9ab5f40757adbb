//! The last step of a reconciliation: the status, and the event about a new problem.

use kube::ResourceExt as _;
use kube::runtime::events::EventType;
use tokio::time::Instant;

use super::{ReconcileError, Reconciliation};
use crate::crd::RookeryStatus;
use crate::status::{self, Written};

/// The event about a resource whose status the cluster refuses.
const STATUS_REFUSED: (&str, &str) = (
    "StatusRefused",
    "the cluster refuses the status, as the resource does not match its definition: correct it; the \
     operator's log has the reason",
);

impl Reconciliation<'_> {
    /// Writes `status` if it differs from `before`, and publishes an event if it names a new problem.
    pub(super) async fn write_status(
        &self,
        before: Option<&RookeryStatus>,
        status: RookeryStatus,
    ) -> Result<(), ReconcileError> {
        let (context, rookery) = (self.context, self.rookery);
        let (namespace, name) = (rookery.namespace().unwrap_or_default(), rookery.name_any());
        let (uid, version) = (rookery.uid().unwrap_or_default(), rookery.resource_version());
        let written = status::write(&context.client, &namespace, &name, before, &status).await;
        let written = written.map_err(ReconcileError::Status)?;
        if written != Written::Unchanged {
            // One that is refused would be refused again.
            let (version, now) = (version.as_deref(), Instant::now());
            context.status_writes.written(&uid, version, status.clone(), now);
        }
        let problem = match written {
            Written::Done => {
                context.metrics.status_writes.inc();
                status.new_problem(before)
            }
            Written::Refused if context.refused.is_first(&uid, rookery.metadata.generation) => {
                status.new_problem(None).or(Some(STATUS_REFUSED))
            }
            Written::Refused | Written::Unchanged => None,
        };
        if let Some((reason, message)) = problem {
            self.publish_event(EventType::Warning, reason, message.to_owned()).await;
        }
        Ok(())
    }
}
