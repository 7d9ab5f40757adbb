use std::fmt::Write as _;

use super::*;
use crate::config::Config;

/// The number of values that are read of a document, and of the mistakes found in it.
fn cost(text: &str) -> (usize, usize) {
    let node = Node::parse(text).unwrap();
    let mut reading = Reading::default();
    let mistakes = reading.all::<Config>(&node).err().map_or(0, |problems| problems.len());
    (reading.steps.get(), mistakes)
}

#[test]
fn twice_the_mistakes_take_at_most_about_twice_the_steps() {
    let list = |n: usize, start: &str, item: &str| {
        let mut text = start.to_owned();
        (0..n).for_each(|i| writeln!(text, "{}", item.replace("{i}", &i.to_string())).unwrap());
        text
    };
    for (start, item) in [
        ("trustedProxies:\n", "- bad"),
        ("trustedProxies:\n", "- 10.0.0.0/8"),
        ("trustedProxies: [bad]\nnamespaces:\n", "- /n{i}"),
        ("limits:\n", "  key{i}: 1"),
        ("events:\n", "- {on: 1, operation: jin, room: [], more{i}: 2}"),
        ("rooms:\n", "- {match: [], join: 1, more: {i}}"),
        ("limits:\n", "  queue: 1"),
    ] {
        let (once, _) = cost(&list(1_000, start, item));
        let (twice, mistakes) = cost(&list(2_000, start, item));
        assert!(twice <= 2 * once + 1_000, "{item}: {once} and {twice} steps");
        assert!(twice <= 3 * 2_000 + 3_000, "{item}: {twice} steps");
        assert!(mistakes <= MAX_PROBLEMS + 1, "{item}: {mistakes}");
    }
}

#[test]
fn a_long_value_is_quoted_in_part() {
    let long = "x".repeat(100_000);
    let node =
        Node::parse(&format!("limits:\n  queue: {long}\n  {}: 1\n", "k".repeat(500))).unwrap();
    for problem in read::<Config>(&node).unwrap_err() {
        assert!(problem.text.len() < 2_500, "{} bytes", problem.text.len());
    }
}
