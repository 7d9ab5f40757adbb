//! The configuration in YAML, as `rookery serve`, `rookery check` and the operator read it.

use rookery_config::load::Sources;
use serde_json::Value;

use crate::repeat::{numbered, repeated};
use crate::target::{Shape, Target};

/// The most bytes of a configuration: what the API server takes for a resource.
const MAX: usize = 1 << 20;

/// The target.
pub const TARGET: Target = Target {
    name: "config",
    run,
    shapes: &[
        Shape {
            name: "unknown keys",
            input: |n| numbered("", |n| format!("k{n}: 1"), "\n", "", n),
            max: MAX,
        },
        Shape {
            name: "equal keys",
            input: |n| repeated("listen: 127.0.0.1:1\n", b"listen: x\n", b"", n),
            max: MAX,
        },
        Shape { name: "rules", input: rules, max: MAX },
        Shape {
            name: "wrong rules",
            input: |n| repeated("rooms:\n", b"- {match: 1, joy: a}\n", b"", n),
            max: MAX,
        },
        Shape { name: "events", input: events, max: MAX },
        Shape {
            name: "namespaces",
            input: |n| numbered("namespaces: [", |n| format!("/n{n}"), ",", "]", n),
            max: MAX,
        },
        Shape {
            name: "networks",
            input: |n| repeated("trustedProxies: [x", b",10.0.0.0/8", b"]", n),
            max: MAX,
        },
        Shape { name: "nesting", input: |n| repeated("rooms: ", b"[", b"", n), max: MAX },
        Shape {
            name: "aliases",
            input: |n| repeated("a: &a [1,2,3,4]\nb: [*a", b",*a", b"]", n),
            max: MAX,
        },
        Shape {
            name: "a text",
            input: |n| repeated("socketio: {path: \"/", b"\\n", b"\"}", n),
            max: MAX,
        },
        Shape { name: "comments", input: |n| repeated("", b"# x\n", b"listen: 1", n), max: MAX },
    ],
};

/// Reads a configuration. One that is written out reads back the same, with the same problems.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let sources = Sources::file("rookery.yaml");
    match sources.judge_text(text) {
        Ok((config, problems)) => {
            assert!(problems.iter().all(|problem| !problem.text.is_empty()));
            let written = serde_saphyr::to_string(&config).expect("a configuration is written");
            let again = sources.judge_text(&written);
            let (again, problems_again) = again.unwrap_or_else(|e| panic!("{e}\n{written}"));
            assert_eq!(as_json(&again), as_json(&config), "{written}");
            assert_eq!(problems_again.len(), problems.len(), "{written}");
        }
        Err(error) => {
            assert!(!error.problems.is_empty());
            let lines = 1 + text.lines().count() as u64;
            assert!(error.problems.iter().all(|p| p.line.is_none_or(|line| line <= lines)));
            assert!(error.to_string().starts_with("rookery.yaml"));
        }
    }
}

fn as_json(config: &rookery_config::Config) -> Value {
    serde_json::to_value(config).expect("a configuration is JSON")
}

fn rules(size: usize) -> Vec<u8> {
    numbered("rooms:\n", |n| format!("- {{match: 'r{n}:{{a}}', join: 'false'}}"), "\n", "", size)
}

fn events(size: usize) -> Vec<u8> {
    let event = |n| format!("- {{on: e{n}, operation: join, room: '{{room}}'}}");
    numbered("events:\n", event, "\n", "", size)
}
