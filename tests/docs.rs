//! What the documents show can be had: resources are taken as they stand, and the values that they
//! set are values of the chart.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The documents about Kubernetes, where a key such as `redis.demo` is one of the chart's values.
const KUBERNETES: [&str; 7] =
    ["install", "upgrade", "autoscaling", "ingress", "scaling", "production", "leaving"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The README and everything in docs/, with its name.
fn documents() -> Vec<(String, String)> {
    let mut names = vec!["README.md".to_owned()];
    for entry in std::fs::read_dir(root().join("docs")).expect("docs/ is there") {
        let name = entry.expect("it can be listed").file_name();
        let name = name.to_str().expect("its name is text").to_owned();
        if name.ends_with(".md") {
            names.push(format!("docs/{name}"));
        }
    }
    names.into_iter().map(|name| (name.clone(), read(name))).collect()
}

/// The documents of [`KUBERNETES`].
fn kubernetes_documents() -> impl Iterator<Item = (String, String)> {
    KUBERNETES.iter().map(|name| format!("docs/{name}.md")).map(|name| (name.clone(), read(name)))
}

/// A block of YAML in a document.
struct Block {
    /// The document and the line that it begins at.
    place: String,
    text: String,
}

impl Block {
    fn value(&self) -> Value {
        serde_saphyr::from_str(&self.text)
            .unwrap_or_else(|e| panic!("{} is no YAML: {e}\n{}", self.place, self.text))
    }

    /// Whether it is given as a file of the chart's values.
    fn is_values(&self) -> bool {
        self.text.starts_with("# values.yaml\n")
    }
}

fn blocks(name: &str, document: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (at, line) in document.lines().enumerate() {
        match &mut open {
            None if line == "```yaml" => {
                open = Some(Block { place: format!("{name}:{}", at + 1), text: String::new() });
            }
            None => {}
            Some(_) if line == "```" => found.extend(open.take()),
            Some(block) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
        }
    }
    assert!(open.is_none(), "{name}: a block of YAML has no end");
    found
}

fn all_blocks() -> Vec<Block> {
    documents().iter().flat_map(|(name, text)| blocks(name, text)).collect()
}

/// `rookery render` of a resource.
fn render(resource: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rookery"))
        .args(["render", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(resource.as_bytes()).expect("it reads its input");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

#[test]
fn every_block_of_yaml_can_be_read() {
    let blocks = all_blocks();
    assert!(blocks.len() > 20, "only {} blocks", blocks.len());
    blocks.iter().for_each(|block| drop(block.value()));
}

#[test]
fn every_resource_can_be_had_as_it_stands() {
    let blocks = all_blocks();
    let resources: Vec<_> =
        blocks.iter().filter(|block| block.value()["kind"] == "Rookery").collect();
    assert!(resources.len() >= 5, "only {} resources", resources.len());
    for block in resources {
        let output = render(&block.text);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} is refused:\n{said}", block.place);
    }
}

/// What the schema says of `key` below `at`, if it knows it.
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

/// Whether the chart has a value of this path.
fn knows(schema: &Value, path: &str) -> bool {
    let mut at = Some(schema);
    for key in path.split('.') {
        let key = key.split('[').next().unwrap_or(key);
        at = at.and_then(|at| step(schema, at, key));
    }
    at.is_some()
}

fn chart_schema() -> Value {
    let schema: Value =
        serde_json::from_str(&read("charts/rookery/values.schema.json")).expect("it is JSON");
    assert!(knows(&schema, "ingress.host") && knows(&schema, "config.limits.perIp.connections"));
    assert!(!knows(&schema, "ingress.hosts") && !knows(&schema, "config.limits.nothing"));
    schema
}

/// The paths of `values` that the schema does not know.
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
fn every_file_of_values_has_only_values_of_the_chart() {
    let schema = chart_schema();
    let blocks = all_blocks();
    let files: Vec<_> = blocks.iter().filter(|block| block.is_values()).collect();
    assert!(!files.is_empty());
    for block in files {
        let mut found = Vec::new();
        unknown(&schema, &schema, &block.value(), "", &mut found);
        assert!(found.is_empty(), "{}: the chart has no {found:?}", block.place);
    }
}

/// The keys that `--set` sets in a text.
fn set_keys(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for rest in text.split("--set ").skip(1) {
        let pairs = rest.split([' ', '\n', '`']).next().unwrap_or(rest);
        let pairs = pairs.trim_matches(['"', '\'']).split(',');
        found.extend(pairs.filter_map(|pair| pair.split_once('=')).map(|(key, _)| key));
    }
    found
}

#[test]
fn every_set_sets_a_value_of_the_chart() {
    let schema = chart_schema();
    let mut seen = 0;
    for (name, text) in documents() {
        for key in set_keys(&text) {
            seen += 1;
            assert!(knows(&schema, key), "{name} sets {key}, which the chart has not");
        }
    }
    assert!(seen >= 5, "only {seen}");
}

/// The paths that stand between backticks in a document's prose: `redis.demo`, and of
/// `ingress.sticky: true` what is before the colon.
fn quoted_paths(document: &str) -> Vec<&str> {
    let prose = document.split("\n```").step_by(2);
    let quotes =
        prose.flat_map(|prose| prose.lines()).flat_map(|l| l.split('`').skip(1).step_by(2));
    let paths = quotes.map(|quote| quote.split(": ").next().unwrap_or(quote));
    let plain = |path: &&str| path.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    paths.filter(|path| path.contains('.') && !path.ends_with('.')).filter(plain).collect()
}

#[test]
fn every_key_that_is_named_exists() {
    let schema = chart_schema();
    let mut seen = 0;
    for (name, text) in kubernetes_documents() {
        for path in quoted_paths(&text) {
            let (first, _) = path.split_once('.').expect("it has a dot");
            // Of the chart, or of the configuration itself; other words with dots are not ours.
            if !knows(&schema, first) && !knows(&schema, &format!("config.{first}")) {
                continue;
            }
            seen += 1;
            let known = knows(&schema, path) || knows(&schema, &format!("config.{path}"));
            assert!(known, "{name} names {path}, which neither chart nor configuration has");
        }
    }
    assert!(seen > 40, "only {seen}");
}

#[test]
fn every_alert_is_named_and_every_named_one_exists() {
    let resource = root().join("manifests/examples/haproxy.yaml");
    let output = Command::new(env!("CARGO_BIN_EXE_rookery"))
        .arg("render")
        .arg(resource)
        .arg("--monitoring")
        .output()
        .expect("the binary runs");
    let rules = String::from_utf8(output.stdout).expect("it prints text");
    let alert = |line: &str| {
        let name = line.strip_prefix("| `Rookery")?.split('`').next()?;
        Some(format!("alert: Rookery{name}"))
    };
    let document = read("docs/production.md");
    let named: Vec<_> = document.lines().filter_map(alert).collect();
    let made = rules.matches("alert: Rookery").count();
    for alert in &named {
        assert!(rules.contains(&format!("{alert}\n")), "no rule has `{alert}`");
    }
    assert_eq!(named.len(), made, "docs/production.md names {named:?}");
}
