//! The Prometheus rules: `promtool` accepts them and their unit tests pass, for the files in the chart
//! and for a resource's PrometheusRule.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// A resource with the name that the unit tests of the rules use.
const RESOURCE: &str = "
apiVersion: rookery.dev/v1alpha1
kind: Rookery
metadata: { name: chat, namespace: chat }
spec:
  redis: { url: 'redis://redis.example.com' }
  config: { auth: { anonymous: true } }
";

const FILES: [&str; 2] = ["servers", "operator"];

#[test]
fn promtool_accepts_the_rules() {
    for file in FILES {
        promtool(&["check", "rules", "--lint-fatal", rules(file).to_str().unwrap()]);
    }
}

#[test]
fn the_rules_pass_their_unit_tests() {
    for file in FILES {
        promtool(&["test", "rules", unit_tests(file).to_str().unwrap()]);
    }
}

/// The same tests with the operator's rules, which only add the resource's label.
#[test]
fn a_resources_rules_pass_the_same_unit_tests() {
    let directory = Directory::new("rules-of-a-resource");
    let file = directory.write("rules.yaml", &rendered());
    promtool(&["check", "rules", "--lint-fatal", file.to_str().unwrap()]);
    let mut tests = read(&unit_tests("servers"));
    tests["rule_files"] = json!([file]);
    for alert in lists(&mut tests["tests"], "alert_rule_test") {
        for expected in alert["exp_alerts"].as_array_mut().unwrap() {
            expected["exp_labels"]["rookery"] = "chat".into();
        }
    }
    promtool(&["test", "rules", directory.write("tests.yaml", &tests).to_str().unwrap()]);
}

/// The pods of other resources, in its namespace or elsewhere, are ignored.
#[test]
fn a_resources_rules_ignore_the_pods_of_other_resources() {
    let directory = Directory::new("rules-of-another");
    let file = directory.write("rules.yaml", &rendered());
    for other in ["pod=\"chat-lobby-7d9f8b6c5-abcde\"", "pod=\"lobby-7d9f8b6c5-abcde\""] {
        let mut tests = read(&unit_tests("servers"));
        tests["rule_files"] = json!([file]);
        let text = tests.to_string();
        let quoted = |pod: &str| json!(pod).to_string().trim_matches('"').to_owned();
        let text = text.replace(&quoted("pod=\"chat-7d9f8b6c5-abcde\""), &quoted(other));
        let text = text.replace(&quoted("pod=\"chat-7d9f8b6c5-fghij\""), &quoted(other));
        let mut tests: Value = serde_json::from_str(&text).unwrap();
        for test in tests["tests"].as_array_mut().unwrap() {
            // Two pods that have become one would be one series twice.
            let series = test["input_series"].as_array_mut().unwrap();
            let mut seen = BTreeSet::new();
            series.retain(|series| seen.insert(series["series"].to_string()));
            test["promql_expr_test"] = json!([{
                "expr": "count by (alertname) (ALERTS{alertstate=\"firing\"})",
                "eval_time": "70m",
                "exp_samples": [{ "labels": "{alertname=\"RookeryAbsent\"}", "value": 1 }],
            }]);
            test.as_object_mut().unwrap().remove("alert_rule_test");
        }
        promtool(&["test", "rules", directory.write("tests.yaml", &tests).to_str().unwrap()]);
    }
}

#[test]
fn every_rule_has_a_test() {
    for file in FILES {
        let tests = std::fs::read_to_string(unit_tests(file)).unwrap();
        let mut rules = read(&rules(file));
        for rule in lists(&mut rules["groups"], "rules") {
            match (rule["alert"].as_str(), rule["record"].as_str()) {
                (Some(alert), None) => {
                    let fires = format!("labels: '{{alertname=\"{alert}\"}}', value: 1");
                    assert!(tests.contains(&fires), "{alert} fires in no test");
                }
                (None, Some(record)) => assert!(tests.contains(record), "{record} has no test"),
                _ => panic!("neither alert nor record: {rule}"),
            }
        }
    }
}

#[test]
fn every_alert_has_a_severity_a_description_and_a_runbook() {
    for file in FILES {
        let mut rules = read(&rules(file));
        let alerts = lists(&mut rules["groups"], "rules").into_iter().map(|rule| rule.take());
        for alert in alerts.filter(|rule| rule["record"].is_null()) {
            let name = alert["alert"].as_str().unwrap();
            assert!(
                ["critical", "warning"].map(Value::from).contains(&alert["labels"]["severity"])
            );
            for text in ["summary", "description"] {
                let text = alert["annotations"][text].as_str().unwrap();
                assert!(text.len() > 20, "{name}: {text}");
            }
            let page = alert["annotations"]["runbook_url"].as_str().unwrap();
            assert_eq!(page, format!("docs/runbooks/{name}.md"));
            assert!(root().join(page).is_file(), "{page} is missing");
        }
    }
}

/// The rules in the PrometheusRule of [`RESOURCE`].
fn rendered() -> Value {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rookery"))
        .args(["render", "-", "--monitoring"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(RESOURCE.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let documents = text.split("\n---\n").map(|one| serde_saphyr::from_str::<Value>(one).unwrap());
    let mut rules = documents.filter(|object| object["kind"] == "PrometheusRule");
    rules.next().expect("there is one")["spec"].take()
}

/// Runs `promtool`, which must succeed.
#[track_caller]
fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool").args(arguments).output().unwrap_or_else(|error| {
        panic!("promtool: {error}; tests/setup.sh installs it (Debian package prometheus)")
    });
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{arguments:?}:\n{}", String::from_utf8_lossy(&said));
}

/// Flattens the lists that the items of a list have under a key.
fn lists<'v>(outer: &'v mut Value, key: &str) -> Vec<&'v mut Value> {
    let outer = outer.as_array_mut().unwrap().iter_mut();
    outer.filter_map(|item| item.get_mut(key)?.as_array_mut()).flatten().collect()
}

/// Reads a YAML file as JSON.
fn read(path: &Path) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn rules(file: &str) -> PathBuf {
    let chart = if file == "operator" { "rookery-operator" } else { "rookery" };
    root().join(format!("charts/{chart}/rules/{file}.rules.yaml"))
}

fn unit_tests(file: &str) -> PathBuf {
    root().join(format!("tests/monitoring/{file}.test.yaml"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A directory for one test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    /// Writes JSON, which is valid YAML, to a file in it.
    fn write(&self, name: &str, value: &Value) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, value.to_string()).unwrap();
        path
    }
}
