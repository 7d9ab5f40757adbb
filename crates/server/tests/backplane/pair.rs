//! A [`Pair`]: two pods in traffic, and what of it is lost.

use std::collections::HashSet;
use std::time::Duration;

use rookery_config as config;

use super::know_each_other;
use super::pod::Pod;

/// Two pods in one room, each of which publishes to the other.
pub struct Pair {
    pub a: Pod,
    pub b: Pod,
    /// Publications of each, accepted or not.
    published: usize,
}

impl Pair {
    /// Two pods with this configuration, which know each other.
    pub async fn with(config: config::Redis) -> Pair {
        let a = Pod::configured("pod-aaaa", config.clone());
        let b = Pod::configured("pod-bbbb", config);
        a.is_up().await;
        b.is_up().await;
        know_each_other(&[&a, &b]).await;
        Pair { a, b, published: 0 }
    }

    /// Both publish every millisecond until `done`.
    pub async fn publish_until(&mut self, what: &str, done: impl AsyncFn(&Pair) -> bool) {
        let traffic = async {
            while !done(self).await {
                for _ in 0..10 {
                    self.publish();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        };
        let patient = tokio::time::timeout(Duration::from_secs(60), traffic).await;
        patient.unwrap_or_else(|_| panic!("not within a minute: {what}"));
    }

    pub fn publish(&mut self) -> bool {
        let n = self.published;
        self.published += 1;
        let from_a = self.a.publish(&["room"], &format!("a{n}"));
        self.b.publish(&["room"], &format!("b{n}")) && from_a
    }

    /// Whether both are connected and hear each other.
    pub async fn hear_each_other(&mut self) {
        self.publish_until("both hear each other", async |pair| {
            let last = pair.published.saturating_sub(1);
            pair.b.events().contains(&format!("a{last}"))
                && pair.a.events().contains(&format!("b{last}"))
        })
        .await;
    }

    /// Nothing came twice, and each loss is counted: by the receiver as a gap, or by the publisher as
    /// unsent (or by both, where it was on its way when a connection broke).
    pub fn every_loss_is_counted(&self) {
        for (from, to) in [(&self.a, &self.b), (&self.b, &self.a)] {
            let events = to.events();
            let distinct: HashSet<_> = events.iter().collect();
            assert_eq!(events.len(), distinct.len(), "something came twice");
            let missing = (self.published - events.len()) as u64;
            let (gaps, unsent) = (to.metrics.redis_gaps.get(), from.metrics.redis_unsent.get());
            assert!(gaps <= missing, "{gaps} gaps, {missing} missing");
            assert!(missing <= gaps + unsent, "{missing} missing, {gaps} gaps, {unsent} unsent");
        }
    }
}
