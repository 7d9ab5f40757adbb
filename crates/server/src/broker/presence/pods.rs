//! The [`SeenPods`]: other instances with somebody in a room, and which of them are gone. Pure.

use std::time::{Duration, Instant};

use crate::hashing::HashMap;

/// How long an instance that was never heard, or is silent, may still send its first heartbeat.
const GRACE: Duration = Duration::from_secs(1);

/// The other instances that had somebody in a room, by when they were known to be alive.
pub(super) struct SeenPods {
    seen: HashMap<String, Instant>,
    /// Those that said that they stop.
    stopped: HashMap<String, Instant>,
    leave_delay: Duration,
}

impl SeenPods {
    /// None. The occupants of an instance that stops stay for `leave_delay`, as they may be about to
    /// come back to another one.
    pub fn new(leave_delay: Duration) -> Self {
        SeenPods { seen: HashMap::default(), stopped: HashMap::default(), leave_delay }
    }

    /// An instance has somebody in a room.
    pub fn saw(&mut self, pod: &str, now: Instant) {
        if !self.seen.contains_key(pod) {
            self.seen.insert(pod.to_owned(), now);
        }
    }

    /// An instance said that it stops.
    pub fn stops(&mut self, pod: String, now: Instant) {
        if self.seen.contains_key(&pod) {
            self.stopped.insert(pod, now);
        }
    }

    /// Takes those that are gone: not `alive` any more.
    pub fn gone(&mut self, alive: &[String], now: Instant) -> Vec<String> {
        for pod in alive {
            if let Some(last) = self.seen.get_mut(pod) {
                *last = now;
            }
        }
        let (stopped, delay) = (&self.stopped, self.leave_delay);
        let is_gone = |pod: &String, last: Instant| match stopped.get(pod) {
            Some(since) => now.saturating_duration_since(*since) >= delay,
            None => now.saturating_duration_since(last) >= GRACE,
        };
        let gone: Vec<String> = self
            .seen
            .iter()
            .filter(|(pod, last)| is_gone(pod, **last))
            .map(|(pod, _)| pod.clone())
            .collect();
        for pod in &gone {
            self.seen.remove(pod);
            self.stopped.remove(pod);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_secs(3);

    #[test]
    fn an_instance_is_gone_when_it_is_silent_and_one_that_stops_after_the_delay() {
        let mut pods = SeenPods::new(DELAY);
        let now = Instant::now();
        ["silent", "stops", "lives"].iter().for_each(|pod| pods.saw(pod, now));
        let all: Vec<String> = ["silent", "stops", "lives"].map(str::to_owned).into();
        assert!(pods.gone(&all, now + GRACE * 9).is_empty());
        let now = now + GRACE * 9;
        pods.stops("stops".to_owned(), now);
        let lives = ["lives".to_owned()];
        assert!(pods.gone(&lives, now + GRACE / 2).is_empty());
        assert_eq!(pods.gone(&lives, now + GRACE), ["silent"]);
        assert_eq!(pods.gone(&lives, now + DELAY), ["stops"]);
        assert!(pods.gone(&lives, now + DELAY * 9).is_empty());
    }

    #[test]
    fn an_instance_that_was_never_heard_has_a_moment_to_be() {
        let mut pods = SeenPods::new(DELAY);
        let now = Instant::now();
        pods.saw("new", now);
        assert!(pods.gone(&[], now).is_empty());
        assert_eq!(pods.gone(&[], now + GRACE), ["new"]);
    }
}
