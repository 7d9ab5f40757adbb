//! Runs every target over its corpus, and over mutations of it that are the same in each run.
//!
//! `FUZZ_SEED` chooses other mutations, `FUZZ_MUTATIONS` how many there are for each target however
//! long they take, and `FUZZ_TARGET` one target.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod mutator;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mutator::Mutator;
use rookery_fuzz_targets::{TARGETS, Target};

/// How long the mutations of one target may take, so that all targets take about 20 s.
const MUTATION_TIME: Duration = Duration::from_millis(1200);

/// The most bytes of an input in the corpus.
const MAX_INPUT_BYTES: usize = 16 << 10;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

/// The inputs of a target in the corpus, in the order of their names.
fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = root().join("corpus").join(target.name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read(path).unwrap())
    };
    let mut inputs: Vec<_> = files.map(|file| read(file.unwrap().path())).collect();
    inputs.sort();
    inputs
}

/// Runs a target. Where it panics, the input is kept for `cargo fuzz run`, and what is given names
/// it.
fn failure(target: &Target, input: &[u8], what: &str) -> Option<String> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).err()?;
    let name = target.name;
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.input"));
    std::fs::write(&kept, input).unwrap();
    let (kept, text) = (kept.display(), String::from_utf8_lossy(input));
    Some(format!("{name} fails for {what}, kept as {kept}: {text:?}"))
}

fn assert_none(failures: Vec<String>) {
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn the_whole_corpus_is_read_without_a_broken_rule() {
    let mut failures = Vec::new();
    for target in &TARGETS {
        let inputs = corpus(target);
        assert!(inputs.len() >= 5, "{} has {} inputs", target.name, inputs.len());
        for (name, input) in inputs {
            assert!(input.len() <= MAX_INPUT_BYTES, "{}/{name} is long: cut it", target.name);
            failures.extend(failure(target, &input, &name));
        }
    }
    assert_none(failures);
}

#[test]
fn mutations_of_the_corpus_are_read_without_a_broken_rule() {
    let (seed, count) = (number("FUZZ_SEED", 1), number("FUZZ_MUTATIONS", 20_000));
    let is_bounded = std::env::var_os("FUZZ_MUTATIONS").is_none();
    let mut failures = Vec::new();
    let only = std::env::var("FUZZ_TARGET").ok();
    for target in TARGETS.iter().filter(|t| only.as_deref().is_none_or(|only| only == t.name)) {
        let inputs: Vec<Vec<u8>> = corpus(target).into_iter().map(|(_, input)| input).collect();
        let mut mutator = Mutator::new(seed, &inputs);
        let start = Instant::now();
        for case in 0..count {
            let input = mutator.mutation();
            std::fs::write("/dev/shm/t.input", &input).unwrap();
            let found = failure(target, &input, &format!("mutation {case} of FUZZ_SEED={seed}"));
            if found.is_some() || is_bounded && start.elapsed() > MUTATION_TIME {
                failures.extend(found);
                break;
            }
        }
    }
    assert_none(failures);
}

#[test]
fn every_target_has_a_binary_and_every_binary_a_target() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let binaries = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"));
    let mut binaries: Vec<_> = binaries.map(|rest| rest.trim_end_matches(".rs\"")).collect();
    let mut targets: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    binaries.sort_unstable();
    targets.sort_unstable();
    assert_eq!(binaries, targets);
    for target in targets {
        let binary = root().join("fuzz_targets").join(format!("{target}.rs"));
        let text = std::fs::read_to_string(binary).unwrap();
        assert!(text.contains(&format!("rookery_fuzz_targets::{target}::run")), "{text}");
    }
}
