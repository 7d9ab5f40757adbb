//! The [`RebalanceState`]: whether newcomers are sent to other instances while this one gives
//! sessions away.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a client may take to come back after its session was closed.
const RETURN: Duration = Duration::from_secs(10);

/// Whether newcomers are sent to other instances.
///
/// A client whose session was closed would otherwise come back: by its sticky cookie, or because
/// the ingress chooses among all instances.
#[derive(Debug, Default)]
pub struct RebalanceState(Mutex<Option<Round>>);

#[derive(Debug, Default)]
struct Round {
    /// When sessions were closed lately, and how many of them have not been sent elsewhere since.
    closed: VecDeque<(Instant, usize)>,
}

impl RebalanceState {
    /// Sessions were closed.
    pub fn closed(&self, count: usize, now: Instant) {
        self.0.lock().get_or_insert_default().closed.push_back((now, count));
    }

    /// This instance gives no more sessions away.
    pub fn end(&self) {
        *self.0.lock() = None;
    }

    /// Whether a newcomer is to be sent to another instance: each that has the sticky cookie of
    /// this one, which is then expired, and of the others as many as sessions were closed in the
    /// last seconds.
    pub fn sends_elsewhere(&self, has_cookie: bool, now: Instant) -> bool {
        let mut state = self.0.lock();
        let Some(Round { closed }) = &mut *state else { return false };
        while closed.front().is_some_and(|(at, n)| *n == 0 || now.duration_since(*at) > RETURN) {
            closed.pop_front();
        }
        match closed.front_mut() {
            Some((_, count)) => {
                *count -= 1;
                true
            }
            None => has_cookie,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_newcomers_are_sent_elsewhere_as_sessions_were_closed() {
        let (state, now) = (RebalanceState::default(), Instant::now());
        assert!(!state.sends_elsewhere(true, now));
        state.closed(2, now);
        state.closed(1, now);
        let sent = (0..5).filter(|_| state.sends_elsewhere(false, now)).count();
        assert_eq!(sent, 3);
        assert!(state.sends_elsewhere(true, now), "its cookie leads here");
        state.end();
        assert!(!state.sends_elsewhere(true, now));
    }

    #[test]
    fn a_client_that_does_not_come_back_in_time_leaves_newcomers_alone() {
        let (state, now) = (RebalanceState::default(), Instant::now());
        state.closed(2, now);
        assert!(!state.sends_elsewhere(false, now + RETURN * 2));
    }
}
