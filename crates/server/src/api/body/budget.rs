//! [`BodyBudget`]: the memory that request bodies may take.

use std::sync::Arc;

use http::{StatusCode, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::problem::Problem;

/// The most bytes that a body takes before they arrive, so that requests whose bodies never arrive
/// leave memory to others.
const MAX_ADVANCE: usize = 64 << 10;

/// Memory for the bodies of all requests in progress. Cloning is shallow.
#[derive(Clone)]
pub(in crate::api) struct BodyBudget {
    kibibytes: Arc<Semaphore>,
    total: u32,
}

/// The memory of one body, until dropped.
pub(in crate::api) struct BodyShare {
    budget: BodyBudget,
    permit: OwnedSemaphorePermit,
}

impl BodyBudget {
    /// A budget of `total` KiB.
    pub(in crate::api) fn new(total: u32) -> Self {
        BodyBudget { kibibytes: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// Memory for the beginning of a body, which declares its length in bytes if it is known.
    ///
    /// # Errors
    /// 429 while there is too little.
    pub(super) fn share(&self, declared: Option<usize>) -> Result<BodyShare, Problem> {
        let permit = self.take(self.permits(declared.unwrap_or(0).min(MAX_ADVANCE)))?;
        Ok(BodyShare { budget: self.clone(), permit })
    }

    /// The permits for a body of this size, at most all of them: one body may be larger.
    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, self.total)
    }

    fn take(&self, permits: u32) -> Result<OwnedSemaphorePermit, Problem> {
        self.kibibytes.clone().try_acquire_many_owned(permits).map_err(|_| {
            Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many requests are in progress: send fewer in parallel, or smaller ones",
            )
            .code("rate_limited")
            .header(header::RETRY_AFTER, "1")
        })
    }
}

impl BodyShare {
    /// Makes the share large enough for a body that has grown to this size in bytes.
    ///
    /// # Errors
    /// 429 while there is too little.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let held = self.permit.num_permits() as u32;
        match self.budget.permits(bytes).checked_sub(held) {
            None | Some(0) => {}
            Some(missing) => self.permit.merge(self.budget.take(missing)?),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_takes_more_only_as_it_arrives() {
        let budget = BodyBudget::new(256);
        let announced: Vec<_> = (0..4).map(|_| budget.share(Some(16 << 20)).ok()).collect();
        assert!(announced.iter().all(Option::is_some));
        assert!(budget.share(Some(1)).is_err());
        drop(announced);
        let mut share = budget.share(None).ok().unwrap();
        assert_eq!(share.permit.num_permits(), 1);
        assert!(share.grow(200 << 10).is_ok());
        assert_eq!(share.permit.num_permits(), 200);
        assert!(budget.share(Some(57 << 10)).is_err());
        assert!(budget.share(Some(56 << 10)).is_ok());
        assert!(share.grow(1 << 30).is_ok(), "a single body may exceed the budget");
        assert!(budget.share(None).is_err());
    }
}
