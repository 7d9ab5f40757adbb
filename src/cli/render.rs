//! `rookery render`: print the objects that the operator would apply.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource as _, ResourceExt as _, core::DynamicObject};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::report;
use rookery_config::error::{ConfigError, Problem};
use rookery_config::load::document;
use rookery_config::tree::{self, Node};
use rookery_config::typed;
use rookery_operator::build::{Capabilities, build};
use rookery_operator::crd::{self, Rookery, RookerySpec};
use rookery_operator::validate::{DEFAULT_IMAGE, Defaults, validate};
use rookery_operator::yaml;
use rookery_ops::escape;

/// Print the Kubernetes objects of a `Rookery` resource, for a cluster without the operator.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rookery render chat.yaml --image registry.example.com/rookery:0.1 | kubectl apply -f -
  rookery render - < chat.yaml

Without the operator nothing serves the metric `rookery_connections` to the autoscaler: set
`autoscaling.metrics: external` in the resource and let another custom metrics server, such as
prometheus-adapter, serve it. Until one does, there are `replicas.min` servers.")]
pub struct Args {
    /// The file with the resource, in YAML; `-` reads stdin
    file: PathBuf,
    /// The image, for a resource that names none [default: `rookery` of this version]
    #[arg(long, env = "ROOKERY_IMAGE")]
    image: Option<String>,
    /// Also print a ServiceMonitor and a PrometheusRule, for the Prometheus operator
    #[arg(long)]
    monitoring: bool,
    /// Ask for session persistence in the HTTPRoute, for the Gateway API's experimental channel
    #[arg(long)]
    session_persistence: bool,
}

/// Prints the objects, in the order to apply them.
///
/// # Errors
/// When the file cannot be read, is not a `Rookery` resource, or is invalid.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (name, text) = read(&args.file)?;
    let (resource, node) = parse(&name, &text)?;
    let image = args.image.clone().filter(|image| !image.is_empty());
    let image = image.unwrap_or_else(|| DEFAULT_IMAGE.to_owned());
    let defaults = Defaults { image, ..Defaults::default() };
    let validated = validate(&resource, &defaults).map_err(|invalid| {
        let problems = invalid.0.into_iter();
        let problems =
            problems.map(|p| Problem::new(&p.field, format!("`{}` {}", p.field, p.text)));
        ConfigError::located(&name, problems.collect(), |key| node.line_near(key))
    })?;
    for warning in &validated.warnings {
        eprintln!("warning: {}", escape::text(warning));
    }
    // What is written for a kind is for a cluster that has it.
    let capabilities = Capabilities {
        service_monitor: args.monitoring,
        pod_monitor: args.monitoring,
        prometheus_rule: args.monitoring,
        http_route: true,
        session_persistence: args.session_persistence,
        ..Capabilities::default()
    };
    report::print(&documents(&build(&validated, &capabilities))?)
}

/// The file's name, for messages, and its text.
fn read(path: &Path) -> anyhow::Result<(String, String)> {
    if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read stdin")?;
        return Ok(("stdin".to_owned(), text));
    }
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((name, text)),
        Err(error) => {
            let text = format!("cannot read the file: {error}; check its path and permissions");
            Err(ConfigError::whole(name, text).into())
        }
    }
}

/// A `Rookery` resource as a file contains it. The `status` is accepted and ignored, so that the
/// output of `kubectl get -o yaml` can be rendered.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    spec: RookerySpec,
    #[serde(default, rename = "status")]
    _status: IgnoredAny,
}

fn parse(name: &str, text: &str) -> Result<(Rookery, Node), ConfigError> {
    let node = document(name, text)?;
    let mut problems = node.duplicates();
    let document = match typed::read::<Document>(&node) {
        Ok(document) => Some(document),
        Err(more) => {
            problems.extend(more);
            None
        }
    };
    if let Some(document) = &document {
        problems.extend(wrong_type(document));
        let written: Value = typed::read(&node).unwrap_or_default();
        find_unread(
            "metadata",
            &written["metadata"],
            &json!(document.metadata),
            &Value::Null,
            &mut problems,
        );
        find_unread("spec", &written["spec"], &json!(document.spec), &spec_schema(), &mut problems);
    }
    match document {
        Some(document) if problems.is_empty() => {
            let mut resource = Rookery::new("", document.spec);
            // Without an owner: objects of a deleted owner would be deleted, too.
            resource.metadata = ObjectMeta { uid: None, ..document.metadata };
            Ok((resource, node))
        }
        _ => Err(ConfigError::located(name, problems, |key| node.line_near(key))),
    }
}

fn wrong_type(document: &Document) -> impl Iterator<Item = Problem> {
    let api_version = Rookery::api_version(&()).into_owned();
    let kind = Rookery::kind(&()).into_owned();
    [("apiVersion", &document.api_version, api_version), ("kind", &document.kind, kind)]
        .into_iter()
        .filter(|(_, found, wanted)| *found != wanted)
        .map(|(key, found, wanted)| {
            Problem::new(key, format!("`{key}` is `{found}`; expected {wanted}"))
        })
}

/// Finds the keys that were written but not read: Kubernetes's own types ignore unknown keys, so
/// these are the ones missing after a round trip. `schema` has the known keys.
fn find_unread(
    path: &str,
    written: &Value,
    read: &Value,
    schema: &Value,
    problems: &mut Vec<Problem>,
) {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            for (key, value) in written {
                let known = &schema["properties"];
                let path = tree::key_path(path, key);
                match read.get(key) {
                    Some(read) => find_unread(&path, value, read, &known[key], problems),
                    None if is_empty(value) || known.get(key).is_some() => {}
                    None => {
                        let instead = match nearest_of(key, known) {
                            Some(nearest) => {
                                format!("did you mean `{}`?", sibling(&path, key, nearest))
                            }
                            None => "leave it out".to_owned(),
                        };
                        let text = format!("`{path}` is not a known key; {instead}");
                        problems.push(Problem::new(path, text));
                    }
                }
            }
        }
        (Value::Array(written), Value::Array(read)) => {
            for (i, (written, read)) in written.iter().zip(read).enumerate() {
                find_unread(&tree::item_path(path, i), written, read, &schema["items"], problems);
            }
        }
        _ => {}
    }
}

/// The schema of `spec` in the custom resource definition.
fn spec_schema() -> Value {
    let definition = json!(crd::definition());
    let schema = definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec");
    schema.cloned().unwrap_or_default()
}

fn nearest_of<'k>(key: &str, known: &'k Value) -> Option<&'k str> {
    let known: Vec<&str> = known.as_object()?.keys().map(String::as_str).collect();
    typed::nearest(key, &known)
}

/// The path of `key` with `nearest` as its last segment.
fn sibling(path: &str, key: &str, nearest: &str) -> String {
    format!("{}{nearest}", path.strip_suffix(key).unwrap_or_default())
}

/// Whether a value means the same as a missing one.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(keys) => keys.is_empty(),
        _ => false,
    }
}

fn documents(objects: &[DynamicObject]) -> anyhow::Result<String> {
    let mut text = String::new();
    for object in objects {
        let kind = object.types.as_ref().map_or("", |types| &types.kind);
        // Through JSON, whose keys are sorted.
        let object_text = yaml::text(&serde_json::to_value(object)?);
        // Writing to a String cannot fail.
        let _ = write!(text, "---\n# {kind} {}\n{object_text}", object.name_any());
    }
    Ok(text)
}
