//! One release, as the chart renders it with and without an operator.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Map, Value};

/// The Kubernetes version to render for; Helm's default depends on how it was built.
const KUBERNETES: &str = "1.34.0";

/// The sections of the values that are the `spec` of the resource, but `config`: that is passed on.
const SECTIONS: [&str; 13] = [
    "replicas",
    "autoscaling",
    "ingress",
    "gateway",
    "rollout",
    "rebalance",
    "service",
    "redis",
    "drain",
    "podTemplate",
    "monitoring",
    "networkPolicy",
    "resources",
];

/// An object that was rendered.
#[derive(Clone, Debug)]
pub struct Object {
    pub value: Value,
    /// The chart's file that it is from; empty for the operator's.
    pub source: String,
}

impl Object {
    /// Whether it is one of the service's own, not a hook.
    pub fn is_of_service(&self) -> bool {
        let hook = self.value.pointer("/metadata/annotations/helm.sh~1hook");
        hook.is_none() && self.source.contains("/standalone/")
    }
}

/// Values, in a file or given, and `--set` arguments.
#[derive(Clone)]
pub struct Release {
    name: String,
    text: String,
    sets: Vec<String>,
}

/// The releases of the files in `tests/standalone/values`.
pub fn values() -> Vec<Release> {
    let entries = fs::read_dir(root().join("tests/standalone/values")).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names.iter().map(|name| Release::file(name)).collect()
}

/// The fields of the resource's `spec`, one and two levels deep: those of the chart's schema.
pub fn fields_of_the_resource() -> Vec<String> {
    let text = fs::read_to_string(root().join("charts/rookery/values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let mut paths = Vec::new();
    for section in SECTIONS {
        paths.push(section.to_owned());
        let of = &schema["properties"][section];
        let reference = of["$ref"].as_str().or_else(|| of["allOf"][0]["$ref"].as_str());
        let of = reference.map_or(of, |at| schema.pointer(&at[1..]).unwrap());
        // Requests and limits are passed on as they are.
        let keys = of["properties"].as_object().filter(|_| section != "resources");
        let keys = keys.into_iter().flatten().map(|(key, _)| format!("{section}.{key}"));
        // Which image the demo runs is not a matter of the service.
        paths.extend(keys.filter(|path| path != "redis.image"));
    }
    paths
}

pub fn helm_is_missing() -> bool {
    let missing = helm().arg("version").output().is_err();
    if missing {
        println!("not run: helm is not on the PATH, and HELM names no other");
    }
    missing
}

impl Release {
    pub fn file(name: &str) -> Self {
        let path = root().join("tests/standalone/values").join(format!("{name}.yaml"));
        Release { name: name.to_owned(), text: fs::read_to_string(path).unwrap(), sets: Vec::new() }
    }

    pub fn of(text: &str) -> Self {
        Release { name: String::new(), text: text.to_owned(), sets: Vec::new() }
    }

    /// The same with one more value, as for `--set`.
    pub fn with(&self, set: &str) -> Self {
        let mut with = self.clone();
        with.sets.push(set.to_owned());
        with
    }

    pub fn values(&self) -> Map<String, Value> {
        serde_saphyr::from_str(&self.text).unwrap()
    }

    /// Both releases' values; where they differ, the other's.
    pub fn merged(&self, other: &Release) -> Self {
        let mut values = Value::Object(self.values());
        merge(&mut values, Value::Object(other.values()));
        let name = format!("{} and {}", self.name, other.name);
        Release { name, text: values.to_string(), sets: Vec::new() }
    }

    /// What both make of the values, or what they say that refuse them: the chart, the operator.
    pub fn outcomes(&self) -> [Result<BTreeMap<String, Object>, String>; 2] {
        let outcome = |out: Output| match out.status.success() {
            true => Ok(objects(&succeeded(&out))),
            false => Err(String::from_utf8(out.stderr).unwrap()),
        };
        let kinds = ["ServiceMonitor", "PodMonitor", "PrometheusRule"];
        let kinds = kinds.map(|kind| format!("monitoring.coreos.com/v1/{kind}"));
        let resource = outcome(self.plain().template(false, &[]));
        let operator = resource.and_then(|mut objects| {
            let resource = objects.remove("Rookery chat").unwrap().value.to_string();
            outcome(render(&resource, &self.flags(&["--monitoring"])))
        });
        [outcome(self.template(true, &kinds)), operator]
    }

    /// Without what only the chart knows.
    fn plain(&self) -> Self {
        let has_keda = self.values().get("autoscaling").is_some_and(|of| of["keda"].is_object());
        let plain = if has_keda { self.with("autoscaling.keda=null") } else { self.clone() };
        match self.has_session_persistence() {
            true => plain.with("gateway.sessionPersistence=null"),
            false => plain,
        }
    }

    fn has_session_persistence(&self) -> bool {
        self.values().get("gateway").is_some_and(|of| of["sessionPersistence"] == true)
    }

    /// The flags of `rookery render` for the same cluster.
    fn flags<'f>(&self, more: &[&'f str]) -> Vec<&'f str> {
        let mut flags = more.to_vec();
        flags.extend(self.has_session_persistence().then_some("--session-persistence"));
        flags
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Everything that the chart renders without an operator, by kind and name.
    pub fn standalone(&self) -> BTreeMap<String, Object> {
        let kinds = ["ServiceMonitor", "PodMonitor", "PrometheusRule"];
        let kinds = kinds.map(|kind| format!("monitoring.coreos.com/v1/{kind}"));
        objects(&succeeded(&self.template(true, &kinds)))
    }

    /// The same for a cluster that has these API versions or kinds alone.
    pub fn standalone_with(&self, kinds: &[&str]) -> BTreeMap<String, Object> {
        let kinds: Vec<String> = kinds.iter().map(|&kind| kind.to_owned()).collect();
        objects(&succeeded(&self.template(true, &kinds)))
    }

    /// The same for a cluster without the Prometheus operator.
    pub fn standalone_without_prometheus(&self) -> BTreeMap<String, Object> {
        objects(&succeeded(&self.template(true, &[])))
    }

    /// The objects that the operator makes of the release's resource, by kind and name.
    pub fn by_operator(&self) -> BTreeMap<String, Object> {
        self.rendered(&["--monitoring"])
    }

    /// The same in a cluster without the Prometheus operator.
    pub fn by_operator_alone(&self) -> BTreeMap<String, Object> {
        self.rendered(&[])
    }

    fn rendered(&self, more: &[&str]) -> BTreeMap<String, Object> {
        let mut resource = objects(&succeeded(&self.plain().template(false, &[])));
        let resource = resource.remove("Rookery chat").unwrap().value.to_string();
        objects(&succeeded(&render(&resource, &self.flags(more))))
    }

    /// What Helm says that refuses the values.
    pub fn refused(&self, standalone: bool) -> String {
        let out = self.template(standalone, &[]);
        assert!(!out.status.success(), "{self:?} was taken");
        String::from_utf8(out.stderr).unwrap()
    }

    /// What refuses the resource: the chart that renders it, or `rookery render`.
    pub fn refused_by_operator(&self) -> String {
        let out = self.template(false, &[]);
        if !out.status.success() {
            return String::from_utf8(out.stderr).unwrap();
        }
        let mut resource = objects(&succeeded(&out));
        let resource = resource.remove("Rookery chat").unwrap().value.to_string();
        let out = render(&resource, &[]);
        assert!(!out.status.success(), "{self:?} was taken");
        String::from_utf8(out.stderr).unwrap()
    }

    fn template(&self, standalone: bool, kinds: &[String]) -> Output {
        let mut command = helm();
        command.args(["template", "chat"]).arg(root().join("charts/rookery"));
        command.args(["--namespace", "team", "--kube-version", KUBERNETES, "--values", "-"]);
        command.arg("--set").arg(format!("rookery.standalone={standalone}"));
        if !standalone {
            // The cluster takes fewer units of time than `rookery render`.
            command.arg("--skip-schema-validation");
        }
        command.args(kinds.iter().flat_map(|kind| ["--api-versions", kind.as_str()]));
        command.args(self.sets.iter().flat_map(|set| ["--set", set.as_str()]));
        piped(&mut command, &self.text)
    }
}

impl fmt::Debug for Release {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}", self.name, self.sets.join(" "))
    }
}

/// The documents, by kind and name.
fn objects(text: &str) -> BTreeMap<String, Object> {
    let documents =
        text.split("\n---\n").flat_map(|part| part.strip_prefix("---\n").or(Some(part)));
    let mut objects = BTreeMap::new();
    for document in documents {
        let value: Value = serde_saphyr::from_str(document).unwrap();
        let source = document.lines().find_map(|line| line.strip_prefix("# Source: "));
        let source = source.unwrap_or_default().to_owned();
        // The operator is no part of the service.
        if value.is_null() || source.contains("/operator/") || source.contains("crd-upgrade") {
            continue;
        }
        let text = |at: &str| value.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let name = format!("{} {}", text("/kind"), text("/metadata/name"));
        let twice = objects.insert(name.clone(), Object { value, source });
        assert!(twice.is_none(), "{name} is rendered twice");
    }
    objects
}

fn render(resource: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
    piped(command.args(["render", "-"]).args(more).env_remove("ROOKERY_IMAGE"), resource)
}

/// `rookery check` of a configuration: its exit code and what it says.
pub fn check(config: &str) -> (Option<i32>, String) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(config.as_bytes()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
    let out = command.arg("check").arg(file.path()).output().unwrap();
    (out.status.code(), String::from_utf8(out.stderr).unwrap())
}

fn helm() -> Command {
    let mut command = Command::new(std::env::var_os("HELM").unwrap_or_else(|| "helm".into()));
    command.env_remove("KUBECONFIG");
    command
}

/// Runs a command with `input` as its standard input.
fn piped(command: &mut Command, input: &str) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn succeeded(out: &Output) -> String {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout.clone()).unwrap()
}

fn merge(into: &mut Value, other: Value) {
    match (into, other) {
        (Value::Object(into), Value::Object(other)) => {
            for (key, value) in other {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, other) => *into = other,
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
