//! The [`DisconnectReport`]: when the backend hears that a client is gone. Pure.

use parking_lot::Mutex;

use crate::telemetry::metrics::Disconnected;

/// When the backend hears that a client is gone: once, and after the calls about the client that are
/// in flight.
#[derive(Debug, Default)]
pub struct DisconnectReport {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    calls: u32,
    /// Why the client is gone; the first reason stays.
    reason: Option<Disconnected>,
    reported: bool,
}

impl DisconnectReport {
    /// A call about the client begins.
    pub fn begin_call(&self) {
        self.state.lock().calls += 1;
    }

    /// A call has ended. Returns the reason of the report that is due.
    pub fn end_call(&self) -> Option<Disconnected> {
        let mut state = self.state.lock();
        state.calls = state.calls.saturating_sub(1);
        state.due()
    }

    /// The client is gone. Returns the reason of the report that is due.
    pub fn gone(&self, reason: Disconnected) -> Option<Disconnected> {
        let mut state = self.state.lock();
        state.reason.get_or_insert(reason);
        state.due()
    }
}

impl State {
    fn due(&mut self) -> Option<Disconnected> {
        if self.calls > 0 || self.reported {
            return None;
        }
        self.reported = self.reason.is_some();
        self.reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_made_once_with_the_first_reason() {
        let report = DisconnectReport::default();
        assert_eq!(report.gone(Disconnected::Slow), Some(Disconnected::Slow));
        assert_eq!(report.gone(Disconnected::Client), None);
        report.begin_call();
        assert_eq!(report.end_call(), None);
    }

    #[test]
    fn a_report_waits_for_the_calls_in_flight() {
        let report = DisconnectReport::default();
        report.begin_call();
        report.begin_call();
        assert_eq!(report.gone(Disconnected::Client), None);
        assert_eq!(report.end_call(), None);
        assert_eq!(report.gone(Disconnected::Drain), None);
        assert_eq!(report.end_call(), Some(Disconnected::Client));
        assert_eq!(report.end_call(), None);
    }

    #[test]
    fn nothing_is_reported_of_a_client_that_stays() {
        let report = DisconnectReport::default();
        report.begin_call();
        assert_eq!(report.end_call(), None);
    }
}
