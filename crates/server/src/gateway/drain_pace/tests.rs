//! Simulated rollouts: old instances drain together, by heartbeats that are a second old.

use super::*;
use proptest::prelude::*;
use rookery_config::units::{Pace, Period};

fn drain(window: u64, pace: Option<u32>, longest: Option<u64>) -> Drain {
    Drain {
        window: Period(Duration::from_secs(window)),
        pace: pace.map(Pace),
        longest_window: longest.map(|s| Period(Duration::from_secs(s))),
        order: ClosingOrder::Together,
        ..Drain::default()
    }
}

/// What a simulated rollout came to.
struct Simulated {
    /// Sessions closed by all old instances in each second.
    closed: Vec<f64>,
}

impl Simulated {
    /// The old instances have these sessions, and as many new ones take the clients.
    fn rollout(old: &[usize], drain: &Drain) -> Simulated {
        const STEPS: usize = 20;
        let limits = Limits::default();
        let paces: Vec<_> = old.iter().map(|n| DrainPace::new(*n, drain, &limits)).collect();
        let mut left: Vec<f64> = old.iter().map(|n| *n as f64).collect();
        let mut closed = Vec::new();
        while left.iter().any(|n| *n > 0.0) {
            let heard = left.clone();
            let mut sum = 0.0;
            for step in 0..STEPS {
                let elapsed =
                    Duration::from_secs_f64(closed.len() as f64 + step as f64 / STEPS as f64);
                for i in 0..old.len() {
                    let others = heard.iter().enumerate().filter(|(j, n)| *j != i && **n > 0.0);
                    let fleet = Fleet {
                        serving: vec![Some(0); old.len()],
                        draining: others.map(|(_, n)| Some(n.ceil() as u64)).collect(),
                        is_rolled_out: true,
                    };
                    let rate = paces[i].per_second(left[i].ceil() as usize, elapsed, &fleet);
                    let now = (rate / STEPS as f64).min(left[i]);
                    left[i] -= now;
                    sum += now;
                }
            }
            closed.push(sum);
            assert!(closed.len() < 100_000, "it does not end");
        }
        Simulated { closed }
    }

    fn seconds(&self) -> usize {
        self.closed.len()
    }

    fn most(&self) -> f64 {
        self.closed.iter().copied().fold(0.0, f64::max)
    }
}

#[test]
fn few_sessions_are_closed_evenly_over_the_window() {
    let simulated = Simulated::rollout(&[300, 300], &drain(30, Some(250), None));
    assert_eq!(simulated.seconds(), 30);
    assert!(simulated.most() <= 20.1, "{}", simulated.most());
}

#[test]
fn twenty_full_instances_share_the_budget_and_take_minutes() {
    let simulated = Simulated::rollout(&[10_000; 20], &drain(30, Some(500), None));
    // The last ones go by heartbeats that are a second old.
    assert!((400..410).contains(&simulated.seconds()), "{}", simulated.seconds());
    assert!(simulated.most() <= 500.0 * 1.01, "{}", simulated.most());
}

#[test]
fn without_a_pace_each_new_instance_takes_half_of_its_connect_rate() {
    for pods in [1, 6, 100] {
        let simulated = Simulated::rollout(&vec![10_000; pods], &drain(30, None, Some(60)));
        assert!((40..45).contains(&simulated.seconds()), "{pods} pods: {}", simulated.seconds());
    }
}

#[test]
fn the_longest_window_is_kept_at_the_cost_of_the_budget() {
    let simulated = Simulated::rollout(&[10_000; 4], &drain(30, Some(100), Some(60)));
    assert_eq!(simulated.seconds(), 60);
}

#[test]
fn instances_that_take_turns_have_the_whole_budget() {
    let drain = Drain { order: ClosingOrder::Turns, ..drain(10, Some(50), None) };
    let pace = DrainPace::new(1_000, &drain, &Limits::default());
    let waiting = Fleet { draining: vec![Some(1_000); 9], ..Fleet::default() };
    assert_eq!(pace.per_second(1_000, Duration::ZERO, &waiting), 50.0);
    let drain = Drain { pace: None, ..drain };
    let pace = DrainPace::new(1_000, &drain, &Limits::default());
    assert_eq!(pace.per_second(1_000, Duration::ZERO, &waiting), 100.0);
}

#[test]
fn an_instance_of_another_version_takes_an_equal_share() {
    let pace = DrainPace::new(1_000, &drain(1, Some(90), Some(1_000)), &Limits::default());
    let fleet = Fleet { draining: vec![None, None], ..Fleet::default() };
    assert_eq!(pace.per_second(1_000, Duration::ZERO, &fleet), 30.0);
}

#[test]
fn no_window_is_all_at_once() {
    let pace = DrainPace::new(5, &drain(0, None, None), &Limits::default());
    assert!(pace.per_second(5, Duration::ZERO, &Fleet::default()).is_infinite());
}

proptest! {
    /// Whatever the old instances have, all sessions are closed, in time, and within the budget.
    #[test]
    fn a_rollout_keeps_the_budget(
        old in prop::collection::vec(0_usize..3_000, 1..12),
        pace in 20_u32..2_000,
    ) {
        let simulated = Simulated::rollout(&old, &drain(10, Some(pace), Some(100_000)));
        let total: usize = old.iter().sum();
        let closed: f64 = simulated.closed.iter().sum();
        prop_assert!((closed - total as f64).abs() < 0.5);
        // Rounding, and heartbeats that are a second old.
        let most = f64::from(pace) * 1.1 + 2.0 * old.len() as f64;
        prop_assert!(simulated.most() <= most, "{} of {pace}", simulated.most());
        let due = (total as f64 / f64::from(pace)).max(10.0);
        prop_assert!(simulated.seconds() as f64 <= due * 1.2 + 2.0, "{}", simulated.seconds());
    }
}
