//! The [`PodId`]: the name of one instance.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::id_source::random_id;

/// The name of one instance: 8 characters that begin the ids of its members. Cloning is shallow.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodId(Arc<str>);

impl PodId {
    /// How many characters a pod's name has.
    pub const LENGTH: usize = 8;

    /// A name for this process. Two processes choose the same one with a probability of 2^-48.
    ///
    /// # Panics
    /// When the operating system has no randomness.
    pub fn random() -> Self {
        PodId(random_id(Self::LENGTH).into())
    }
}

impl From<&str> for PodId {
    fn from(name: &str) -> Self {
        PodId(name.into())
    }
}

impl From<PodId> for Arc<str> {
    fn from(pod: PodId) -> Self {
        pod.0
    }
}

impl Deref for PodId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PodId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PodId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
