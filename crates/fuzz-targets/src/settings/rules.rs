//! CEL rules: the first line is an expression, the second a room, and the rest the claims in JSON.

use std::sync::Arc;

use rookery_policy::{Namespace, Permission, Reason, RoomRule, Rules, Subject};
use serde_json::{Map, Value};

use crate::repeat::{numbered, repeated};
use crate::target::{Shape, Target};

/// The most bytes of an expression here: a little less than the rules allow.
const MAX: usize = 4000;

/// The most bytes of the claims here: those of a token in an HTTP header, and more.
const MAX_CLAIMS: usize = 1 << 16;

/// The most bytes of a sentence about an expression, without the expression itself.
const MAX_PROBLEM_BYTES: usize = 400;

/// The target.
pub const TARGET: Target = Target {
    name: "rules",
    run,
    shapes: &[
        Shape { name: "a list", input: |n| repeated("1 in [0", b",1", b"]\nr:a", n), max: MAX },
        Shape { name: "operators", input: |n| repeated("true", b"||a", b"\nr:a", n), max: MAX },
        Shape { name: "parentheses", input: |n| repeated("", b"(", b"\nr:a", n), max: MAX },
        Shape { name: "negations", input: |n| repeated("", b"!", b"true\nr:a", n), max: MAX },
        Shape { name: "a string", input: |n| repeated("'", b"\\n", b"' == a\nr:a", n), max: MAX },
        Shape { name: "errors", input: |n| repeated("", b"? ", b"\nr:a", n), max: MAX },
        Shape { name: "claims", input: claims, max: MAX_CLAIMS },
        Shape { name: "a list of claims", input: roles, max: MAX_CLAIMS },
    ],
};

/// Compiles a rule and asks it twice.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.splitn(3, '\n');
    let [expression, room, claims] = std::array::from_fn(|_| lines.next().unwrap_or_default());
    let rule = RoomRule {
        pattern: "r:{a}".to_owned(),
        join: Some(expression.to_owned()),
        ..RoomRule::default()
    };
    let rules = match Rules::compile(&[rule]) {
        Ok(rules) => rules,
        Err(error) => {
            let message = &error.message;
            assert!(message.len() <= MAX_PROBLEM_BYTES, "{} bytes: {message}", message.len());
            return;
        }
    };
    let claims: Map<String, Value> = serde_json::from_str(claims).unwrap_or_default();
    let subject = Subject::from_claims(Arc::new(claims), "sub");
    let room = if room.is_empty() { "r:a" } else { room };
    let decision = rules.decide(Permission::Join, &Namespace::root(), room, &subject);
    match &decision.reason {
        Reason::NoMatch => assert!(!decision.allowed),
        Reason::Evaluated { expression: evaluated, answer } => {
            assert!(*evaluated == expression && decision.allowed == *answer);
        }
        Reason::Failed { problem, .. } => {
            assert!(!decision.allowed && problem.len() <= MAX_PROBLEM_BYTES, "{problem}");
        }
        other => panic!("a rule with an expression decided for {other:?}"),
    }
    assert_eq!(
        rules.decide(Permission::Join, &Namespace::root(), room, &subject).allowed,
        decision.allowed
    );
    assert!(
        rules.decide(Permission::Publish, &Namespace::root(), room, &subject).allowed
            == decision.rule.is_some()
    );
}

fn claims(size: usize) -> Vec<u8> {
    numbered("claims.k0 == 'v'\nr:a\n{", |n| format!("\"k{n}\":\"v\""), ",", "}", size)
}

fn roles(size: usize) -> Vec<u8> {
    let head = "claims.roles.exists(r, r == a)\nr:a\n{\"roles\":[";
    numbered(head, |n| format!("\"role{n}\""), ",", "]}", size)
}
