//! [`Breaker`]: leaves a backend alone for a moment after many calls in a row have failed. Pure.

use std::time::{Duration, Instant};

/// Calls that must fail one after the other before the backend is left alone.
pub const FAILURES: u32 = 20;

/// How long the backend is left alone; then one call tries it, and after each further failure the
/// next one after as long.
pub const PAUSE: Duration = Duration::from_secs(1);

/// A circuit breaker. Failures are calls that the backend did not answer: an answer, even one that
/// refuses everything, shows that it is alive.
#[derive(Debug, Default)]
pub struct Breaker {
    /// Failures since the last answer.
    failures: u32,
    /// While it is open: when the next call may try the backend.
    retry_at: Option<Instant>,
}

/// A change of state of a [`Breaker`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Calls are refused from now on.
    Opened,
    /// Calls are sent again.
    Closed,
}

impl Breaker {
    /// Whether no call may be sent now.
    pub fn is_open(&self, now: Instant) -> bool {
        self.retry_at.is_some_and(|at| now < at)
    }

    /// Whether a call may be sent now. While the breaker is open, that is one in each [`PAUSE`].
    pub fn admit(&mut self, now: Instant) -> bool {
        match &mut self.retry_at {
            None => true,
            Some(at) if *at <= now => {
                *at = now + PAUSE;
                true
            }
            Some(_) => false,
        }
    }

    /// A call was answered.
    pub fn answered(&mut self) -> Option<Transition> {
        self.failures = 0;
        self.retry_at.take().map(|_| Transition::Closed)
    }

    /// A call was not answered.
    pub fn failed(&mut self, now: Instant) -> Option<Transition> {
        self.failures = self.failures.saturating_add(1);
        if self.failures < FAILURES || self.retry_at.is_some() {
            return None;
        }
        self.retry_at = Some(now + PAUSE);
        Some(Transition::Opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(breaker: &mut Breaker, times: u32, now: Instant) -> Option<Transition> {
        (0..times).filter_map(|_| breaker.failed(now)).last()
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_call_through_after_each_pause() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        assert_eq!(failed(&mut breaker, FAILURES - 1, start), None);
        assert!(breaker.admit(start));
        assert_eq!(failed(&mut breaker, 1, start), Some(Transition::Opened));
        let before = start + PAUSE - Duration::from_millis(1);
        assert!(breaker.is_open(before) && !breaker.admit(before));
        assert!(!breaker.is_open(start + PAUSE));
        assert_eq!([breaker.admit(start + PAUSE), breaker.admit(start + PAUSE)], [true, false]);
        assert_eq!(failed(&mut breaker, 1, start + PAUSE), None);
        assert_eq!(
            [breaker.admit(start + PAUSE * 2), breaker.admit(start + PAUSE * 2)],
            [true, false]
        );
        assert_eq!(breaker.answered(), Some(Transition::Closed));
        assert!(breaker.admit(start + PAUSE * 2) && breaker.admit(start + PAUSE * 2));
    }

    #[test]
    fn an_answer_between_failures_starts_the_count_again() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..3 {
            assert_eq!(failed(&mut breaker, FAILURES - 1, now), None);
            assert_eq!(breaker.answered(), None);
        }
        assert!(breaker.admit(now));
    }

    #[test]
    fn a_call_that_is_never_recorded_does_not_keep_it_open() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        failed(&mut breaker, FAILURES, start);
        assert!(breaker.admit(start + PAUSE));
        // The client of that call is gone, and so is the call.
        assert!(breaker.admit(start + PAUSE * 2));
    }
}
