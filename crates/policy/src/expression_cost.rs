//! [`ExpressionCost`]: how many steps an expression takes at most, known before it is evaluated.
//!
//! CEL has no endless loops: a loop runs over the elements of a value, and values come from claims,
//! the room and the expression itself. So the steps are bounded by the size of these, to the power
//! of the loops inside one another (compare the cost estimates of Kubernetes, "Common Expression
//! Language in Kubernetes", section "Resource constraints").

use cel::common::ast::{ComprehensionExpr, Expr, IdedExpr};

use crate::operands::operands;

/// The most steps that one evaluation may take. A step takes about a tenth of a microsecond.
const MAX_STEPS: u64 = 1_000_000;

/// The deepest nesting of loops: `all`, `exists`, `exists_one`, `map` and `filter`.
const MAX_LOOPS: u32 = 2;

/// Operations that take the same time whatever the size of their operands.
const CONSTANT: [&str; 10] =
    ["_&&_", "_||_", "!_", "_?_:_", "_[_]", "_<_", "_<=_", "_>_", "_>=_", "size"];

/// What the steps of an expression depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExpressionCost {
    /// Parts of the expression.
    nodes: u64,
    /// Loops inside one another, and one more where a loop goes through a claim for each element, as
    /// `x in claims.rooms` does.
    loops: u32,
    /// Whether a loop runs over what the expression made, which may be larger than any claim.
    is_grown: bool,
}

impl ExpressionCost {
    /// Computes the cost of an expression.
    ///
    /// # Errors
    /// Says in a sentence that loops nest too deep, or that a chain of them could grow without
    /// bounds.
    pub(super) fn of(expression: &IdedExpr) -> Result<Self, String> {
        let loops = loops(expression);
        if loops > MAX_LOOPS {
            return Err(format!(
                "it nests more than {MAX_LOOPS} of all, exists, exists_one, map and filter; write a \
                 simpler one"
            ));
        }
        let chain = longest_chain(expression);
        if chain > 2 {
            return Err("it chains more than two of map and filter; write a simpler one".to_owned());
        }
        let loops = loops + u32::from(reads_claims_in_a_loop(expression));
        Ok(ExpressionCost { nodes: nodes(expression), loops, is_grown: has_made_range(expression) })
    }

    /// Fails if evaluating it over values of `size` elements and words could take more than the
    /// budget of a million steps.
    ///
    /// # Errors
    /// Says in a sentence that it is over budget.
    pub(super) fn check(&self, size: u64) -> Result<(), String> {
        if self.loops == 0 {
            return Ok(());
        }
        let steps = self.steps(size);
        match steps <= MAX_STEPS {
            true => Ok(()),
            false => Err(format!(
                "it could take {steps} steps over claims of {size} values, and {MAX_STEPS} are \
                 allowed; write one without nested loops, or make the claims smaller"
            )),
        }
    }

    /// The most steps of an evaluation over values of `size` elements and words.
    fn steps(&self, size: u64) -> u64 {
        let range = if self.is_grown { size.saturating_mul(self.nodes) } else { size };
        range.max(1).saturating_pow(self.loops).saturating_mul(self.nodes)
    }
}

fn nodes(at: &IdedExpr) -> u64 {
    1 + operands(at).into_iter().map(nodes).sum::<u64>()
}

/// The number of loops inside one another.
fn loops(at: &IdedExpr) -> u32 {
    let deepest = |inner: &[&IdedExpr]| inner.iter().map(|e| loops(e)).max().unwrap_or(0);
    match &at.expr {
        Expr::Comprehension(inner) => {
            let each = deepest(&[&inner.loop_cond, &inner.loop_step]);
            (1 + each).max(deepest(&[&inner.iter_range, &inner.accu_init, &inner.result]))
        }
        _ => deepest(&operands(at)),
    }
}

/// The most `map` and `filter` that one value goes through on its way into a loop.
fn longest_chain(at: &IdedExpr) -> usize {
    let own = match &at.expr {
        Expr::Comprehension(inner) => made_in(&inner.iter_range),
        _ => 0,
    };
    operands(at).into_iter().map(longest_chain).max().unwrap_or(0).max(own)
}

/// The most list-making loops on any way through an expression that is the range of a loop.
fn made_in(at: &IdedExpr) -> usize {
    let inner = operands(at).into_iter().map(made_in).max().unwrap_or(0);
    inner + usize::from(matches!(&at.expr, Expr::Comprehension(inner) if makes_list(inner)))
}

/// Whether the body of a loop has an operation that goes through a whole claim.
fn reads_claims_in_a_loop(at: &IdedExpr) -> bool {
    let own = match &at.expr {
        Expr::Comprehension(inner) => {
            [&inner.loop_cond, &inner.loop_step].into_iter().any(reads_claims)
        }
        _ => false,
    };
    own || operands(at).into_iter().any(reads_claims_in_a_loop)
}

fn reads_claims(at: &IdedExpr) -> bool {
    let own = match &at.expr {
        Expr::Call(call) => match call.func_name.as_str() {
            "_==_" | "_!=_" => call.args.iter().all(is_claim),
            name if CONSTANT.contains(&name) => false,
            _ => operands(at).into_iter().any(is_claim),
        },
        Expr::List(_) | Expr::Map(_) | Expr::Struct(_) => operands(at).into_iter().any(is_claim),
        _ => false,
    };
    own || operands(at).into_iter().any(reads_claims)
}

/// Whether this is `claims` or a part of it, which may be large.
fn is_claim(at: &IdedExpr) -> bool {
    match &at.expr {
        Expr::Ident(name) => name == "claims",
        Expr::Select(select) => is_claim(&select.operand),
        Expr::Call(call) if call.func_name == "_[_]" => call.args.first().is_some_and(is_claim),
        _ => false,
    }
}

/// Whether a loop runs over anything but a variable, a field or an item.
fn has_made_range(at: &IdedExpr) -> bool {
    let own = match &at.expr {
        Expr::Comprehension(inner) => !is_path(&inner.iter_range),
        _ => false,
    };
    own || operands(at).into_iter().any(has_made_range)
}

fn is_path(at: &IdedExpr) -> bool {
    match &at.expr {
        Expr::Ident(_) | Expr::Literal(_) => true,
        Expr::Select(select) => is_path(&select.operand),
        Expr::Call(call) if call.func_name == "_[_]" => call.args.iter().all(is_path),
        _ => false,
    }
}

fn makes_list(comprehension: &ComprehensionExpr) -> bool {
    matches!(&comprehension.accu_init.expr, Expr::List(_) | Expr::Map(_))
}

#[cfg(test)]
mod tests;
