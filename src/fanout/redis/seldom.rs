//! Log lines that bad input could repeat endlessly.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Time between two lines of one kind.
const PAUSE: Duration = Duration::from_secs(10);

/// Lets one line through in ten seconds.
#[derive(Debug, Default)]
pub struct Seldom {
    last: Mutex<(Option<Instant>, u64)>,
}

impl Seldom {
    /// How many lines were held back since the last one, where another may be written now.
    pub fn now(&self) -> Option<u64> {
        let mut last = self.last.lock();
        let now = Instant::now();
        if last.0.is_some_and(|at| now.saturating_duration_since(at) < PAUSE) {
            last.1 += 1;
            return None;
        }
        last.0 = Some(now);
        Some(std::mem::take(&mut last.1))
    }
}
