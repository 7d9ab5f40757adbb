//! Holds docs/architecture.md and CONTRIBUTING.md to the sources: the functions, types and paths
//! that they name exist.

use std::collections::BTreeSet;

use super::{read, root, rules, server};

const ARCHITECTURE: &str = "docs/architecture.md";

/// Where a path in docs/architecture.md may start.
const SERVER: &str = "crates/server/src";

/// The text of a section, from its heading to the next one of the same level.
fn section(document: &str, heading: &str) -> String {
    let start = document.find(&format!("\n## {heading}\n")).expect("the section exists");
    let text = &document[start + 1..];
    text.find("\n## ").map_or(text, |end| &text[..end]).to_owned()
}

/// What is in backticks in a document's prose.
fn quoted(document: &str) -> Vec<&str> {
    let prose = document.split("\n```").step_by(2).flat_map(str::lines);
    prose.flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// Paths such as `Broker::publish`, in prose and diagrams.
fn code_paths(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words.map(|word| word.trim_end_matches(':')).filter(|word| word.contains("::")).collect()
}

/// Everything that the server defines: `publish`, `gateway::events::publish`, `Broker::publish`.
fn defined() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (module, file) in server().files() {
        found.extend(file.scan.items.iter().cloned());
        found.extend(file.scan.items.iter().map(|item| format!("{}::{item}", module.join("::"))));
    }
    found
}

#[test]
fn the_way_of_a_publication_names_functions_and_types_that_exist() {
    let text = section(&read(ARCHITECTURE), "The way of one publication");
    let defined = defined();
    assert!(defined.contains("Broker") && !defined.contains("Broker::nothing"));
    let paths = code_paths(&text);
    assert!(paths.len() >= 15, "only {paths:?}");
    let is_name = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let names: BTreeSet<_> = quoted(&text).into_iter().filter(is_name).collect();
    assert!(names.len() >= 5, "only {names:?}");
    for name in paths.union(&names) {
        assert!(defined.contains(*name), "{ARCHITECTURE} names {name}, which does not exist");
    }
}

#[test]
fn every_path_in_the_architecture_and_the_contributors_guide_exists() {
    let mut seen = 0;
    for name in [ARCHITECTURE, "CONTRIBUTING.md"] {
        let text = read(name);
        let is_path = |quote: &&str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
            quote.contains('/') && quote.chars().all(plain)
        };
        for path in quoted(&text).into_iter().filter(is_path) {
            // Names with a domain are labels and annotations.
            if path.starts_with('/') || path.contains(".dev/") || path.contains(".io") {
                continue;
            }
            seen += 1;
            let exists = ["", SERVER].iter().any(|base| root().join(base).join(path).exists());
            assert!(exists, "{name} names {path}, which does not exist");
        }
    }
    assert!(seen > 40, "only {seen}");
}

#[test]
fn the_architecture_lists_every_crate_and_every_module_of_the_server() {
    let house = section(&read(ARCHITECTURE), "The house");
    for (_, folder) in rules::crates(&root()) {
        let cell = format!("| `{}` |", if folder == "." { "src" } else { &folder });
        assert!(house.contains(&cell), "{ARCHITECTURE} has no row for {folder}");
    }
    let mut rows = house.lines();
    for (index, layer) in rules::LAYERS.iter().enumerate().rev() {
        for module in *layer {
            let row = format!("| {} | `{module}` |", index + 1);
            let found = rows.any(|line| line.starts_with(&row));
            assert!(found, "{ARCHITECTURE} has no row {row:?}, or not in the order of the layers");
        }
    }
    assert!(rules::APART.iter().all(|module| house.contains(&format!("| | `{module}` |"))));
}
