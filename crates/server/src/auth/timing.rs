//! [`Timing`]: how often keys are read and fetched.

use std::time::Duration;

/// How often keys are read and fetched. Tests shorten the times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// The least time between two reads of a key file.
    pub(super) file_check: Duration,
    /// The time between two attempts to fetch the first key set, without which the instance is not
    /// ready.
    pub(super) first_fetch: Duration,
    /// The longest time between two fetches of the key set once there is one.
    pub(super) refresh: Duration,
    /// The least time between two fetches on account of unknown keys.
    pub(super) unknown_key: Duration,
    /// How long a fetch may take, and a verification may wait for one.
    pub(super) fetch_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            file_check: Duration::from_secs(1),
            first_fetch: Duration::from_secs(1),
            refresh: Duration::from_secs(300),
            unknown_key: Duration::from_secs(10),
            fetch_timeout: Duration::from_secs(5),
        }
    }
}
