//! [`Sentinels`]: which server the sentinels name as the primary. Each of them is asked by a task of
//! its own ([`sentinel`](super::sentinel)), all the time, and what it said last is kept here.
//!
//! Sentinels number their configurations: each failover has a higher epoch than the last one (Redis
//! documentation, "High availability with Redis Sentinel", section "Configuration epochs"). So of
//! several answers the one with the highest epoch is the newest, and a sentinel that is cut off from
//! the others cannot lead a connection back to a primary of before, while one of the others answers.

use std::fmt;
use std::time::Duration;

use redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind};
use rookery_ops::throttle::{Throttle, limited};
use tokio::sync::watch;

/// What an error says where no sentinel names a primary.
pub(super) const NO_PRIMARY: &str = "no sentinel names the primary";

/// How long most of the sentinels may take to answer for the first time, before the answers of the
/// others are taken alone.
const FIRST_ANSWERS: Duration = Duration::from_secs(2);

/// A primary that a sentinel names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::backplane) struct Primary {
    /// Its host, as the sentinel has it, and its port.
    pub(super) address: (String, u16),
    /// The epoch of the sentinel's configuration; `None` where it does not permit to ask for it.
    pub(super) epoch: Option<u64>,
}

impl fmt::Display for Primary {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (host, port) = &self.address;
        match host.contains(':') {
            true => write!(f, "[{host}]:{port}"),
            false => write!(f, "{host}:{port}"),
        }
    }
}

/// What a sentinel said last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SentinelAnswer {
    /// Nothing yet.
    Nothing,
    /// It cannot be reached, or refuses to answer: why.
    Away(String),
    /// It watches no primary of this name.
    NoSuchPrimary,
    /// The primary.
    Primary(Primary),
}

/// The last answers of all sentinels.
pub(super) struct Sentinels {
    /// The name by which they know the primary.
    name: String,
    answers: watch::Sender<Vec<SentinelAnswer>>,
    /// Of the lines about another primary.
    moved: Throttle,
}

impl Sentinels {
    /// That many sentinels, none of which has answered yet.
    pub(super) fn new(name: String, count: usize, moved: Throttle) -> Self {
        let answers = watch::Sender::new(vec![SentinelAnswer::Nothing; count]);
        Sentinels { name, answers, moved }
    }

    /// The name by which they know the primary.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Sentinel number `index` answered.
    pub(super) fn set(&self, index: usize, answer: SentinelAnswer) {
        let before = newest(&self.answers.borrow()).cloned();
        self.answers.send_if_modified(|answers| {
            let is_new = answers[index] != answer;
            answers[index] = answer;
            is_new
        });
        let now = newest(&self.answers.borrow()).cloned();
        if let (Some(before), Some(now)) = (before, now)
            && is_successor(&now, &before)
        {
            limited!(self.moved, info, primary = %now, %before, "the sentinels name another primary");
        }
    }

    /// The primary, by the newest answer. While sentinels have not answered for the first time yet,
    /// it waits for most of them, but at most [`FIRST_ANSWERS`].
    ///
    /// # Errors
    /// When no sentinel names a primary.
    pub(super) async fn primary(&self) -> RedisResult<Primary> {
        let mut answers = self.answers.subscribe();
        let settled = answers.wait_for(|answers| are_settled(answers));
        // Then the answers that are there are used.
        let _ = tokio::time::timeout(FIRST_ANSWERS, settled).await;
        let answers = self.answers.borrow();
        newest(&answers).cloned().ok_or_else(|| self.no_primary(&answers))
    }

    /// Resolves when another server than `current` is the primary; gives which.
    pub(super) async fn moved(&self, current: &Primary) -> Primary {
        let mut answers = self.answers.subscribe();
        loop {
            let now = newest(&answers.borrow_and_update()).cloned();
            if let Some(now) = now.filter(|now| is_successor(now, current)) {
                return now;
            }
            // The sender lives as long as `self`.
            let _ = answers.changed().await;
        }
    }

    /// Resolves when the sentinels name another primary than now.
    pub(super) async fn changed(&self) {
        let mut answers = self.answers.subscribe();
        let now = newest(&answers.borrow_and_update()).cloned();
        // The sender lives as long as `self`.
        let _ = answers.wait_for(|answers| newest(answers) != now.as_ref()).await;
    }

    fn no_primary(&self, answers: &[SentinelAnswer]) -> RedisError {
        if answers.contains(&SentinelAnswer::NoSuchPrimary) {
            let why = "no sentinel knows a primary of this name; correct redis.sentinel.master, \
                       or the end of redis.url";
            let kind = ErrorKind::Server(ServerErrorKind::ResponseError);
            return (kind, why, self.name.clone()).into();
        }
        let why = answers.iter().find_map(|answer| match answer {
            SentinelAnswer::Away(why) => Some(why.clone()),
            _ => None,
        });
        let why = why.unwrap_or_else(|| "none has answered yet".to_owned());
        (ErrorKind::Io, NO_PRIMARY, why).into()
    }
}

/// Whether most have named a primary, or nothing more is to be expected soon.
fn are_settled(answers: &[SentinelAnswer]) -> bool {
    let named = answers.iter().filter(|answer| matches!(answer, SentinelAnswer::Primary(_)));
    named.count() * 2 > answers.len() || !answers.contains(&SentinelAnswer::Nothing)
}

/// The primary of the highest epoch; among equal ones, the one that most sentinels name.
fn newest(answers: &[SentinelAnswer]) -> Option<&Primary> {
    let named = || {
        answers.iter().filter_map(|answer| match answer {
            SentinelAnswer::Primary(primary) => Some(primary),
            _ => None,
        })
    };
    let votes = |primary: &Primary| named().filter(|other| *other == primary).count();
    named().max_by_key(|primary| (primary.epoch, votes(primary)))
}

/// Whether `primary` replaced `before`.
fn is_successor(primary: &Primary, before: &Primary) -> bool {
    let is_newer = primary.epoch.is_none() || primary.epoch > before.epoch;
    primary.address != before.address && is_newer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16, epoch: impl Into<Option<u64>>) -> SentinelAnswer {
        SentinelAnswer::Primary(Primary { address: ("h".to_owned(), port), epoch: epoch.into() })
    }

    fn port(answers: &[SentinelAnswer]) -> Option<u16> {
        newest(answers).map(|primary| primary.address.1)
    }

    fn sentinels(answers: Vec<SentinelAnswer>) -> Sentinels {
        let sentinels = Sentinels::new("m".to_owned(), answers.len(), Throttle::default());
        for (index, answer) in answers.into_iter().enumerate() {
            sentinels.set(index, answer);
        }
        sentinels
    }

    #[test]
    fn the_highest_epoch_counts_and_not_the_most_votes() {
        use SentinelAnswer::{NoSuchPrimary, Nothing};
        assert_eq!(port(&[at(1, 0), at(2, 1), at(1, 0)]), Some(2));
        assert_eq!(port(&[at(1, None), at(2, None), at(2, None), Nothing]), Some(2));
        assert_eq!(port(&[at(1, None), at(2, 0)]), Some(2));
        assert_eq!(port(&[Nothing, NoSuchPrimary]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sentinel_that_is_behind_does_not_lead_back() {
        let old = Primary { address: ("h".to_owned(), 1), epoch: Some(1) };
        let new = Primary { address: ("h".to_owned(), 2), epoch: Some(2) };
        let sentinels = sentinels(vec![SentinelAnswer::Primary(old.clone()), at(2, 2)]);
        assert_eq!(sentinels.moved(&old).await, new);
        sentinels.set(1, SentinelAnswer::Away("gone".to_owned()));
        let back = tokio::time::timeout(Duration::from_secs(60), sentinels.moved(&new)).await;
        assert!(back.is_err(), "{back:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn most_sentinels_are_waited_for_and_silent_ones_only_for_a_time() {
        let sentinels = sentinels(vec![at(1, 0), SentinelAnswer::Nothing, SentinelAnswer::Nothing]);
        let start = tokio::time::Instant::now();
        assert_eq!(sentinels.primary().await.unwrap().address.1, 1);
        assert_eq!(start.elapsed(), FIRST_ANSWERS);
        sentinels.set(2, at(2, 1));
        assert_eq!(sentinels.primary().await.unwrap().address.1, 2);
        assert_eq!(start.elapsed(), FIRST_ANSWERS);
    }

    #[tokio::test(start_paused = true)]
    async fn the_error_says_what_is_wrong() {
        let away = || SentinelAnswer::Away("a:1: refused".to_owned());
        let error = sentinels(vec![away(), away()]).primary().await.unwrap_err().to_string();
        assert!(error.contains("no sentinel names the primary"), "{error}");
        assert!(error.contains("a:1: refused"), "{error}");
        let unknown = sentinels(vec![away(), SentinelAnswer::NoSuchPrimary]);
        let error = unknown.primary().await.unwrap_err().to_string();
        assert!(error.contains("redis.sentinel.master") && error.contains("m"), "{error}");
    }
}
