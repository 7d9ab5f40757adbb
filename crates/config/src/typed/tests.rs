//! How the work grows with the document, counted in values read.

use super::*;
use crate::config::Config;

/// Reads a configuration; gives the problems, and the number of values that were read.
fn read_counted(text: &str) -> (usize, usize) {
    let node = Node::parse(text).unwrap();
    let mut reading = Reading::default();
    let problems = reading.all::<Config>(&node).err().unwrap_or_default().len();
    (problems, reading.steps.get())
}

/// Documents of `n` parts, each of another kind.
fn documents(n: usize) -> Vec<(&'static str, String)> {
    let repeated = |part: &dyn Fn(usize) -> String| (0..n).map(part).collect::<String>();
    vec![
        (
            "items that are wrong",
            format!("trustedProxies: [{}]\n", repeated(&|_| "x, ".to_owned())),
        ),
        (
            "items that are right before a mistake",
            format!("trustedProxies: [{}]\nlisten: x\n", repeated(&|_| "10.0.0.1/32, ".to_owned())),
        ),
        ("unknown keys", repeated(&|i| format!("k{i}: 1\n"))),
        (
            "unknown keys of a section",
            format!("limits:\n{}", repeated(&|i| format!("  k{i}: 1\n"))),
        ),
        ("rules that lack a key", format!("rooms:\n{}", repeated(&|_| "- join: a\n".to_owned()))),
        (
            "rules with an unknown key",
            format!("rooms:\n{}", repeated(&|i| format!("- {{ match: a, k{i}: 1 }}\n"))),
        ),
        ("events of a wrong type", format!("events:\n{}", repeated(&|_| "- 1\n".to_owned()))),
    ]
}

#[test]
fn twice_the_document_takes_at_most_about_twice_the_work() {
    for ((what, small), (_, large)) in documents(2_000).into_iter().zip(documents(4_000)) {
        let (problems, once) = read_counted(&small);
        let (_, twice) = read_counted(&large);
        assert!(problems > 0, "{what}");
        assert!(twice < 3 * once.max(2_000), "{what}: {once} values, then {twice}");
    }
}

#[test]
fn every_mistake_is_found_up_to_the_number_that_is_reported() {
    for (what, text) in documents(40) {
        let expected = if what == "items that are right before a mistake" { 1 } else { 40 };
        assert_eq!(read_counted(&text).0, expected, "{what}");
    }
    for (what, text) in documents(4_000) {
        assert!(read_counted(&text).0 <= MAX_PROBLEMS + 1, "{what}");
    }
}
