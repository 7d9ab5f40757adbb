//! The [`ConnectAttempts`] of a session: how often it may present a token, and how many of its
//! connects were refused. Pure.

use std::time::Instant;

use super::token_bucket::TokenBucket;
use crate::hashing::RandomState;

/// Tokens that one session may present at once, because it asks for many namespaces.
const AT_ONCE: u32 = 50;

/// Tokens that one session may present per second after that.
const PER_SECOND: u32 = 1;

/// Refusals of one namespace that end a session. `socket.io-client` asks again when the application
/// calls `connect`, and for all namespaces when it has reconnected (version 3).
const MAX_OF_NAMESPACE: u32 = 5;

/// Refusals of all namespaces together that end a session, beside one for each namespace there is.
/// A client asks for each of its namespaces once; where some are misspelt, it must still get to the
/// others.
const MAX: usize = 20;

/// What a session did to be let in. Each attempt may cost the verification of a signature.
pub struct ConnectAttempts {
    rate: TokenBucket,
    /// How often each namespace refused the session since it was in one, by the hash of its name.
    refused: Vec<(u64, u32)>,
}

impl ConnectAttempts {
    /// None yet.
    pub fn new(now: Instant) -> Self {
        ConnectAttempts { rate: TokenBucket::full(AT_ONCE, now), refused: Vec::new() }
    }

    /// Whether the session may present a token now.
    pub fn may_present(&mut self, now: Instant) -> bool {
        self.rate.take_many(1, PER_SECOND, AT_ONCE, now)
    }

    /// A connect was accepted.
    pub fn accepted(&mut self) {
        self.refused = Vec::new();
    }

    /// A namespace refused a session that is in none, on a server that offers so many. True: it
    /// was one refusal too many.
    pub fn refused(&mut self, namespace: &str, offered: usize) -> bool {
        // Names that collide count as one, for this session alone.
        let hash = RandomState::with_seeds(0, 0, 0, 0).hash_one(namespace);
        let at = self.refused.iter().position(|(refused, _)| *refused == hash);
        let at = at.unwrap_or_else(|| {
            self.refused.push((hash, 0));
            self.refused.len() - 1
        });
        self.refused[at].1 += 1;
        let all: u32 = self.refused.iter().map(|(_, times)| times).sum();
        self.refused[at].1 >= MAX_OF_NAMESPACE || all as usize >= MAX + offered
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn tokens_may_be_presented_in_a_burst_and_then_slowly() {
        let start = Instant::now();
        let mut attempts = ConnectAttempts::new(start);
        let mut presented = |now| (0..1_000).filter(|_| attempts.may_present(now)).count();
        assert_eq!(presented(start), 50);
        assert_eq!(presented(start + Duration::from_secs(10)), 10);
    }

    #[test]
    fn a_namespace_may_refuse_a_session_a_few_times() {
        let mut attempts = ConnectAttempts::new(Instant::now());
        for _ in 0..10 {
            assert!((0..4).all(|_| !attempts.refused("/", 2)));
            attempts.accepted();
        }
        assert!((0..4).all(|_| !attempts.refused("/", 2)));
        assert!((0..4).all(|_| !attempts.refused("/other", 2)));
        assert!(attempts.refused("/", 2));
    }

    #[test]
    fn each_of_many_namespaces_may_refuse_a_session_once() {
        let mut attempts = ConnectAttempts::new(Instant::now());
        assert!((0..100).all(|n| !attempts.refused(&n.to_string(), 100)));
        assert!((100..1_000).any(|n| attempts.refused(&n.to_string(), 100)));
    }
}
