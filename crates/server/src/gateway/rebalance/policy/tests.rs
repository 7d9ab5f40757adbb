//! Simulated fleets: clients that come back land on any instance, unless it sends them elsewhere.

use super::*;
use rookery_config::units::{Pace, Percent, Period};

const TICK: Duration = Duration::from_secs(1);

fn config(rate: u32) -> Rebalance {
    Rebalance { threshold: Percent(20), rate: Pace(rate), after: Period(Duration::from_secs(5)) }
}

fn policy(rate: u32) -> RebalancePolicy {
    RebalancePolicy::new(config(rate), ReconnectBudget::Unbounded)
}

fn fleet(serving: &[u64]) -> Fleet {
    Fleet { serving: serving.iter().copied().map(Some).collect(), ..Fleet::default() }
}

/// The sessions that a policy closes in each of so many seconds, while nothing else changes.
fn closed(policy: &mut RebalancePolicy, own: u64, fleet: &Fleet, seconds: u32) -> Vec<usize> {
    let start = Instant::now();
    let decide = |s| match policy.decide(own, Some(fleet), start + TICK * s) {
        Decision::Close { count, .. } => count,
        _ => 0,
    };
    (0..seconds).map(decide).collect()
}

#[test]
fn an_instance_within_the_threshold_keeps_its_sessions() {
    assert_eq!(closed(&mut policy(50), 119, &fleet(&[81, 100, 100]), 60), [0; 60]);
    assert_eq!(closed(&mut policy(50), 9, &fleet(&[0, 0, 0]), 60), [0; 60]);
}

#[test]
fn an_instance_waits_before_it_closes_sessions_at_its_part_of_the_rate() {
    let counts = closed(&mut policy(40), 200, &fleet(&[200, 0, 0]), 9);
    assert_eq!(counts, [0, 0, 0, 0, 0, 0, 20, 20, 20]);
}

#[test]
fn the_reconnect_budget_bounds_the_rate() {
    let mut policy = RebalancePolicy::new(config(1_000), ReconnectBudget::Fleet(10.0));
    assert_eq!(closed(&mut policy, 200, &fleet(&[200, 0, 0]), 7)[6], 5);
}

#[test]
fn nothing_is_closed_in_a_rollout_or_a_drain_or_beside_an_older_version() {
    let serving = vec![Some(200), Some(0), Some(0)];
    for fleet in [
        Fleet { serving: serving.clone(), is_rolled_out: true, ..Fleet::default() },
        Fleet { serving: serving.clone(), draining: vec![Some(3)], ..Fleet::default() },
        Fleet { serving: vec![Some(0), None], ..Fleet::default() },
        Fleet::default(),
    ] {
        assert_eq!(closed(&mut policy(50), 200, &fleet, 60), [0; 60], "{fleet:?}");
    }
    assert_eq!(policy(50).decide(200, None, Instant::now()), Decision::Keep);
}

#[test]
fn a_drain_ends_a_round() {
    let mut policy = policy(50);
    let start = Instant::now();
    for s in 0..10 {
        policy.decide(200, Some(&fleet(&[0, 0])), start + TICK * s);
    }
    let draining = Fleet { draining: vec![Some(1)], ..fleet(&[0, 0]) };
    let now = start + TICK * 10;
    assert!(matches!(policy.decide(150, Some(&draining), now), Decision::Done(n) if n > 0));
    assert_eq!(policy.decide(150, Some(&draining), now), Decision::Keep);
}

#[test]
fn a_round_without_an_effect_on_the_others_ends() {
    let mut policy = policy(50);
    let start = Instant::now();
    let decide = |s: u32| policy.decide(400, Some(&fleet(&[0])), start + TICK * s);
    let gave_up = |d: &Decision| matches!(d, Decision::GaveUp(_));
    let decisions: Vec<_> = (0..300).map(decide).collect();
    let ends: Vec<_> = (0..300).filter(|s| gave_up(&decisions[*s])).collect();
    // 5 s above the threshold, 20 s without an effect; then a rest of 50 s, and one of 100 s.
    assert_eq!(ends, [25, 100, 225]);
    assert!(decisions[26..75].iter().all(|d| *d == Decision::Keep));
}

/// A client, and how often it was moved.
#[derive(Clone, Copy)]
struct Client {
    opened: Instant,
    moves: u32,
}

/// Instances whose clients come back after two seconds.
struct Simulation {
    instances: Vec<(RebalancePolicy, Vec<Client>)>,
    /// Clients under way, and the second in which each knocks.
    away: Vec<(u32, Client)>,
    random: u64,
}

impl Simulation {
    fn new(sessions: &[usize], rate: u32, start: Instant) -> Self {
        let client = Client { opened: start, moves: 0 };
        let instance = |n: &usize| (policy(rate), vec![client; *n]);
        let instances = sessions.iter().map(instance).collect();
        Simulation { instances, away: Vec::new(), random: 0x9e37_79b9_7f4a_7c15 }
    }

    fn random(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % below as u64) as usize
    }

    fn counts(&self) -> Vec<u64> {
        self.instances.iter().map(|(_, clients)| clients.len() as u64).collect()
    }

    fn run(&mut self, start: Instant, seconds: u32) {
        let mut heard = self.counts();
        let mut tokens = vec![0_usize; heard.len()];
        for s in 0..seconds {
            let now = start + TICK * (s + 1);
            for (i, sent) in tokens.iter_mut().enumerate() {
                let others: Vec<u64> =
                    (0..heard.len()).filter(|j| *j != i).map(|j| heard[j]).collect();
                let (policy, clients) = &mut self.instances[i];
                let decision = policy.decide(clients.len() as u64, Some(&fleet(&others)), now);
                let Decision::Close { count, opened_before, .. } = decision else { continue };
                clients.sort_by_key(|client| client.opened);
                let old = clients.iter().filter(|client| client.opened < opened_before).count();
                let moved: Vec<_> = clients.drain(..count.min(old)).collect();
                *sent += moved.len();
                let again = moved.into_iter().map(|c| Client { moves: c.moves + 1, ..c });
                self.away.extend(again.map(|client| (s + 2, client)));
            }
            for (due, client) in std::mem::take(&mut self.away) {
                let to = self.random(tokens.len());
                if due > s {
                    self.away.push((due, client));
                } else if tokens[to] > 0 {
                    tokens[to] -= 1;
                    self.away.push((s + 1, client));
                } else {
                    self.instances[to].1.push(Client { opened: now, ..client });
                }
            }
            heard = self.counts();
        }
    }
}

#[test]
fn two_instances_with_four_hundred_clients_become_four_with_about_a_hundred_each() {
    let start = Instant::now();
    let mut simulation = Simulation::new(&[200, 200, 0, 0], 50, start);
    simulation.run(start, 120);
    let counts = simulation.counts();
    assert_eq!(counts.iter().sum::<u64>(), 400);
    assert!(counts.iter().all(|n| (75..=125).contains(n)), "{counts:?}");
    let clients = simulation.instances.iter().flat_map(|(_, clients)| clients);
    assert!(clients.clone().all(|client| client.moves <= 1));
    simulation.run(start + TICK * 120, 300);
    assert_eq!(simulation.counts(), counts, "it is over");
}

#[test]
fn many_instances_become_equal() {
    let start = Instant::now();
    let mut simulation = Simulation::new(&[3_000, 2_500, 3_500, 0, 0, 1_000, 0, 0], 100, start);
    simulation.run(start, 400);
    let counts = simulation.counts();
    assert!(counts.iter().all(|n| (900..=1_650).contains(n)), "{counts:?}");
    let clients = simulation.instances.iter().flat_map(|(_, clients)| clients);
    assert!(clients.clone().all(|client| client.moves <= 1));
}
