use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cel::{Context, Program};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::subject::Subject;

fn cost(text: &str) -> Result<ExpressionCost, String> {
    ExpressionCost::of(Program::compile(text).unwrap().expression())
}

#[test]
fn an_expression_without_loops_has_no_budget() {
    let cost = cost("room in claims.rooms && user.startsWith('a' + claims.x)").unwrap();
    assert_eq!(cost.check(u64::MAX), Ok(()));
}

#[test]
fn loops_are_bounded_by_the_size_of_the_claims() {
    let one = cost("claims.teams.exists(t, room == 'team:' + t)").unwrap();
    assert_eq!(one.check(20_000), Ok(()));
    assert!(one.check(1_000_000).unwrap_err().contains("1000000 are allowed"));
    let two = cost("claims.a.exists(x, claims.b.exists(y, x == y))").unwrap();
    assert_eq!(two.check(100), Ok(()));
    assert!(two.check(1_000).is_err());
    let beside = cost("claims.a.exists(x, x == 1) && claims.b.all(y, y == 2)").unwrap();
    assert_eq!(beside.loops, 1);
    assert_eq!(beside.check(10_000), Ok(()));
}

#[test]
fn an_operation_that_goes_through_a_claim_counts_as_a_loop() {
    for text in [
        "claims.a.exists(x, x in claims.b)",
        "claims.a.exists(x, claims.b.contains(x))",
        "claims.a.exists(x, claims.a == claims.b)",
        "claims.a.exists(x, size(x + claims.b) > 1)",
        "claims.a.exists(x, x in [claims.b, claims.c])",
        "claims.a.exists(x, room == 'a' && x in claims['b'].c)",
    ] {
        let cost = cost(text).unwrap();
        assert_eq!(cost.loops, 2, "{text}");
        assert_eq!(cost.check(100), Ok(()), "{text}");
        assert!(cost.check(25_000).is_err(), "{text}");
    }
    for text in [
        "claims.a.exists(x, x == claims.b)",
        "claims.a.exists(x, x.id == room || claims.admin)",
        "claims.a.exists(x, room.startsWith(x + ':') && size(claims.b) > 1)",
        "claims.a.exists(x, x in ['a', 'b'])",
    ] {
        assert_eq!(cost(text).unwrap().loops, 1, "{text}");
    }
}

#[test]
fn what_a_loop_made_may_be_larger_than_any_claim() {
    let plain = cost("claims.a.exists(x, x == room)").unwrap();
    let chained = cost("claims.a.map(x, x + x).exists(x, x == room)").unwrap();
    assert!(chained.is_grown && !plain.is_grown);
    assert_eq!(plain.check(5_000), Ok(()));
    assert!(chained.check(5_000).is_err());
    assert!(cost("claims.a.map(x, (x + x).size()) == []").is_ok_and(|cost| !cost.is_grown));
    assert!(cost("claims.a.all(x, (x + x).all(y, y == 1))").unwrap().is_grown);
    assert!(cost("claims.a['b'].c.exists(x, x == 1)").is_ok_and(|cost| !cost.is_grown));
}

#[test]
fn deep_nests_and_long_chains_are_refused() {
    let nested = "claims.a.all(x, claims.b.all(y, claims.c.all(z, z == x)))";
    assert!(cost(nested).unwrap_err().contains("nests more than 2"));
    let twice = "[room].map(x, x + x).map(x, x + x).exists(x, x == '')";
    assert!(cost(twice).is_ok());
    let often = format!("[room]{}.exists(x, x == '')", ".map(x, x + x)".repeat(20));
    assert!(cost(&often).unwrap_err().contains("chains more than two"));
    let hidden = "(true ? [room].map(x, x + x).map(x, x + x) : []).filter(x, true).all(x, true)";
    assert!(cost(hidden).unwrap_err().contains("chains more than two"));
}

/// Writes an expression as `choices` say. Each part that is evaluated to a boolean is counted by a
/// call of `step`.
struct Writer<'a> {
    choices: std::slice::Iter<'a, u8>,
    /// The loops' own variables that are in scope.
    variables: Vec<String>,
}

impl Writer<'_> {
    fn choose(&mut self, of: u8) -> u8 {
        self.choices.next().map_or(0, |choice| choice % of)
    }

    fn boolean(&mut self, depth: u8) -> String {
        if depth == 0 {
            let (left, right) = (self.value(), self.value());
            return format!("step({left} == {right})");
        }
        match self.choose(8) {
            0 => format!("step(!{})", self.boolean(depth - 1)),
            1 => format!("step({} && {})", self.boolean(depth - 1), self.boolean(depth - 1)),
            2 => format!("step({} || {})", self.boolean(depth - 1), self.boolean(depth - 1)),
            _ => {
                let range = self.range(depth - 1);
                let kind = ["all", "exists", "exists_one"][usize::from(self.choose(3))];
                let (variable, body) = self.body(depth - 1);
                format!("{range}.{kind}({variable}, {body})")
            }
        }
    }

    fn body(&mut self, depth: u8) -> (String, String) {
        let variable = format!("v{}", self.variables.len());
        self.variables.push(variable.clone());
        let body = self.boolean(depth);
        self.variables.pop();
        (variable, body)
    }

    fn range(&mut self, depth: u8) -> String {
        match self.choose(6) {
            0 => "claims.numbers".to_owned(),
            1 => "claims.lists".to_owned(),
            2 => "claims.lists[0]".to_owned(),
            3 => "[1, 2, 3]".to_owned(),
            4 => "(claims.numbers + claims.lists)".to_owned(),
            _ if depth == 0 => "claims.numbers".to_owned(),
            _ => {
                let range = self.range(depth - 1);
                let (variable, body) = self.body(depth - 1);
                let kind = if self.choose(2) == 0 { "filter" } else { "map" };
                format!("{range}.{kind}({variable}, {body})")
            }
        }
    }

    fn value(&mut self) -> String {
        let variables = self.variables.len() as u8;
        match self.choose(variables + 2).checked_sub(2) {
            Some(i) => self.variables[usize::from(i)].clone(),
            None => self.choose(3).to_string(),
        }
    }
}

/// Evaluates an expression over claims; returns the number of calls of `step`.
fn steps_taken(program: &Program, claims: &Json) -> u64 {
    let steps = Arc::new(AtomicU64::new(0));
    let counter = steps.clone();
    let mut context = Context::default();
    let step = move |value: bool| {
        counter.fetch_add(1, Ordering::Relaxed);
        value
    };
    context.add_function("step", step).unwrap();
    context.add_variable("claims", claims).unwrap();
    // An error ends the evaluation before its time.
    let _ = program.execute(&context);
    steps.load(Ordering::Relaxed)
}

#[test]
fn the_steps_of_nested_loops_multiply() {
    let text = "claims.numbers.all(x, !claims.lists.exists(y, step(x == y)))";
    let claims = json!({ "numbers": [1, 2, 3], "lists": [[1], [2], [3], [4]] });
    let program = Program::compile(text).unwrap();
    assert_eq!(steps_taken(&program, &claims), 12);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_evaluation_takes_more_steps_than_estimated(
        choices in proptest::collection::vec(any::<u8>(), 1..60),
        numbers in proptest::collection::vec(0..3, 0..12),
        lists in proptest::collection::vec(proptest::collection::vec(0..3, 0..4), 1..8),
    ) {
        let mut writer = Writer { choices: choices.iter(), variables: Vec::new() };
        let text = writer.boolean(4);
        let program = Program::compile(&text).unwrap();
        let Ok(cost) = ExpressionCost::of(program.expression()) else { return Ok(()) };
        let claims = json!({ "numbers": numbers, "lists": lists });
        let fields = claims.as_object().cloned().unwrap();
        let estimated = cost.steps(Subject::new(None, Arc::new(fields)).size());
        let taken = steps_taken(&program, &claims);
        prop_assert!(taken <= estimated, "{taken} > {estimated}: {text}");
    }
}
