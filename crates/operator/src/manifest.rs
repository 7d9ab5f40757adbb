//! A `Rookery` resource in a file, as `rookery render` reads it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::crd::{self, Rookery, RookerySpec};
use rookery_config::error::{ConfigError, Problem};
use rookery_config::load::document;
use rookery_config::tree::{self, Node};
use rookery_config::typed;

/// Reads the text of a file that is called `name` in messages. The [`Node`] has the lines of the
/// resource's fields.
///
/// # Errors
/// When it is no `Rookery` resource, or has a key or a value that is not known.
pub fn read(name: &str, text: &str) -> Result<(Rookery, Node), ConfigError> {
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

/// A resource as a file contains it. The `status` is accepted and ignored, so that the
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
