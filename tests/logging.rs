//! docs/logging.md lists every line that the server logs at `info` or above, and every field.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Sources without log lines of the server: the operator, and commands that only print.
const ELSEWHERE: [&str; 5] =
    ["crates/client", "crates/operator", "src/cli", "src/cli.rs", "src/main.rs"];

/// A log line in the source.
#[derive(Debug)]
struct Line {
    level: String,
    fields: Vec<String>,
    message: String,
    place: PathBuf,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn sources(path: &Path, found: &mut Vec<PathBuf>) {
    if ELSEWHERE.iter().any(|part| path == root().join(part)) || path.ends_with("tests") {
        return;
    }
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            sources(&entry.unwrap().path(), found);
        }
    } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
        found.push(path.to_owned());
    }
}

/// Splits the arguments of a macro at its commas; `text` starts after the opening parenthesis.
fn arguments(text: &str) -> Vec<String> {
    let (mut found, mut at, mut depth) = (vec![String::new()], 0, 0);
    let mut quoted = false;
    while let Some(c) = text[at..].chars().next() {
        at += c.len_utf8();
        match c {
            '\\' if quoted => {
                let next = text[at..].chars().next().unwrap();
                at += next.len_utf8();
                found.last_mut().unwrap().extend([c, next]);
                continue;
            }
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted && depth == 0 => break,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                found.push(String::new());
                continue;
            }
            _ => {}
        }
        found.last_mut().unwrap().push(c);
    }
    found.iter().map(|argument| argument.trim().to_owned()).filter(|a| !a.is_empty()).collect()
}

/// The field name in `member = …`, `%error`, `?turn` or `room`.
fn field(argument: &str) -> String {
    let name = argument.split(" = ").next().unwrap();
    name.trim_start_matches(['%', '?']).to_owned()
}

fn lines_of(place: &Path) -> Vec<Line> {
    let text = read(place);
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let mut found = Vec::new();
    for level in ["error", "warn", "info", "debug", "trace", "limited"] {
        let call = format!("{level}!(");
        for (at, _) in code.match_indices(&call) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
                continue;
            }
            let mut arguments = arguments(&code[at + call.len()..]);
            let level = if level == "limited" { arguments.remove(1) } else { level.to_owned() };
            if code[at..].starts_with("limited") {
                arguments.remove(0);
            }
            let Some(message) = arguments.pop() else { continue };
            let Some(message) = message.strip_prefix('"').and_then(|m| m.strip_suffix('"')) else {
                continue;
            };
            // The panic hook's line is the panic's message.
            if message != "{panic}" {
                let fields = arguments.iter().map(|argument| field(argument)).collect();
                found.push(Line { level, fields, message: message.into(), place: place.into() });
            }
        }
    }
    found
}

fn lines() -> Vec<Line> {
    let mut files = vec![root().join("src/cli/serve.rs")];
    for part in ["src", "crates"] {
        sources(&root().join(part), &mut files);
    }
    let lines: Vec<Line> = files.iter().flat_map(|file| lines_of(file)).collect();
    assert!(lines.len() > 40, "{lines:#?}");
    lines
}

/// The texts in backticks in the first column of the table under a heading.
fn column(heading: &str) -> BTreeSet<String> {
    let text = read(&root().join("docs/logging.md"));
    let section = text.split_once(&format!("\n## {heading}\n")).unwrap().1;
    let section = section.split("\n## ").next().unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// The part of a message that the docs show.
fn head(message: &str) -> String {
    message.split([';', ':']).next().unwrap().to_owned()
}

#[test]
fn the_docs_list_exactly_the_lines_of_info_and_above() {
    let from_info_on = |line: &&Line| line.level != "debug" && line.level != "trace";
    let lines = lines();
    let written: BTreeSet<_> =
        lines.iter().filter(from_info_on).map(|line| head(&line.message)).collect();
    assert_eq!(column("Lines"), written);
}

#[test]
fn the_docs_list_exactly_the_log_fields() {
    let lines = lines();
    let mut used: BTreeSet<_> = lines.iter().flat_map(|line| line.fields.clone()).collect();
    used.insert("suppressed".to_owned());
    assert_eq!(column("Fields"), used);
}

#[test]
fn messages_are_short_and_contain_no_values() {
    for line in lines() {
        let Line { message, place, .. } = &line;
        let first = message.chars().next().unwrap();
        assert!(first.is_lowercase() || message.starts_with("Redis "), "{place:?}: {message}");
        assert!(!message.ends_with('.') && message.len() < 100, "{place:?}: {message}");
        let filled = message.replace("{{", "").replace("}}", "");
        assert!(!filled.contains('{'), "a value belongs into a field: {place:?}: {message}");
    }
}
