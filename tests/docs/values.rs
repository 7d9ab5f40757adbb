//! The values and keys that the docs name exist in the charts.

use serde_json::Value;

use super::{all_blocks, documents, kubernetes_documents, read};

/// The schema of `key` below `at`, if there is one.
fn step<'s>(schema: &'s Value, at: &'s Value, key: &str) -> Option<&'s Value> {
    if let Some(reference) = at["$ref"].as_str() {
        let target = schema.pointer(reference.trim_start_matches('#'));
        return step(schema, target.expect("a reference leads somewhere"), key);
    }
    if let Some(found) = at["properties"].get(key) {
        return Some(found);
    }
    let parts = ["allOf", "anyOf"].into_iter().filter_map(|word| at[word].as_array()).flatten();
    let mut found = parts.filter_map(|part| step(schema, part, key));
    if let Some(found) = found.next() {
        return Some(found);
    }
    if at["items"].is_object() {
        return step(schema, &at["items"], key);
    }
    at.get("additionalProperties").filter(|any| any.is_object())
}

/// Whether the chart has a value with this path.
fn knows(schema: &Value, path: &str) -> bool {
    let mut at = Some(schema);
    for key in path.split('.') {
        let key = key.split('[').next().unwrap_or(key);
        at = at.and_then(|at| step(schema, at, key));
    }
    at.is_some()
}

fn schema_of(chart: &str) -> Value {
    let schema = read(format!("charts/{chart}/values.schema.json"));
    serde_json::from_str(&schema).expect("it is JSON")
}

fn chart_schema() -> Value {
    let schema = schema_of("rookery");
    assert!(knows(&schema, "ingress.host") && knows(&schema, "config.limits.perIp.connections"));
    assert!(!knows(&schema, "ingress.hostz") && !knows(&schema, "config.limits.nothing"));
    schema
}

/// Collects the paths in `values` that the schema does not know.
fn unknown(schema: &Value, at: &Value, values: &Value, path: &str, found: &mut Vec<String>) {
    match values {
        Value::Object(map) => {
            for (key, inner) in map {
                let path = format!("{path}.{key}");
                match step(schema, at, key) {
                    Some(at) => unknown(schema, at, inner, &path, found),
                    None => found.push(path),
                }
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|item| unknown(schema, at, item, path, found));
        }
        _ => {}
    }
}

#[test]
fn values_files_contain_only_chart_values() {
    let blocks = all_blocks();
    for (file, schema) in
        [("values.yaml", chart_schema()), ("operator-values.yaml", schema_of("rookery-operator"))]
    {
        let files: Vec<_> = blocks.iter().filter(|block| block.is(file)).collect();
        assert!(!files.is_empty());
        for block in files {
            let mut found = Vec::new();
            unknown(&schema, &schema, &block.value(), "", &mut found);
            assert!(found.is_empty(), "{}: the chart has no {found:?}", block.place);
        }
    }
}

#[test]
fn applications_and_helm_releases_contain_only_chart_values() {
    let of = |kind: &str| match kind {
        "Application" => Some(("/spec/source/chart", "/spec/source/helm/valuesObject")),
        "HelmRelease" => Some(("/spec/chartRef/name", "/spec/values")),
        _ => None,
    };
    let mut seen = 0;
    for block in all_blocks() {
        let manifest = block.value();
        let Some((chart, values)) = manifest["kind"].as_str().and_then(of) else { continue };
        let chart = manifest.pointer(chart).and_then(Value::as_str).expect("it names a chart");
        let schema = schema_of(chart);
        let mut found = Vec::new();
        let values = manifest.pointer(values).cloned().unwrap_or_default();
        unknown(&schema, &schema, &values, "", &mut found);
        assert!(found.is_empty(), "{}: the chart has no {found:?}", block.place);
        seen += 1;
    }
    assert!(seen >= 4, "only {seen}");
}

/// The keys that `--set` sets in a line.
fn set_keys(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for rest in text.split("--set ").skip(1) {
        let pairs = rest.split([' ', '\n', '`']).next().unwrap_or(rest);
        let pairs = pairs.trim_matches(['"', '\'']).split(',');
        found.extend(pairs.filter_map(|pair| pair.split_once('=')).map(|(key, _)| key));
    }
    found
}

/// The key of the chart of a service that has no meaning any more, and is accepted.
const FORMER: &str = "operator.enabled";

#[test]
fn every_set_flag_names_a_chart_value() {
    let (service, operator) = (chart_schema(), schema_of("rookery-operator"));
    let mut seen = 0;
    for (name, text) in documents() {
        for line in text.replace("\\\n", " ").lines() {
            let of_operator = line.contains("charts/rookery-operator");
            let schema = if of_operator { &operator } else { &service };
            for key in set_keys(line) {
                seen += 1;
                let known = knows(schema, key) || key == FORMER;
                assert!(known, "{name} sets {key}, which the chart has not: {line}");
            }
        }
    }
    assert!(seen >= 5, "only {seen}");
}

/// The dotted paths between backticks in a document's prose: `redis.demo`, and the part of
/// `ingress.sticky: true` before the colon.
fn quoted_paths(document: &str) -> Vec<&str> {
    let prose = document.split("\n```").step_by(2);
    let quotes =
        prose.flat_map(|prose| prose.lines()).flat_map(|l| l.split('`').skip(1).step_by(2));
    let paths = quotes.map(|quote| quote.split(": ").next().unwrap_or(quote));
    let plain = |path: &&str| path.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    paths.filter(|path| path.contains('.') && !path.ends_with('.')).filter(plain).collect()
}

#[test]
fn every_key_mentioned_exists() {
    let (service, operator) = (chart_schema(), schema_of("rookery-operator"));
    let is_known = |path: &str| {
        let of_service = knows(&service, path) || knows(&service, &format!("config.{path}"));
        of_service || knows(&operator, path) || path == FORMER
    };
    let mut seen = 0;
    for (name, text) in kubernetes_documents() {
        for path in quoted_paths(&text) {
            let (first, _) = path.split_once('.').expect("it has a dot");
            // Of a chart, or of the configuration itself; other words with dots are not ours.
            if !is_known(first) {
                continue;
            }
            seen += 1;
            assert!(
                is_known(path),
                "{name} names {path}, which neither chart nor configuration has"
            );
        }
    }
    assert!(seen > 40, "only {seen}");
}
