//! [`Expression`]: a CEL expression, compiled once and evaluated many times.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cel::common::ast::{Expr, IdedExpr};
use cel::common::types::{CelNull, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, Env, ParseErrors, Program, Value};
use serde_json::Value as Json;
use smallvec::SmallVec;

use crate::expression_cost::ExpressionCost;
use crate::namespaces::Namespace;
use crate::operands::operands;
use crate::pattern::Captures;
use crate::regexes::Regexes;
use crate::subject::Subject;

/// The longest expression, in bytes.
const MAX_BYTES: usize = 4096;

/// The deepest nesting. CEL evaluates by recursion, and an unoptimised build takes about 32 KiB of
/// stack for a level, so this fits a thread of 2 MiB twice.
const MAX_DEPTH: usize = 32;

/// The stack on which expressions are parsed: enough for the deepest that fits [`MAX_BYTES`].
const PARSER_STACK_BYTES: usize = 64 << 20;

/// The longest description of a failed evaluation, in bytes: CEL quotes whole values.
const MAX_PROBLEM_BYTES: usize = 300;

/// The variables of every expression. A capture of the same name takes precedence; none is called
/// `claims` or `nsp`, which is the namespace: CEL reserves that word.
const VARIABLES: [&str; 5] = ["claims", "user", "room", "captures", "nsp"];

/// The identifiers that CEL reserves for types.
const TYPES: [&str; 12] = [
    "bool",
    "bytes",
    "double",
    "dyn",
    "int",
    "list",
    "map",
    "null_type",
    "optional_type",
    "string",
    "type",
    "uint",
];

/// A CEL expression over captures and claims.
#[derive(Debug)]
pub(super) struct Expression {
    text: String,
    tree: IdedExpr,
    regexes: Regexes,
    cost: ExpressionCost,
}

/// The values of an expression's variables. All of them are borrowed, so a variable costs nothing
/// until an expression uses it.
pub(super) struct Scope<'a> {
    names: &'a [String],
    captures: SmallVec<[CelString<'a>; 4]>,
    room: CelString<'a>,
    user: Option<CelString<'a>>,
    claims: &'a dyn Val,
    namespace: &'a Namespace,
    /// Elements and words of all values.
    size: u64,
}

impl<'a> Scope<'a> {
    /// The variables for a decision about `subject` in `room` of `namespace`.
    pub(super) fn new(
        captures: &'a Captures<'_>,
        namespace: &'a Namespace,
        room: &'a str,
        subject: &'a Subject,
    ) -> Self {
        Scope {
            names: captures.names(),
            captures: captures.iter().map(|(_, value)| value.into()).collect(),
            room: room.into(),
            user: subject.user().map(Into::into),
            claims: subject.cel_claims(),
            namespace,
            size: subject.size() + (room.len() + namespace.name().len()) as u64,
        }
    }

    fn capture(&self, name: &str) -> Option<&CelString<'a>> {
        self.captures.get(self.names.iter().position(|own| own == name)?)
    }
}

impl Expression {
    /// Compiles `text`, in which `captures` are variables.
    ///
    /// # Errors
    /// Says in a sentence that the text is too long, nests too deep, does not parse, or uses an
    /// unknown variable.
    pub(super) fn compile(text: &str, captures: &[String]) -> Result<Self, String> {
        if text.len() > MAX_BYTES {
            return Err(format!("it has {} bytes; at most {MAX_BYTES} are allowed", text.len()));
        }
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .stack_size(PARSER_STACK_BYTES)
                .spawn_scoped(scope, || parse(text, captures))
                .map_err(|error| format!("cannot start a thread to parse it: {error}"))?
                .join()
                .unwrap_or_else(|_| Err("it is not a readable CEL expression".to_owned()))
        })
    }

    /// The expression as it is configured.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Evaluates the expression.
    ///
    /// # Errors
    /// Returns CEL's error, names the type of a value that is not a boolean, or says that the
    /// evaluation could take more steps than are allowed.
    pub(super) fn evaluate(&self, env: &Arc<Env>, scope: &Scope) -> Result<bool, String> {
        self.run(env, scope, |value| match value {
            Value::Bool(answer) => Ok(answer),
            other => Err(format!("it gives {}, not true or false", other.type_of())),
        })
    }

    /// Evaluates the expression to JSON.
    ///
    /// # Errors
    /// As [`Expression::evaluate`], for a value that JSON does not have.
    pub(super) fn evaluate_json(&self, env: &Arc<Env>, scope: &Scope) -> Result<Json, String> {
        self.run(env, scope, |value| match value.json() {
            Ok(json) => Ok(json),
            Err(_) => Err(format!("it gives {}, which is not JSON", value.type_of())),
        })
    }

    fn run<T>(
        &self,
        env: &Arc<Env>,
        scope: &Scope,
        read: impl FnOnce(Value) -> Result<T, String>,
    ) -> Result<T, String> {
        self.cost.check(scope.size)?;
        let run = || {
            let mut context = Context::with_env(env.clone());
            context.set_variable_resolver(scope);
            self.regexes.declare(&mut context);
            Value::resolve(&self.tree, &context).map_err(|error| error.to_string()).and_then(read)
        };
        catch_unwind(AssertUnwindSafe(run))
            .unwrap_or_else(|_| Err("its evaluation panicked".to_owned()))
            .map_err(shortened)
    }
}

impl VariableResolver for Scope<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        if let Some(value) = self.capture(variable) {
            return Some(CowVal::Borrowed(value));
        }
        match variable {
            "claims" => Some(CowVal::Borrowed(self.claims)),
            "user" => Some(match &self.user {
                Some(user) => CowVal::Borrowed(user),
                None => CowVal::Borrowed(&CelNull),
            }),
            "room" => Some(CowVal::Borrowed(&self.room)),
            "captures" => {
                let entries = self.names.iter().zip(&self.captures);
                owned(entries.map(|(name, value)| (name.clone(), (&**value).into())).collect())
            }
            "nsp" => owned(described(self.namespace)),
            _ => None,
        }
    }
}

fn owned<'b>(map: HashMap<String, Value>) -> Option<CowVal<'b, 'b>> {
    let map: Box<dyn Val> = Value::from(map).try_into().ok()?;
    Some(CowVal::Owned(map))
}

/// The fields of the variable `nsp`: `name`, and what its pattern captured as `params`.
fn described(namespace: &Namespace) -> HashMap<String, Value> {
    let params = namespace.params().iter();
    let params: HashMap<String, Value> =
        params.map(|(name, value)| (name.to_owned(), value.into())).collect();
    let name = Value::from(&**namespace.name());
    HashMap::from([("name".to_owned(), name), ("params".to_owned(), params.into())])
}

/// Parses and checks `text`. Both recurse as deep as it nests.
fn parse(text: &str, captures: &[String]) -> Result<Expression, String> {
    let program = Program::compile(text).map_err(|errors| first_error(&errors))?;
    if depth(program.expression()) > MAX_DEPTH {
        return Err(format!("it nests or chains more than {MAX_DEPTH} deep; write a simpler one"));
    }
    let cost = ExpressionCost::of(program.expression())?;
    let mut known: Vec<&str> = captures.iter().map(String::as_str).collect();
    known.extend(VARIABLES);
    if let Some(unknown) = unknown_variable(program.expression(), &mut known) {
        let unknown = unknown.to_owned();
        return Err(format!("there is no variable `{unknown}`; known: {}", known.join(", ")));
    }
    let mut tree = program.expression().clone();
    let regexes = Regexes::compile(&mut tree).map_err(shortened)?;
    Ok(Expression { text: text.into(), tree, regexes, cost })
}

/// The first parse error and its position. The crate's own formatting is not used: it draws an
/// arrow whose width may be out of range.
fn first_error(errors: &ParseErrors) -> String {
    match errors.errors.first() {
        Some(error) => {
            let (line, column) = (error.pos.0.max(1), error.pos.1.max(0) + 1);
            shortened(format!("line {line}, column {column}: {}", error.msg))
        }
        None => "it is not a CEL expression".to_owned(),
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_PROBLEM_BYTES {
        let end = (0..=MAX_PROBLEM_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The number of levels of operands in an expression.
fn depth(at: &IdedExpr) -> usize {
    1 + operands(at).into_iter().map(depth).max().unwrap_or(0)
}

/// The first identifier that is not in `known`, not a type and not bound by a comprehension.
fn unknown_variable<'e>(at: &'e IdedExpr, known: &mut Vec<&'e str>) -> Option<&'e str> {
    let outside = known.len();
    match &at.expr {
        Expr::Ident(name) => {
            let bare = name.strip_prefix('.').unwrap_or(name);
            let found = known.contains(&bare) || TYPES.contains(&bare);
            (!found).then_some(bare)
        }
        Expr::Comprehension(inner) => {
            let outer = [&inner.iter_range, &inner.accu_init];
            if let Some(unknown) = outer.into_iter().find_map(|o| unknown_variable(o, known)) {
                return Some(unknown);
            }
            known.extend([inner.iter_var.as_str(), inner.accu_var.as_str()]);
            known.extend(inner.iter_var2.as_deref());
            let mut own = [&inner.loop_cond, &inner.loop_step, &inner.result].into_iter();
            let unknown = own.find_map(|operand| unknown_variable(operand, known));
            known.truncate(outside);
            unknown
        }
        _ => operands(at).into_iter().find_map(|operand| unknown_variable(operand, known)),
    }
}
