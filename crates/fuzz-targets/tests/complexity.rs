//! The cost of every shape of every target grows with the size of the input, and not with its
//! square: four times the input takes less than eight times the CPU time, and as many bytes of
//! allocations.
//!
//! There is one test in this file, because a target may start threads, and the CPU time of the
//! process must be that of one target.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use rookery_fuzz_targets::{Shape, TARGETS, Target};
use rustix::time::{ClockId, clock_gettime};

/// The smaller input is a quarter of the larger one: a square makes that 16 times the cost.
const FACTOR: usize = 4;

/// The most that the larger input may cost, in costs of the smaller one: as far from a line's 4 as
/// from a square's 16.
const MAX_GROWTH: f64 = 8.0;

/// The smaller input takes this long, if the shape allows it, so that what does not grow counts for
/// little.
const ENOUGH: Duration = Duration::from_millis(25);

/// The largest input, where the shape allows more.
const MAX_BYTES: usize = 1 << 18;

/// How often a cost is measured, at most. The least counts: others pay for interruptions.
const ROUNDS: usize = 5;

/// What takes less harms nobody, whatever it is compared with.
const HARMLESS: Duration = Duration::from_micros(500);

#[test]
fn four_times_the_input_costs_about_four_times_as_much() {
    let only = std::env::var("FUZZ_TARGET").ok();
    let mut found = Vec::new();
    for target in TARGETS.iter().filter(|t| only.as_deref().is_none_or(|only| only == t.name)) {
        (target.run)(b"");
        for shape in target.shapes {
            let large = enough(target, shape);
            let inputs = [(shape.input)(large / FACTOR), (shape.input)(large)];
            let problem = time_grows_too_fast(target, &inputs)
                .or_else(|| allocations_grow_too_fast(target, &inputs));
            let name =
                |problem| format!("{}, {}: {large} bytes {problem}", target.name, shape.name);
            found.extend(problem.map(name));
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

fn time_grows_too_fast(target: &Target, inputs: &[Vec<u8>; 2]) -> Option<String> {
    let mut least = [Duration::MAX; 2];
    let mut growth = f64::MAX;
    for _ in 0..ROUNDS {
        for (least, input) in least.iter_mut().zip(inputs) {
            *least = cpu_time(|| (target.run)(input)).min(*least);
        }
        growth = least[1].as_secs_f64() / least[0].as_secs_f64();
        if growth < MAX_GROWTH || least[1] < HARMLESS {
            return None;
        }
    }
    Some(format!("take {:?}, {growth:.1} times the quarter", least[1]))
}

fn allocations_grow_too_fast(target: &Target, inputs: &[Vec<u8>; 2]) -> Option<String> {
    let bytes = |input| allocation_counter::measure(|| (target.run)(input)).bytes_total;
    let [small, large] = [bytes(&inputs[0]), bytes(&inputs[1])];
    let is_too_much = large as f64 > MAX_GROWTH * small.max(4096) as f64;
    is_too_much.then(|| format!("allocate {large} bytes, and a quarter {small}"))
}

/// The size of the larger input.
fn enough(target: &Target, shape: &Shape) -> usize {
    let max = shape.max.min(MAX_BYTES);
    let mut size = 512;
    while FACTOR * size < max {
        let input = (shape.input)(size);
        if cpu_time(|| (target.run)(&input)) >= ENOUGH {
            break;
        }
        size *= 2;
    }
    max.min(FACTOR * size)
}

/// The CPU time that all threads take, whatever else the machine does.
fn cpu_time(run: impl FnOnce()) -> Duration {
    let now = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let start = now();
    run();
    now() - start
}
