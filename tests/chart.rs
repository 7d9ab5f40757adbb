//! The Helm charts: what they render, which values they reject, and the files in them that are
//! generated from the program's types. `UPDATE_GOLDEN=1` updates the expected files.
//!
//! The tests that need Helm run `$HELM`, or `helm`; without Helm they print a note and pass.

#![allow(clippy::unwrap_used)]

#[path = "chart/cluster.rs"]
mod cluster;
#[path = "chart/fixed_user.rs"]
mod fixed_user;
#[path = "chart/mistakes.rs"]
mod mistakes;
#[path = "chart/operator.rs"]
mod operator;
#[path = "chart/redis_change.rs"]
mod redis_change;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The Kubernetes version to render for; Helm's default depends on how it was built.
const KUBERNETES: &str = "1.34.0";

/// The charts, with what prints the schema of their values.
const CHARTS: [(&str, &str); 2] =
    [("rookery", "--values"), ("rookery-operator", "--operator-values")];

#[test]
fn the_values_schemas_match_the_programs_types() {
    for (name, flag) in CHARTS {
        golden(&charts(name).join("values.schema.json"), &rookery(&["schema", flag]));
    }
}

#[test]
fn the_chart_versions_are_the_program_version() {
    for (name, _) in CHARTS {
        let about = yaml(&charts(name).join("Chart.yaml"));
        assert_eq!(about["name"], name);
        assert_eq!(about["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(about["appVersion"], env!("CARGO_PKG_VERSION"));
    }
}

#[test]
fn every_value_is_in_the_readme() {
    for (name, _) in CHARTS {
        let readme = fs::read_to_string(charts(name).join("README.md")).unwrap();
        let mut paths = BTreeSet::new();
        leaves("", &yaml(&charts(name).join("values.yaml")), &mut paths);
        assert!(paths.len() > 20, "{paths:?}");
        for path in paths {
            // Requests and limits are one row.
            let row = match path.starts_with("resources.") {
                true => "resources",
                false => &path,
            };
            assert!(readme.contains(&format!("`{row}`")), "`{row}` is not in the README of {name}");
        }
    }
}

#[test]
fn every_key_of_the_schema_is_in_the_readme() {
    for (name, _) in CHARTS {
        let readme = fs::read_to_string(charts(name).join("README.md")).unwrap();
        let schema = yaml(&charts(name).join("values.schema.json"));
        for (section, ours) in schema["properties"].as_object().unwrap() {
            assert!(readme.contains(&format!("`{section}")), "{name}: no {section} in the README");
            let ours = resolve(&schema, ours);
            let Some(keys) = ours["properties"].as_object() else { continue };
            // What is Kubernetes's own, or the configuration's, is described elsewhere.
            if ["config", "resources", "affinity"].contains(&section.as_str()) {
                continue;
            }
            for key in keys.keys() {
                let named = [
                    format!("`{section}.{key}`"),
                    format!("`{key}`"),
                    format!("`{section}.{key}."),
                ];
                assert!(
                    named.iter().any(|n| readme.contains(n)),
                    "{name}: no {section}.{key} in the README"
                );
            }
        }
    }
}

#[test]
fn the_row_of_the_pod_template_names_all_of_its_fields() {
    let readme = fs::read_to_string(charts("rookery").join("README.md")).unwrap();
    let row = readme.lines().find(|line| line.starts_with("| `podTemplate` |")).unwrap();
    let schema = yaml(&charts("rookery").join("values.schema.json"));
    let fields = &resolve(&schema, &schema["properties"]["podTemplate"])["properties"];
    let named: BTreeSet<&str> = row.split('`').skip(5).step_by(2).collect();
    let fields: BTreeSet<&str> = fields.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(named, fields);
}

#[test]
fn templates_render_the_golden_files() {
    if helm_is_missing() {
        return;
    }
    for values in sorted(&tests("values")) {
        let name = values.file_stem().unwrap().to_str().unwrap();
        let out = template(&["--namespace", "default", "--values", values.to_str().unwrap()]);
        golden(&tests("golden").join(format!("{name}.yaml")), &succeeded(&out));
    }
}

#[test]
fn helm_lint_passes() {
    if helm_is_missing() {
        return;
    }
    for values in sorted(&tests("values")) {
        let out = helm(&["lint", "--strict"])
            .arg(charts("rookery"))
            .arg("--values")
            .arg(&values)
            .output()
            .unwrap();
        let said = succeeded(&out);
        assert!(said.contains("0 chart(s) failed"), "{said}");
    }
}

#[test]
fn misspelt_values_are_rejected() {
    if helm_is_missing() {
        return;
    }
    for (set, names) in [
        ("ingres.host=chat.example.com", "ingres"),
        ("ingress.hots=chat.example.com", "hots"),
        ("config.limits.conections=5", "conections"),
        ("config.auth.jwt.jwkUrl=https://id.example.com", "jwkUrl"),
        ("redis.demos=true", "demos"),
        ("redis.urlSecret.nam=x", "nam"),
        ("resources.limit.cpu=1", "limit"),
        ("tests.adress=x", "adress"),
        ("ingress.controller=nginx", "controller"),
        ("autoscaling.connectionsPerPod=many", "connectionsPerPod"),
        ("image.digest=sha256:1", "digest"),
        ("config.limits.queue=much", "queue"),
    ] {
        refused(&["--set", set], &["schema", names]);
    }
}

#[test]
fn conflicting_values_are_rejected_with_an_explanation() {
    if helm_is_missing() {
        return;
    }
    let demo = "redis.demo=true";
    for (sets, says) in [
        (vec![demo, "redis.url=redis://r:6379"], "leave out redis.demo, or the URL"),
        (vec![demo, "redis.urlSecret.name=r"], "leave out redis.demo, or the URL"),
        (vec![demo, "config.redis.url=redis://r:6379"], "leave out redis.demo, or the URL"),
        (vec!["redis.url=redis://r:6379", "redis.urlSecret.name=r"], "leave one out"),
        (vec!["replicas.min=2"], "more than one replica needs Redis"),
        (vec![], "nothing says who may connect: set config.auth.jwt"),
        (vec!["redis.demo=true"], "or anonymous=true to let everybody in for a trial"),
        (vec!["anonymous=true", "config.auth.anonymous=false"], "nothing says who may connect"),
        (vec!["anonymous=true", "image=null"], "`image` is empty"),
    ] {
        let arguments: Vec<_> = sets.iter().flat_map(|set| ["--set", set]).collect();
        refused(&arguments, &[says]);
    }
}

#[test]
fn values_of_the_operator_are_rejected_and_the_message_names_its_chart() {
    if helm_is_missing() {
        return;
    }
    let installs = "helm install rookery-operator charts/rookery-operator";
    for (set, says) in [
        ("operator.enabled=true", "operator.enabled is set"),
        ("operator.watchNamespaces={a}", "operator.watchNamespaces is set"),
        ("operator.networkPolicy.enabled=false", "operator.networkPolicy is set"),
        ("crd.upgrade=false", "crd.upgrade is set"),
        ("rookery.enabled=false", "rookery.enabled is false"),
    ] {
        refused(&["--set", "anonymous=true", "--set", set], &[says, installs]);
    }
    // With it, the other keys had no effect.
    let sets = "anonymous=true,operator.enabled=false,operator.replicas=3,crd.upgrade=true";
    succeeded(&template(&["--set", sets]));
    succeeded(&template(&["--set", "rookery.enabled=false,operator.enabled=false"]));
}

#[test]
fn a_service_contains_nothing_outside_its_namespace() {
    if helm_is_missing() {
        return;
    }
    for values in sorted(&tests("values")) {
        let arguments = ["--namespace", "team", "--include-crds", "--values"];
        let out = template(&[&arguments[..], &[values.to_str().unwrap()]].concat());
        for object in objects(&succeeded(&out)) {
            let kind = object["kind"].as_str().unwrap();
            assert!(!kind.starts_with("Cluster") && !kind.contains("Definition"), "{kind}");
            let namespace = &object["metadata"]["namespace"];
            // Where somebody said so.
            let dashboard = kind == "ConfigMap" && namespace == "kube-system";
            assert!(namespace == "team" || dashboard, "{}: {object:#}", values.display());
        }
    }
}

#[test]
fn configuring_tokens_disables_anonymous_access() {
    if helm_is_missing() {
        return;
    }
    let config = |sets: &[&str]| {
        let mut arguments = vec!["--show-only", "templates/rookery.yaml"];
        arguments.extend(sets.iter().flat_map(|set| ["--set", set]));
        let text = succeeded(&template(&arguments));
        serde_saphyr::from_str::<Value>(&text).unwrap()["spec"]["config"].take()
    };
    let jwt = ["config.auth.jwt.algorithms={HS256}", "config.auth.jwt.secretFile=/k"];
    let open = "anonymous=true";
    assert_eq!(config(&[open])["auth"]["anonymous"], true);
    assert_eq!(config(&[open, "config.limits.connections=5"])["auth"]["anonymous"], true);
    assert_eq!(config(&[open, jwt[0], jwt[1]])["auth"].get("anonymous"), None);
    assert_eq!(config(&jwt)["auth"].get("anonymous"), None);
    assert_eq!(config(&[jwt[0], jwt[1], "config.auth.anonymous=true"])["auth"]["anonymous"], true);
    assert_eq!(config(&["config.auth.anonymous=true"])["auth"]["anonymous"], true);
}

fn refused(arguments: &[&str], says: &[&str]) {
    let out = template(arguments);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success(), "{arguments:?} was taken");
    for part in says {
        assert!(said.contains(part), "{arguments:?}: no `{part}` in\n{said}");
    }
}

/// Compares with the golden file, or writes it if `UPDATE_GOLDEN` is set.
fn golden(path: &Path, found: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Other tests read it meanwhile.
        let new = path.with_extension("new");
        fs::write(&new, found).unwrap();
        fs::rename(&new, path).unwrap();
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    let differs = expected.lines().zip(found.lines()).position(|(a, b)| a != b);
    assert!(
        expected == found,
        "{} is out of date at line {}; write it anew with UPDATE_GOLDEN=1 cargo test --test chart, \
         and look at what changed",
        path.display(),
        differs.unwrap_or_else(|| expected.lines().count().min(found.lines().count())) + 1,
    );
}

/// The paths of all values that are not objects, or are empty objects.
fn leaves(at: &str, value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) if !map.is_empty() => map.iter().for_each(|(key, inner)| {
            let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
            leaves(&path, inner, into);
        }),
        _ => drop(into.insert(at.to_owned())),
    }
}

/// Follows a reference in a schema.
fn resolve<'s>(root: &'s Value, at: &'s Value) -> &'s Value {
    let reference = at["$ref"].as_str().or_else(|| at["allOf"][0]["$ref"].as_str());
    reference.map_or(at, |path| root.pointer(path.trim_start_matches('#')).unwrap())
}

fn template(arguments: &[&str]) -> Output {
    template_of("rookery", "chat", arguments)
}

/// `helm template` of a chart as a release with this name.
fn template_of(chart: &str, release: &str, arguments: &[&str]) -> Output {
    let mut helm = helm(&["template", release]);
    helm.arg(charts(chart)).args(["--kube-version", KUBERNETES]).args(arguments).output().unwrap()
}

/// The objects in what Helm rendered.
fn objects(text: &str) -> Vec<Value> {
    let documents = format!("\n{text}").split("\n---\n").map(str::to_owned).collect::<Vec<_>>();
    let objects = documents.iter().map(|one| serde_saphyr::from_str::<Value>(one).unwrap());
    objects.filter(|object| !object.is_null()).collect()
}

fn helm(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("HELM").unwrap_or_else(|| "helm".into()));
    command.args(arguments).env_remove("KUBECONFIG");
    command
}

fn helm_is_missing() -> bool {
    let missing = helm(&["version"]).output().is_err();
    if missing {
        println!("not run: helm is not on the PATH, and HELM names no other");
    }
    missing
}

/// A file of YAML, or JSON, which is YAML too.
fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn rookery(arguments: &[&str]) -> String {
    succeeded(&Command::new(env!("CARGO_BIN_EXE_rookery")).args(arguments).output().unwrap())
}

fn succeeded(out: &Output) -> String {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout.clone()).unwrap()
}

fn sorted(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "nothing in {}", directory.display());
    files
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn charts(name: &str) -> PathBuf {
    root().join("charts").join(name)
}

fn tests(path: &str) -> PathBuf {
    root().join("tests/chart").join(path)
}
