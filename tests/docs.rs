//! The examples in the docs work: resources render, and values and keys exist in the chart.

#[path = "docs/values.rs"]
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The pages about Kubernetes, in which a key such as `redis.demo` is a chart value.
const KUBERNETES: [&str; 12] = [
    "install",
    "upgrade",
    "autoscaling",
    "ingress",
    "scaling",
    "production",
    "monitoring",
    "leaving",
    "gitops",
    "openshift",
    "publishing",
    "cloud",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The README and all pages in docs/, including the runbooks, with their names.
fn documents() -> Vec<(String, String)> {
    let mut names = vec!["README.md".to_owned()];
    for folder in ["docs", "docs/runbooks"] {
        for entry in std::fs::read_dir(root().join(folder)).expect("it is there") {
            let name = entry.expect("it can be listed").file_name();
            let name = name.to_str().expect("its name is text").to_owned();
            if name.ends_with(".md") {
                names.push(format!("{folder}/{name}"));
            }
        }
    }
    names.into_iter().map(|name| (name.clone(), read(name))).collect()
}

/// The pages listed in [`KUBERNETES`].
fn kubernetes_documents() -> impl Iterator<Item = (String, String)> {
    KUBERNETES.iter().map(|name| format!("docs/{name}.md")).map(|name| (name.clone(), read(name)))
}

/// A YAML block in a document.
struct Block {
    /// The document, and the line where the block starts.
    place: String,
    text: String,
}

impl Block {
    fn value(&self) -> Value {
        serde_saphyr::from_str(&self.text)
            .unwrap_or_else(|e| panic!("{} is no YAML: {e}\n{}", self.place, self.text))
    }

    /// Whether the block is a values file with this name.
    fn is(&self, file: &str) -> bool {
        self.text.starts_with(&format!("# {file}\n"))
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

/// Runs `rookery render` on a resource.
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
fn every_yaml_block_parses() {
    let blocks = all_blocks();
    assert!(blocks.len() > 12, "only {} blocks", blocks.len());
    blocks.iter().for_each(|block| drop(block.value()));
}

#[test]
fn every_resource_renders() {
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

/// The rules about the pods and about the operator.
const RULES: [&str; 2] = [
    "charts/rookery/rules/servers.rules.yaml",
    "charts/rookery-operator/rules/operator.rules.yaml",
];

/// The names of all alerts, about the pods and about the operator.
fn alerts() -> BTreeSet<String> {
    let names = |file: &&str| -> Vec<String> {
        let rules = read(file);
        let lines = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
        lines.map(str::to_owned).collect()
    };
    let all: BTreeSet<_> = RULES.iter().flat_map(names).collect();
    assert!(all.len() >= 18, "{all:?}");
    all
}

/// The runbooks, by the name of their alert.
fn runbooks() -> BTreeMap<String, String> {
    let folder = std::fs::read_dir(root().join("docs/runbooks")).expect("docs/runbooks is there");
    let names = folder.map(|entry| entry.expect("it can be listed").file_name());
    let names = names.map(|name| name.to_str().expect("its name is text").to_owned());
    names
        .map(|name| {
            let alert = name.strip_suffix(".md").expect("there are pages only").to_owned();
            (alert, read(format!("docs/runbooks/{name}")))
        })
        .collect()
}

#[test]
fn the_monitoring_page_lists_exactly_the_existing_alerts() {
    let alert = |line: &str| {
        let row = line.strip_prefix("| [`Rookery")?;
        let (name, link) = row.split_once("`](")?;
        assert!(link.starts_with(&format!("runbooks/Rookery{name}.md)")), "{line}");
        Some(format!("Rookery{name}"))
    };
    let named: BTreeSet<_> = read("docs/monitoring.md").lines().filter_map(alert).collect();
    assert_eq!(named, alerts(), "docs/monitoring.md has a row for each");
}

#[test]
fn every_alert_has_a_runbook_with_all_sections() {
    let pages = runbooks();
    assert_eq!(pages.keys().cloned().collect::<BTreeSet<_>>(), alerts());
    let sections =
        ["What it means", "Confirm", "Likely causes", "What to do", "Escalate"].map(Some);
    for (alert, page) in &pages {
        assert!(page.starts_with(&format!("# {alert}\n\nSeverity: ")), "{alert}");
        let found: Vec<_> = page.lines().map(|line| line.strip_prefix("## ")).collect();
        let found: Vec<_> = found.into_iter().filter(Option::is_some).collect();
        assert_eq!(found, sections, "{alert}");
    }
}

#[test]
fn runbooks_state_the_severity_of_their_alert() {
    for file in RULES {
        let rules = read(file);
        for alert in rules.split("- alert: ").skip(1) {
            let name = alert.lines().next().expect("a name follows");
            let severity = alert.split("severity: ").nth(1).expect("it has one");
            let severity = severity.lines().next().expect("it has a word");
            let page = &runbooks()[name];
            assert!(page.contains(&format!("\n\nSeverity: {severity}. ")), "{name}: {severity}");
            let row = format!("| [`{name}`](runbooks/{name}.md) | {severity} | ");
            assert!(read("docs/monitoring.md").contains(&row), "{row}");
        }
    }
}

/// Commands in a page: lines of shell blocks, and text between backticks in prose.
fn typed(page: &str) -> Vec<&str> {
    let mut shell = false;
    let mut found = Vec::new();
    for line in page.lines() {
        match line {
            "```sh" => shell = true,
            _ if line.starts_with("```") => shell = false,
            _ if shell => found.push(line),
            _ => found.extend(line.split('`').skip(1).step_by(2)),
        }
    }
    found
}

#[test]
fn every_command_in_a_runbook_exists() {
    let mut seen = 0;
    for (alert, page) in runbooks() {
        for line in typed(&page) {
            let Some(words) = line.strip_prefix("rookery ") else { continue };
            let mut words = words.split(' ');
            let command = words.next().expect("split gives one");
            let output = Command::new(env!("CARGO_BIN_EXE_rookery"))
                .args([command, "--help"])
                .output()
                .expect("the binary runs");
            assert!(output.status.success(), "{alert}: there is no `rookery {command}`");
            let help = String::from_utf8_lossy(&output.stdout);
            for flag in words.filter(|word| word.starts_with("--")) {
                assert!(help.contains(flag), "{alert}: `rookery {command}` has no {flag}");
            }
            seen += 1;
        }
    }
    assert!(seen > 8, "only {seen}");
}

#[test]
fn every_link_points_to_an_existing_file() {
    for (name, text) in documents() {
        let folder = Path::new(&name).parent().expect("it is a file").to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or(target);
            if file.is_empty() || file.contains("://") {
                continue;
            }
            assert!(root().join(&folder).join(file).exists(), "{name} links to {target}");
        }
    }
}

#[test]
fn scaling_starts_from_measured_figures() {
    let document = read("docs/scaling.md");
    let section = document.split_once("\n## The figures they start from\n").expect("it is there").1;
    let section = section.split("\n## ").next().expect("there is a first part");
    let results = read("bench/results/README.md");
    // A cell is a median, and its range in parentheses.
    let cells = results.split('|').map(|cell| cell.split(" (").next().unwrap_or(cell).trim());
    let measured: Vec<_> = cells.collect();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").nth(1));
    let figures: Vec<_> = rows.map(|cell| cell.trim_end_matches('|').trim()).collect();
    let figures = figures.iter().map(|figure| figure.trim_end_matches(" deliveries"));
    let figures: Vec<_> = figures.filter(|f| f.starts_with(|c: char| c.is_ascii_digit())).collect();
    assert!(figures.len() >= 6, "{figures:?}");
    for figure in figures {
        assert!(measured.contains(&figure), "docs/scaling.md has {figure}, which was not measured");
    }
}
