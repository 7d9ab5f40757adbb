//! The rules of the sources. Each function gives what breaks its rule, one line for each breach.

use std::path::Path;

use super::graph::{Crate, Edge};

/// The layers of `crates/server`, lowest first. A module imports those of lower layers only.
pub const LAYERS: [&[&str]; 7] = [
    &["hashing", "wakeups", "message"],
    &["telemetry"],
    &["connection", "backend"],
    &["rooms"],
    &["backplane"],
    &["broker"],
    &["gateway", "api"],
];

/// Modules of `crates/server` that import no other; the first is for the highest layer alone, the
/// second for the binary.
pub const APART: [&str; 2] = ["auth", "status_page"];

/// The crates, each with those of the workspace that it may depend on.
const CRATES: [(&str, &[&str]); 10] = [
    ("backoff", &[]),
    ("protocol", &[]),
    ("policy", &["protocol"]),
    ("config", &["protocol", "policy"]),
    ("ops", &["config"]),
    ("client", &["protocol"]),
    ("operator", &["config", "ops"]),
    ("server", &["backoff", "protocol", "policy", "config", "ops"]),
    ("fuzz-targets", &["protocol", "policy", "config", "operator", "server"]),
    (
        "rookery",
        &["backoff", "protocol", "policy", "config", "ops", "client", "operator", "server"],
    ),
];

const MAX_FILE_LINES: usize = 400;

const MAX_FUNCTION_LINES: usize = 50;

/// Longer functions, `file:name`, each with the reason.
const LONG_FUNCTIONS: [(&str, &str); 1] =
    [("crates/server/src/api/tests/refusals.rs:publish_cases", "a table of refused requests")];

/// Imports that go up, or sideways in the highest layer.
pub fn layers(server: &Crate) -> Vec<String> {
    let mut found = Vec::new();
    for module in server.files().keys().filter_map(|module| module.first()) {
        if !LAYERS.concat().contains(&&**module) && !APART.contains(&&**module) {
            found.push(format!("{module} has no layer: add it to tests/layers/rules.rs"));
        }
    }
    found.dedup();
    for edge in server.edges() {
        let (Some(from), Some(to)) = (edge.from.first(), edge.to.first()) else { continue };
        if !may_import(from, to) {
            let Edge { place, import, .. } = edge;
            let rule = format!("{from} may not import {to}: see docs/architecture.md");
            found.push(format!("{place}: `{import}`: {rule}"));
        }
    }
    found
}

fn may_import(from: &str, to: &str) -> bool {
    let layer = |module: &str| LAYERS.iter().position(|layer| layer.contains(&module));
    match (layer(from), layer(to)) {
        _ if from == to => true,
        (Some(from), Some(to)) => to < from,
        (Some(from), None) => from == LAYERS.len() - 1 && to == APART[0],
        (None, _) => false,
    }
}

/// Files that import each other in a circle.
pub fn circles(crate_: &Crate) -> Vec<String> {
    let step = |edge: &Edge| format!("  {}: `{}`", edge.place, edge.import);
    let text = |circle: Vec<Edge>| {
        let steps: Vec<_> = circle.iter().map(step).collect();
        format!("these files import each other in a circle:\n{}", steps.join("\n"))
    };
    crate_.circles().into_iter().map(text).collect()
}

/// Files and functions that are too long.
pub fn sizes(crate_: &Crate) -> Vec<String> {
    let mut found = Vec::new();
    for file in crate_.files().values().chain(crate_.tests()) {
        let name = &file.name;
        if file.lines > MAX_FILE_LINES {
            found.push(format!("{name}: {} lines: at most {MAX_FILE_LINES}", file.lines));
        }
        for function in &file.scan.functions {
            let key = format!("{name}:{}", function.name);
            let is_allowed = LONG_FUNCTIONS.iter().any(|(allowed, _)| *allowed == key);
            if function.lines > MAX_FUNCTION_LINES && !is_allowed {
                let (at, called, lines) = (function.line, &function.name, function.lines);
                found.push(format!("{name}:{at}: `{called}` has {lines} lines: at most 50"));
            }
        }
    }
    found
}

/// Dependencies of a crate on others of the workspace that it may not have.
pub fn dependencies(name: &str, manifest: &str) -> Vec<String> {
    let Some((_, allowed)) = CRATES.iter().find(|(known, _)| *known == name) else {
        return vec![format!("crates/{name} is unknown: add it to tests/layers/rules.rs")];
    };
    let not_allowed = |(_, other): &(usize, &str)| !allowed.contains(other);
    let text = |(line, other)| {
        format!(
            "the Cargo.toml of {name}, line {line}: {name} may not depend on {other}: \
             see docs/architecture.md"
        )
    };
    workspace_dependencies(manifest).into_iter().filter(not_allowed).map(text).collect()
}

/// The crates of the workspace that a manifest depends on, in whatever section, with their lines.
pub fn workspace_dependencies(manifest: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut is_dependencies = false;
    for (at, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            let is_list = line.trim_end_matches(']').ends_with("dependencies");
            is_dependencies = is_list && !line.contains("workspace");
        } else if is_dependencies && let Some(rest) = line.strip_prefix("rookery-") {
            let end = rest.find(['.', ' ', '=']).unwrap_or(rest.len());
            found.push((at + 1, &rest[..end]));
        }
    }
    found
}

/// Every crate of the workspace with the folder of its manifest, lowest first.
pub fn crates(root: &Path) -> Vec<(&'static str, String)> {
    let mut found: Vec<_> = CRATES[..CRATES.len() - 1]
        .iter()
        .map(|(name, _)| (*name, format!("crates/{name}")))
        .collect();
    let listed = std::fs::read_dir(root.join("crates")).expect("the folder exists").count();
    assert_eq!(listed, found.len(), "a crate is missing in tests/layers/rules.rs");
    found.push(("rookery", ".".to_owned()));
    found
}
