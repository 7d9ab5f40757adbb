//! Holds the sources to the structure that docs/architecture.md describes: the layers of the
//! server, no circles between files, no long files or functions, and the crates' dependencies.
//! It also holds the picture of the modules and that page to the sources.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod document;
mod fixtures;
mod graph;
mod picture;
mod rules;
mod scan;

use std::path::{Path, PathBuf};

use graph::Crate;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn server() -> Crate {
    Crate::read(&root(), "crates/server/src")
}

/// All crates of the workspace.
fn crates() -> Vec<Crate> {
    let source = |folder: String| format!("{folder}/src").replace("./", "");
    let crates = rules::crates(&root()).into_iter();
    crates.map(|(_, folder)| Crate::read(&root(), &source(folder))).collect()
}

fn assert_none(found: Vec<String>) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn no_module_of_the_server_imports_a_higher_layer() {
    let server = server();
    assert!(server.edges().len() > 200, "only {} imports found", server.edges().len());
    assert_none(rules::layers(&server));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    assert_none(crates().iter().flat_map(rules::circles).collect());
}

#[test]
fn files_and_functions_are_short() {
    assert_none(crates().iter().flat_map(rules::sizes).collect());
}

#[test]
fn crates_depend_on_lower_crates_only() {
    let manifests = rules::crates(&root()).into_iter();
    let manifests = manifests.map(|(name, folder)| (name, read(format!("{folder}/Cargo.toml"))));
    assert_none(manifests.flat_map(|(name, text)| rules::dependencies(name, &text)).collect());
}
