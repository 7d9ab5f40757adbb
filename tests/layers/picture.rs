//! Holds docs/pictures/modules.svg to the sources: scripts/modules.mjs draws it from the imports
//! that this test finds. `WRITE_PICTURE=1 cargo test --test layers picture` draws it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::graph::Crate;
use super::{read, root, rules, server};

const PICTURE: &str = "docs/pictures/modules.svg";

/// What the script draws: the crates with their dependencies, the layers of the server with their
/// files, and how many imports there are from one module of the server to another.
fn modules(server: &Crate) -> Value {
    let mut files: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for module in server.files().keys() {
        if let [layer, file, ..] = &module[..] {
            files.entry(layer).or_default().insert(file);
        } else if let [layer] = &module[..] {
            files.entry(layer).or_default();
        }
    }
    let mut imports: BTreeMap<(String, String), usize> = BTreeMap::new();
    for edge in server.edges() {
        if let (Some(from), Some(to)) = (edge.from.first(), edge.to.first())
            && from != to
        {
            *imports.entry((from.clone(), to.clone())).or_default() += 1;
        }
    }
    let import = |((from, to), count)| json!({"from": from, "to": to, "count": count});
    let crates = rules::crates(&root()).into_iter().map(|(name, folder)| {
        let manifest = read(format!("{folder}/Cargo.toml"));
        let on = rules::workspace_dependencies(&manifest).into_iter().map(|(_, on)| on);
        json!({"name": name, "dependsOn": on.collect::<BTreeSet<_>>()})
    });
    json!({
        "crates": crates.collect::<Vec<_>>(),
        "layers": rules::LAYERS,
        "apart": rules::APART,
        "files": files,
        "imports": imports.into_iter().map(import).collect::<Vec<_>>(),
    })
}

/// The picture, unless there is no Node to draw it with.
fn draw(modules: &Value) -> Option<String> {
    let script = Command::new("node")
        .arg(root().join("scripts/modules.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut script = match script {
        Ok(script) => script,
        Err(error) => {
            eprintln!("skipped: node does not start: {error}");
            return None;
        }
    };
    let mut stdin = script.stdin.take().expect("stdin is piped");
    stdin.write_all(modules.to_string().as_bytes()).expect("the script reads its input");
    drop(stdin);
    let output = script.wait_with_output().expect("the script ends");
    assert!(output.status.success(), "scripts/modules.mjs failed");
    Some(String::from_utf8(output.stdout).expect("the picture is UTF-8"))
}

#[test]
fn the_picture_of_the_modules_is_up_to_date() {
    let Some(picture) = draw(&modules(&server())) else { return };
    if std::env::var_os("WRITE_PICTURE").is_some() {
        std::fs::write(root().join(PICTURE), &picture).expect("the picture can be written");
    }
    assert!(
        read(PICTURE) == picture,
        "{PICTURE} is out of date: run WRITE_PICTURE=1 cargo test --test layers picture"
    );
}

#[test]
fn an_import_that_goes_up_is_drawn_red() {
    let files = [("message.rs", "use crate::broker::Broker;"), ("broker.rs", "")];
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    let Some(picture) = draw(&modules(&Crate::new("src", files))) else { return };
    assert!(picture.contains("class=\"up\""), "{picture}");
    let Some(picture) = draw(&modules(&server())) else { return };
    assert!(!picture.contains("class=\"up\""), "an import goes up");
}
