//! What an API server says of a spec: by the types of the definition, and by its validation rules.

use std::sync::LazyLock;

use cel::{Context, Program};
use regex::Regex;
use rookery_operator::crd;
use serde_json::{Map, Value};

static DEFINITION: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(crd::definition()).unwrap());

/// What is wrong with a spec: what the types say, and what the rules say. A server checks rules
/// only as far as the types are right.
pub fn problems(spec: &Value) -> (Vec<String>, Vec<String>) {
    let schema = &DEFINITION["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let schema = &schema["properties"]["spec"];
    let mut spec = spec.clone();
    add_defaults(&mut spec, schema);
    let (mut typed, mut ruled) = (Vec::new(), Vec::new());
    check_types("spec", &spec, schema, &mut typed);
    if typed.is_empty() {
        check_rules("spec", &spec, schema, &mut ruled);
    }
    (typed, ruled)
}

fn add_defaults(value: &mut Value, schema: &Value) {
    each(value, schema, &mut |value, schema| {
        let (Some(map), Some(properties)) =
            (value.as_object_mut(), schema["properties"].as_object())
        else {
            return;
        };
        for (name, inner) in properties {
            if let Some(default) = inner.get("default")
                && !map.contains_key(name)
            {
                map.insert(name.clone(), default.clone());
            }
        }
    });
}

/// Changes a value, then each that it holds, together with its schema.
fn each(value: &mut Value, schema: &Value, change: &mut impl FnMut(&mut Value, &Value)) {
    change(value, schema);
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                let of = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
                each(inner, of, change);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|one| each(one, &schema["items"], change)),
        _ => {}
    }
}

fn check_types(at: &str, value: &Value, schema: &Value, problems: &mut Vec<String>) {
    let mut say = |text: &str| problems.push(format!("{at}: {text}"));
    let is_open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    if is_open && schema["properties"].is_null() {
        return;
    }
    if schema["x-kubernetes-int-or-string"] == true {
        if !value.is_string() && !value.is_i64() {
            say("expected a number or text");
        }
    } else if !has_type(value, schema["type"].as_str().unwrap_or_default()) {
        return say(&format!("expected {}", schema["type"]));
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        say("is not one of the supported values");
    }
    for (bound, found) in [
        ("minimum", value.as_f64()),
        ("minItems", value.as_array().map(|list| list.len() as f64)),
        ("minLength", value.as_str().map(|text| text.len() as f64)),
    ] {
        let limit = schema[bound].as_f64().filter(|_| schema["x-kubernetes-int-or-string"] != true);
        if found.zip(limit).is_some_and(|(found, limit)| found < limit) {
            say(bound);
        }
    }
    for (bound, found) in [
        ("maximum", value.as_f64()),
        ("maxItems", value.as_array().map(|list| list.len() as f64)),
        ("maxLength", value.as_str().map(|text| text.len() as f64)),
        ("maxProperties", value.as_object().map(|map| map.len() as f64)),
    ] {
        if found.zip(schema[bound].as_f64()).is_some_and(|(found, limit)| found > limit) {
            say(bound);
        }
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !Regex::new(pattern).unwrap().is_match(text)
    {
        say(pattern);
    }
    check_fields(at, value, schema, problems);
}

fn check_fields(at: &str, value: &Value, schema: &Value, problems: &mut Vec<String>) {
    if let Some(map) = value.as_object() {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !map.contains_key(name) {
                problems.push(format!("{at}.{name}: Required value"));
            }
        }
        for (name, inner) in map {
            let of = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
            if of.is_null() && schema["x-kubernetes-preserve-unknown-fields"] == true {
                continue;
            } else if of.is_null() {
                problems.push(format!("unknown field \"{at}.{name}\""));
            } else {
                check_types(&format!("{at}.{name}"), inner, of, problems);
            }
        }
    }
    for (i, inner) in value.as_array().into_iter().flatten().enumerate() {
        check_types(&format!("{at}[{i}]"), inner, &schema["items"], problems);
    }
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        other => panic!("the definition has the type {other}"),
    }
}

fn check_rules(at: &str, value: &Value, schema: &Value, problems: &mut Vec<String>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let text = rule["rule"].as_str().unwrap();
        // A rule with the former value is for updates.
        if !text.contains("oldSelf") && !holds(text, value) {
            problems.push(format!("{at}: {}", rule["message"].as_str().unwrap()));
        }
    }
    for (name, inner) in value.as_object().unwrap_or(&Map::new()) {
        match schema["properties"].get(name) {
            Some(of) => check_rules(&format!("{at}.{name}"), inner, of, problems),
            // As a server writes the path of a map's value.
            None => {
                let at = format!("{at}[{name}]");
                check_rules(&at, inner, &schema["additionalProperties"], problems);
            }
        }
    }
    for (i, inner) in value.as_array().into_iter().flatten().enumerate() {
        check_rules(&format!("{at}[{i}]"), inner, &schema["items"], problems);
    }
}

/// Whether a rule holds for a value.
fn holds(rule: &str, value: &Value) -> bool {
    let is_number = |value: &Value| if value.is_number() { "true" } else { "false" };
    // The library has no `type`.
    let rule = rule
        .replace("type(self) == int", is_number(value))
        .replace("type(self['memory']) == int", is_number(&value["memory"]));
    let program = Program::compile(&rule).unwrap_or_else(|error| panic!("{rule}: {error}"));
    let mut context = Context::default();
    context.add_variable("self", value.clone()).unwrap();
    let result = program.execute(&context).unwrap_or_else(|error| panic!("{rule}: {error}"));
    result == cel::Value::Bool(true)
}
