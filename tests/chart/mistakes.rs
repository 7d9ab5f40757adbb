//! What the API server would refuse in a resource, Helm refuses in the values, and names the field:
//! `tests/mistakes/table.json` lists the mistakes.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use super::{KUBERNETES, charts, helm, helm_is_missing};

/// Mistakes that Helm cannot see, each with the reason.
const UNSEEN: [(&str, &str); 2] = [
    ("Redis without a URL", "`redis` without a URL is a service without Redis"),
    ("a file that no Secret brings", "a schema cannot compare two fields"),
];

/// What Helm says of these values; nothing, if it accepts them.
fn said(values: &Value) -> String {
    of_text(&values.to_string(), false)
}

fn of_text(values: &str, standalone: bool) -> String {
    let mut command = helm(&["template", "chat", "--values", "-", "--kube-version", KUBERNETES]);
    let mode = format!("rookery.standalone={standalone}");
    command.arg(charts("rookery")).args(["--set", &mode]);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(values.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    String::from_utf8(out.stderr).unwrap()
}

/// The values that make a resource with this spec.
fn values(mut spec: Value) -> Value {
    if spec["config"].is_null() {
        spec["anonymous"] = true.into();
    }
    if let Some(image) = spec["image"].as_str() {
        spec["image"] = json!({ "repository": image });
    }
    spec
}

/// The last field that a message of the API server names, such as `port` of
/// `spec.redis.urlSecret.port`; other messages are sentences.
fn field(says: &str) -> Option<&str> {
    let path = says.trim_start_matches("unknown field ").trim_matches('"');
    let path = path.strip_prefix("spec.")?;
    let last = path.rsplit('.').next().unwrap();
    Some(last.split('[').next().unwrap())
}

#[test]
fn what_the_api_server_would_refuse_is_refused_in_the_values() {
    if helm_is_missing() {
        return;
    }
    let table = include_str!("../mistakes/table.json");
    let mistakes: Vec<Value> = serde_json::from_str(table).unwrap();
    let mut taken = Vec::new();
    for mistake in &mistakes {
        let name = mistake["mistake"].as_str().unwrap();
        let is_unseen = UNSEEN.iter().any(|(unseen, _)| *unseen == name);
        if mistake["by"] == "condition" || is_unseen {
            continue;
        }
        let said = said(&values(mistake["spec"].clone()));
        let field = match mistake["says"].as_str().unwrap() {
            "spec.image" => Some("repository"),
            says => field(says),
        };
        if said.is_empty() || field.is_some_and(|field| !said.contains(field)) {
            taken.push(format!("{name}: {said}"));
        }
    }
    assert!(taken.is_empty(), "{} are taken, or not named:\n{}", taken.len(), taken.join("\n"));
}

#[test]
fn quantities_may_be_numbers_as_in_the_resource() {
    if helm_is_missing() {
        return;
    }
    for limits in [json!({ "memory": 134_217_728, "cpu": 1 }), json!({ "memory": "128Mi" })] {
        let values = json!({ "anonymous": true, "resources": { "limits": limits } });
        assert_eq!(said(&values), "", "{limits}");
    }
}

#[test]
fn a_text_of_the_charts_own_is_refused_with_what_is_expected() {
    if helm_is_missing() {
        return;
    }
    for (path, value, expected) in [
        ("/image/repository", "Registry.example.com/Rookery", "expected a repository such as"),
        ("/image/tag", "bad tag", "expected a tag such as"),
        ("/image/digest", "0f", "expected a digest"),
        ("/autoscaling/keda/serverAddress", "prometheus:9090", "expected the URL of a Prometheus"),
    ] {
        let keys = path.trim_start_matches('/').split('/').rev();
        let mut values = keys.fold(json!(value), |inner, key| json!({ key: inner }));
        values["anonymous"] = json!(true);
        let said = said(&values);
        assert!(said.contains(path) && said.contains(expected), "{path}: {said}");
    }
}

#[test]
fn a_password_in_a_url_that_is_refused_is_not_repeated() {
    if helm_is_missing() {
        return;
    }
    let url = json!({ "anonymous": true, "redis": { "url": "redis://:hunter2/x@redis:6379" } });
    let said = said(&url);
    assert!(
        said.contains("/redis/url") && said.contains("expected the URL of one server"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_word_that_yaml_reads_as_true_or_false_is_refused_with_the_advice_to_quote_it() {
    if helm_is_missing() {
        return;
    }
    let event = "config: { events: [{ on: join, operation: join, room: '{room}' }] }";
    for (text, at) in [
        (event, "/config/events/0/true"),
        ("config: { events: [{ 'on': a, operation: join, room: off }] }", "/config/events/0/room"),
        ("config: { latency: { trackRooms: [lobby, yes] } }", "/config/latency/trackRooms/1"),
        ("config: { drain: { stickyCookie: no } }", "/config/drain/stickyCookie"),
        ("podTemplate: { labels: { chat: on } }", "/podTemplate/labels/chat"),
        ("podTemplate: { env: { DEBUG: yes } }", "/podTemplate/env/DEBUG"),
        ("podTemplate: { env: { ON: debug } }", "/podTemplate/env/true"),
        (
            "podTemplate: { extraEnv: [{ name: DEBUG, value: off }] }",
            "/podTemplate/extraEnv/0/value",
        ),
        ("ingress: { host: a.b, annotations: { a/b: yes } }", "/ingress/annotations/a~1b"),
        ("monitoring: { labels: { prometheus: no } }", "/monitoring/labels/prometheus"),
    ] {
        for standalone in [false, true] {
            let said = of_text(&format!("anonymous: true\n{text}\n"), standalone);
            let line = said.lines().find(|line| line.contains("quote"));
            let line = line.unwrap_or_else(|| panic!("{text}: {said}"));
            assert!(line.contains(&format!("'{at}'")), "{text}: {said}");
        }
    }
    let quoted = "config: { events: [{ 'on': 'on', operation: join, room: 'off' }] }";
    let values = format!("anonymous: true\n{quoted}\n");
    assert_eq!(of_text(&values, false), "");
}
