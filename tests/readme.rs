//! The docs match the product: every key is in the table, and every flag, metric and path that they
//! mention exists.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before the test fails.
const DEADLINE: Duration = Duration::from_secs(60);

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All user documents, with their names.
fn documents() -> Vec<(String, String)> {
    let mut names = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned()];
    let docs = std::fs::read_dir(root().join("docs")).expect("docs/ is there");
    for entry in docs {
        let name = entry.expect("it can be listed").file_name();
        let name = name.to_str().expect("its name is text").to_owned();
        if name.ends_with(".md") {
            names.push(format!("docs/{name}"));
        }
    }
    names.into_iter().map(|name| (name.clone(), read(name))).collect()
}

fn rookery(args: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_rookery")).args(args).output().expect("the binary runs");
    assert!(output.status.success(), "rookery {args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("it prints text")
}

/// Follows references and optional types in a schema.
fn resolve<'s>(root: &'s Value, mut at: &'s Value) -> &'s Value {
    loop {
        if let Some(reference) = at["$ref"].as_str() {
            at = root.pointer(reference.trim_start_matches('#')).expect("it resolves");
        } else if let Some(any) = at["anyOf"].as_array() {
            at = any.iter().find(|s| s["type"] != "null").expect("one is not null");
        } else if at["items"].is_object() && !properties(root, &at["items"]).is_empty() {
            at = &at["items"];
        } else {
            return at;
        }
    }
}

fn properties<'s>(root: &'s Value, at: &'s Value) -> Vec<(&'s String, &'s Value)> {
    resolve(root, at)["properties"].as_object().into_iter().flatten().collect()
}

/// The keys that hold a value, as written in the table: `redis.bridge.room`.
fn leaves(root: &Value, at: &Value, path: &str, found: &mut BTreeSet<String>) {
    for (key, schema) in properties(root, at) {
        let path = format!("{path}{key}");
        match properties(root, schema).is_empty() {
            true => drop(found.insert(path)),
            false => leaves(root, schema, &format!("{path}."), found),
        }
    }
}

/// The texts between backticks outside code blocks.
fn quoted(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for prose in text.split("\n```").step_by(2) {
        for line in prose.lines() {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    found
}

/// The first column of the README's table of keys.
fn keys_of_table() -> BTreeSet<String> {
    let readme = read("README.md");
    let section = readme.split_once("\n## Configuration\n").expect("the section is there").1;
    let section = section.split("\n## ").next().expect("there is a first part");
    let columns = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    columns.flat_map(quoted).map(str::to_owned).collect()
}

#[test]
fn the_table_lists_exactly_the_configuration_keys() {
    let schema: Value = serde_json::from_str(&rookery(&["schema"])).expect("it is JSON");
    let mut keys = BTreeSet::new();
    leaves(&schema, &schema, "", &mut keys);
    assert!(keys.contains("redis.bridge.room") && keys.contains("listen"), "{keys:?}");
    let table = keys_of_table();
    let missing: Vec<_> = keys.difference(&table).collect();
    let invented: Vec<_> = table.difference(&keys).collect();
    assert!(missing.is_empty(), "not in the README's table: {missing:?}");
    assert!(invented.is_empty(), "in the README's table, but no keys: {invented:?}");
}

/// The words of a text that start with `start` and continue with `part`.
fn words(text: &str, start: &str, part: impl Fn(char) -> bool) -> BTreeSet<String> {
    let begins = text.match_indices(start).map(|(at, _)| at);
    let begins = begins.filter(|at| !text[..*at].ends_with(|c: char| c.is_alphanumeric()));
    begins
        .map(|at| {
            let rest = &text[at + start.len()..];
            let end = rest.find(|c| !part(c)).unwrap_or(rest.len());
            format!("{start}{}", &rest[..end])
        })
        .collect()
}

/// The help of every command that `rookery --help` lists.
fn help_of_commands() -> String {
    let overview = rookery(&["--help"]);
    let list = overview.split_once("Commands:\n").expect("it lists them").1;
    let lines = list.lines().take_while(|line| line.starts_with("  "));
    let names: Vec<_> = lines.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains(&"serve") && names.contains(&"crd"), "{names:?}");
    names.iter().filter(|name| **name != "help").map(|name| rookery(&[name, "--help"])).collect()
}

/// Other programs whose flags appear in the docs.
const OTHERS: [&str; 5] = ["redis-server", "cargo", "helm ", "kubectl ", "docker "];

#[test]
fn every_flag_mentioned_exists() {
    let help = help_of_commands();
    let flag = |c: char| c.is_ascii_lowercase() || c == '-';
    let known = words(&help, "--", flag);
    assert!(known.contains("--listen") && known.contains("--api"), "{known:?}");
    for (name, text) in documents() {
        // A command that goes on in the next line is one line.
        let joined = text.replace("\\\n", "");
        let ours = |line: &&str| line.contains("rookery ") || line.contains("`--");
        let lines = joined.lines().filter(ours);
        // What is piped into another program is that program's.
        for part in lines.flat_map(|line| line.split('|')) {
            if OTHERS.iter().any(|program| part.contains(program)) {
                continue;
            }
            // A flag is a letter after two dashes; a table's rule is only dashes.
            for word in words(part, "--", flag).iter().filter(|w| !w.trim_matches('-').is_empty()) {
                assert!(known.contains(word), "{name} names {word}, which no command has: {part}");
            }
        }
    }
    let variable = |c: char| c.is_ascii_uppercase() || c == '_';
    let variables = words(&help, "ROOKERY_", variable);
    for (name, text) in documents() {
        for word in words(&text, "ROOKERY_", variable) {
            assert!(variables.contains(&word), "{name} names {word}, which no command reads");
        }
    }
}

#[test]
fn links_between_documents_resolve() {
    for (name, text) in documents() {
        let folder = Path::new(&name).parent().expect("a file is in a folder").to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            if path.contains("://") {
                continue;
            }
            // A picture has no headings.
            if anchor.is_empty() && !path.is_empty() {
                assert!(root().join(&folder).join(path).exists(), "{name} links to {link}");
                continue;
            }
            let target = if path.is_empty() { text.clone() } else { read(folder.join(path)) };
            let headings = target.lines().filter(|line| line.starts_with('#'));
            let mut anchors = headings.map(|line| {
                let title = line.trim_start_matches('#').trim().to_lowercase();
                title
                    .chars()
                    .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-')
                    .map(|c| if c == ' ' { '-' } else { c })
                    .collect::<String>()
            });
            let found = anchor.is_empty() || anchors.any(|a| a == anchor);
            assert!(found, "{name} links to {link}, which is no heading there");
        }
    }
}

/// `rookery serve`, killed when dropped.
struct Server {
    child: Child,
    internal: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts an instance on free ports with an unavailable Redis: the Redis metrics exist all
    /// the same.
    fn start() -> Self {
        let start = Instant::now();
        while start.elapsed() < DEADLINE {
            let (listen, internal) = (free_address(), free_address());
            let child = Command::new(env!("CARGO_BIN_EXE_rookery"))
                .args(["serve", "--redis", "redis://127.0.0.1:1"])
                .args(["--listen", &listen.to_string(), "--internal", &internal.to_string()])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("the binary runs");
            let mut server = Server { child, internal };
            if server.answers() {
                return server;
            }
        }
        panic!("no server within {DEADLINE:?}");
    }

    /// Waits until it responds; false if it exited because another process took a port.
    fn answers(&mut self) -> bool {
        loop {
            if self.child.try_wait().expect("it is our child").is_some() {
                return false;
            }
            if self.get("/livez").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return true;
            }
            std::thread::yield_now();
        }
    }

    fn get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.internal, DEADLINE)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let host = self.internal;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound")
}

/// The names of an instance's metrics, from the `# TYPE` lines.
fn metrics_of(server: &Server) -> BTreeSet<String> {
    let text = server.get("/metrics").expect("it answers");
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    types.map(str::to_owned).collect()
}

#[test]
fn the_docs_list_exactly_the_exported_metrics() {
    let server = Server::start();
    let mut live = metrics_of(&server);
    assert!(live.contains("rookery_redis_up"), "{live:?}");
    // It exists from the first delivery on, as the table says.
    live.insert("rookery_room_delivery_latency_seconds".to_owned());
    // The operator makes it of two scrapes, for autoscalers.
    live.insert("rookery_deliveries_per_second".to_owned());
    let part = |c: char| c.is_ascii_lowercase() || c == '_';
    let readme = words(&read("README.md"), "rookery_", part);
    for (name, text) in documents() {
        let named = words(&text, "rookery_", part);
        // The operator's are not a server's: see the test of their own.
        for word in named.iter().filter(|word| !word.starts_with(OF_OPERATOR)) {
            assert!(live.contains(word), "{name} names {word}, which is not in /metrics");
        }
    }
    let exported = metrics_of(&server).into_iter().filter(|name| !name.starts_with("process_"));
    let silent: Vec<_> = exported.filter(|name| !readme.contains(name)).collect();
    assert!(silent.is_empty(), "in /metrics, but not in the README: {silent:?}");
}

/// The prefix of the operator's metrics.
const OF_OPERATOR: &str = "rookery_operator_";

/// Appends the text of every Rust file below `folder`.
fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|end| end == "rs") {
            text.push_str(&read(&path));
        }
    }
}

#[test]
fn the_docs_list_exactly_the_operators_metrics() {
    let part = |c: char| c.is_ascii_lowercase() || c == '_';
    let mut code = String::new();
    sources(&root().join("crates/operator/src"), &mut code);
    let quoted = code.split('"').filter(|text| text.starts_with(OF_OPERATOR));
    let made: BTreeSet<_> = quoted.map(str::to_owned).collect();
    let documents = documents();
    let named: BTreeSet<_> =
        documents.iter().flat_map(|(_, text)| words(text, OF_OPERATOR, part)).collect();
    assert!(made.contains("rookery_operator_leader"), "{made:?}");
    assert_eq!(named, made);
}

#[test]
fn every_api_route_mentioned_exists() {
    let server = Server::start();
    let answer = server.get("/api/openapi.json").expect("it answers");
    let json = answer.split_once("\r\n\r\n").expect("a body follows").1;
    let document: Value = serde_json::from_str(json).expect("it is JSON");
    let paths = document["paths"].as_object().expect("it has paths");
    let part = |c: char| c.is_ascii_alphanumeric() || "/{}.-".contains(c);
    for (name, text) in documents() {
        let quotes = quoted(&text).into_iter().filter(|q| !q.contains('…'));
        for path in quotes.flat_map(|quote| words(quote, "/api/", part)) {
            assert!(paths.contains_key(&path), "{name} names {path}, which is no route");
        }
    }
}
