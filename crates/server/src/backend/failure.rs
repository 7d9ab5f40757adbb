//! [`Failure`]: why a call to the backend has no reply.

use crate::telemetry::metrics::BackendOutcome;

/// Why a call to the backend has no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The backend did not answer within `backend.timeout`.
    #[error("no answer in time")]
    Timeout,
    /// The call waited for others until `backend.timeout` was over; it was not sent.
    #[error("{0} calls were in flight until the time was over")]
    Busy(u32),
    /// There was no connection, or it broke: why, without the URL.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// The response has another status than 2xx.
    #[error("the status is {0}")]
    Status(u16),
    /// The response is larger than so many bytes.
    #[error("the reply has more than {0} bytes")]
    TooLarge(usize),
    /// The reply is not valid: what is wrong with it.
    #[error("{0}")]
    BadReply(String),
    /// The call was not sent, because the last ones have failed.
    #[error("the last calls were not answered, so this one was not sent")]
    CircuitOpen,
    /// The call was not sent, because as many wait as `backend.queue` allows.
    #[error("{0} calls were waiting, so this one was not sent")]
    Overloaded(u32),
}

impl Failure {
    /// The label of `rookery_backend_requests_total`.
    pub fn outcome(&self) -> BackendOutcome {
        match self {
            Failure::Timeout => BackendOutcome::Timeout,
            Failure::Unreachable(_) => BackendOutcome::Unreachable,
            Failure::Status(_) => BackendOutcome::Status,
            Failure::TooLarge(_) => BackendOutcome::TooLarge,
            Failure::BadReply(_) => BackendOutcome::BadReply,
            Failure::CircuitOpen => BackendOutcome::CircuitOpen,
            Failure::Busy(_) | Failure::Overloaded(_) => BackendOutcome::Overloaded,
        }
    }

    /// What clients are told: nothing of how the backend is reached.
    pub fn client_message(&self) -> &'static str {
        match self {
            Failure::Timeout => "the application's backend did not answer in time",
            Failure::Unreachable(_) | Failure::CircuitOpen => {
                "the application's backend cannot be reached"
            }
            Failure::Status(_) => "the application's backend answered with an error",
            Failure::TooLarge(_) | Failure::BadReply(_) => {
                "the application's backend sent a reply that is not valid"
            }
            Failure::Busy(_) | Failure::Overloaded(_) => {
                "the application's backend has too much to do"
            }
        }
    }

    /// Whether nothing shows that the backend is alive: no response, or one of a proxy before it
    /// (RFC 9110, sections 15.6.3 to 15.6.5).
    pub fn is_outage(&self) -> bool {
        matches!(self, Failure::Timeout | Failure::Unreachable(_) | Failure::Status(502..=504))
    }

    /// Whether the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Failure::Timeout
            | Failure::Busy(_)
            | Failure::Unreachable(_)
            | Failure::CircuitOpen
            | Failure::Overloaded(_) => true,
            Failure::Status(status) => *status >= 500 || matches!(status, 408 | 425 | 429),
            // It was handled: only its reply is of no use.
            Failure::TooLarge(_) | Failure::BadReply(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_the_backend_refuses_for_good_is_not_sent_again() {
        for status in [500, 502, 503, 504, 408, 425, 429] {
            assert!(Failure::Status(status).is_temporary(), "{status}");
        }
        for status in [301, 400, 401, 403, 404, 405, 413] {
            assert!(!Failure::Status(status).is_temporary(), "{status}");
        }
    }

    #[test]
    fn only_what_shows_no_life_is_an_outage() {
        assert!(Failure::Timeout.is_outage() && Failure::Status(503).is_outage());
        assert!(!Failure::Status(500).is_outage() && !Failure::Status(404).is_outage());
        assert!(!Failure::CircuitOpen.is_outage() && !Failure::Overloaded(1).is_outage());
    }
}
