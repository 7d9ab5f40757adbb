//! The [`Regexes`] of an expression, compiled once.

use std::sync::Arc;

use cel::Context;
use cel::common::ast::{Expr, IdedExpr, LiteralValue};
use regex::{Regex, RegexBuilder};

use crate::operands::operands_mut;

/// The largest compiled form of a regular expression, in bytes. It is compiled in a few milliseconds.
const MAX_BYTES: usize = 1 << 20;

/// The function that takes the place of `matches`. No expression can name it.
const MATCHES: &str = "@matches";

/// The regular expressions of an expression, in the order of its calls of `matches`.
#[derive(Clone, Debug)]
pub(super) struct Regexes(Arc<Vec<Regex>>);

impl Regexes {
    /// Compiles the regular expressions of `expression`, and puts their numbers in their place.
    ///
    /// # Errors
    /// Says in a sentence that one is not written out in quotes, or is none, or is too large.
    pub(super) fn compile(expression: &mut IdedExpr) -> Result<Self, String> {
        let mut regexes = Vec::new();
        replace(expression, &mut regexes)?;
        Ok(Regexes(Arc::new(regexes)))
    }

    /// Makes them known to an evaluation.
    pub(super) fn declare(&self, context: &mut Context) {
        if self.0.is_empty() {
            return;
        }
        let regexes = self.0.clone();
        let matches = move |text: Arc<String>, number: i64| {
            let regex = usize::try_from(number).ok().and_then(|number| regexes.get(number));
            regex.is_some_and(|regex| regex.is_match(&text))
        };
        context.add_function(MATCHES, matches).expect("no other function has this name");
    }
}

fn replace(at: &mut IdedExpr, regexes: &mut Vec<Regex>) -> Result<(), String> {
    if let Expr::Call(call) = &mut at.expr
        && call.func_name == "matches"
        && let Some(pattern) = call.args.last_mut()
    {
        let Expr::Literal(LiteralValue::String(text)) = &pattern.expr else {
            return Err("the pattern of `matches` must be written out in quotes; it cannot come \
                        from claims, the room or another expression"
                .to_owned());
        };
        let regex = RegexBuilder::new(text.inner()).size_limit(MAX_BYTES).build();
        let regex =
            regex.map_err(|error| format!("the pattern of `matches` is not valid: {error}"))?;
        let number = i64::try_from(regexes.len()).expect("an expression is short");
        pattern.expr = Expr::Literal(LiteralValue::Int(number.into()));
        regexes.push(regex);
        call.func_name = MATCHES.to_owned();
        call.args.splice(0..0, call.target.take().map(|target| *target));
    }
    operands_mut(at).into_iter().try_for_each(|operand| replace(operand, regexes))
}
