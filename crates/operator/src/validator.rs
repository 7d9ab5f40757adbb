//! [`Validator`]: validates resources away from the runtime.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tracing::error;

use super::crd::Rookery;
use super::validate::{Defaults, Invalid, Problem, Validated, validate};

/// Longest time that the validation of one resource may take. Even the largest one takes
/// milliseconds.
const DEADLINE: Duration = Duration::from_secs(5);

/// Validations at once. Those that exceed the deadline count until they end.
const MAX_CONCURRENT: usize = 4;

/// The most resources whose outcome is kept. Beyond it, all are validated again.
const MAX_KEPT: usize = 10_000;

/// The outcome of a validation.
type Outcome = Result<Arc<Validated>, Invalid>;

/// Validates resources on threads of their own, so that one that takes long to read does not delay
/// the reconciliation of the others.
pub struct Validator {
    defaults: Arc<Defaults>,
    permits: Arc<Semaphore>,
    /// The outcome for each resource by uid, and the generation that it is of: a resource is
    /// reconciled far more often than its spec changes.
    kept: Mutex<HashMap<String, (i64, Outcome)>>,
}

impl Validator {
    /// Creates a validator with values for fields that a resource leaves out.
    pub fn new(defaults: Defaults) -> Self {
        let permits = Arc::new(Semaphore::new(MAX_CONCURRENT));
        Validator { defaults: Arc::new(defaults), permits, kept: Mutex::default() }
    }

    /// Reads a resource.
    ///
    /// # Errors
    /// All problems of the resource; one that says so if reading it takes too long.
    pub async fn validate(&self, resource: &Rookery) -> Result<Arc<Validated>, Invalid> {
        let version = resource.uid().zip(resource.metadata.generation);
        if let Some((uid, generation)) = &version
            && let Some((of, outcome)) = self.kept.lock().get(uid)
            && of == generation
        {
            return outcome.clone();
        }
        let (resource, defaults) = (resource.clone(), self.defaults.clone());
        // One that was not finished is not kept: that may have been the machine's fault.
        let outcome = self.run(move || Ok(validate(&resource, &defaults).map(Arc::new))).await?;
        if let Some((uid, generation)) = version {
            let mut kept = self.kept.lock();
            if kept.len() >= MAX_KEPT {
                kept.clear();
            }
            kept.insert(uid, (generation, outcome.clone()));
        }
        outcome
    }

    async fn run<T: Send + 'static>(
        &self,
        validation: impl FnOnce() -> Result<T, Invalid> + Send + 'static,
    ) -> Result<T, Invalid> {
        let permit = self.permits.clone().acquire_owned().await.expect("it is never closed");
        let thread = tokio::task::spawn_blocking(move || {
            let result = validation();
            drop(permit);
            result
        });
        match tokio::time::timeout(DEADLINE, thread).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => {
                error!(%error, "validation failed: report this as a bug");
                Err(refused("cannot be validated: see the operator's log"))
            }
            Err(_) => Err(refused("takes too long to validate: make it smaller")),
        }
    }
}

fn refused(text: &str) -> Invalid {
    Invalid(vec![Problem { field: "spec".to_owned(), text: text.to_owned() }])
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_resource_that_takes_too_long_is_refused_and_delays_no_other() {
        let defaults = Defaults {
            image: "rookery".to_owned(),
            operator_namespace: None,
            scaler_address: None,
        };
        let validator = Validator::new(defaults);
        let (end, ended) = mpsc::channel::<()>();
        let mut slow = std::pin::pin!(validator.run(move || {
            let _ = ended.recv();
            Ok(())
        }));
        assert!((&mut slow).now_or_never().is_none());
        assert_eq!(validator.run(|| Ok(7)).await, Ok(7));
        tokio::time::advance(DEADLINE).await;
        let refused = slow.await.unwrap_err().to_string();
        assert_eq!(refused, "spec: takes too long to validate: make it smaller");
        drop(end);
    }

    #[tokio::test]
    async fn a_resource_is_validated_again_only_when_its_spec_changes() {
        let defaults = Defaults {
            image: "rookery".to_owned(),
            operator_namespace: None,
            scaler_address: None,
        };
        let validator = Validator::new(defaults);
        let spec = serde_json::json!({ "config": { "auth": { "anonymous": true } } });
        let mut resource = Rookery::new("chat", serde_json::from_value(spec).unwrap());
        resource.metadata.uid = Some("1".to_owned());
        resource.metadata.generation = Some(1);
        let first = validator.validate(&resource).await.unwrap();
        assert!(Arc::ptr_eq(&first, &validator.validate(&resource).await.unwrap()));
        resource.spec.image = Some("other".to_owned());
        resource.metadata.generation = Some(2);
        assert_eq!(validator.validate(&resource).await.unwrap().image, "other");
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_of_its_resource() {
        let defaults = Defaults {
            image: "rookery".to_owned(),
            operator_namespace: None,
            scaler_address: None,
        };
        let validator = Validator::new(defaults);
        let result = validator.run(|| -> Result<(), Invalid> { panic!("as the test wants") }).await;
        assert!(result.unwrap_err().to_string().starts_with("spec: cannot be validated"));
    }
}
