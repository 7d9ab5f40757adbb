//! How an object in the cluster differs from the desired one. Pure.

use kube::core::DynamicObject;
use serde_json::{Value, json};

/// Whether `there` was applied from `desired` and has not been changed since.
pub(super) fn matches_desired(desired: &DynamicObject, there: &DynamicObject) -> bool {
    let (wanted, found) = (json!(desired.metadata), json!(there.metadata));
    there.metadata.deletion_timestamp.is_none()
        && ["labels", "annotations", "ownerReferences"]
            .iter()
            .all(|part| is_subset(&wanted[part], &found[part]))
        && is_subset(&desired.data, &there.data)
        && removal_patch(&desired.data, &there.data).is_none()
}

/// Whether everything in `part` is also in `whole`, which may contain more, such as defaults of the
/// cluster.
pub(super) fn is_subset(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Null, _) => true,
        (Value::Object(part), Value::Object(whole)) => part.iter().all(|(key, value)| {
            whole.get(key).map_or(is_empty_value(value), |found| {
                is_subset(value, found) && (!is_compared_exactly(key) || is_subset(found, value))
            })
        }),
        (Value::Array(part), Value::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(a, b)| is_subset(a, b))
        }
        (part, whole) => part == whole,
    }
}

/// Whether a map under this key must match exactly: a label added to a selector is a difference.
fn is_compared_exactly(key: &str) -> bool {
    key.ends_with("elector") || key == "matchLabels" || key == CONFIG_MAP_DATA
}

/// Whether the cluster omits such a value.
fn is_empty_value(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty_value),
        _ => false,
    }
}

/// A merge patch that undoes additions which server-side apply leaves in place (Kubernetes
/// documentation, "Server-Side Apply", section "Merge strategy"): list items such as ports or
/// containers, files in a ConfigMap, and the fields of [`NEVER_SET`]. `None` if there is nothing to
/// undo.
pub(super) fn removal_patch(desired: &Value, there: &Value) -> Option<Value> {
    let (Value::Object(desired), Value::Object(there)) = (desired, there) else { return None };
    let unwanted = NEVER_SET
        .iter()
        .filter(|key| is_non_default(there.get(**key)) && !desired.contains_key(**key));
    let mut parts: serde_json::Map<String, Value> =
        unwanted.map(|key| ((*key).to_owned(), Value::Null)).collect();
    let changed = desired.iter().filter_map(|(key, value)| {
        let found = there.get(key)?;
        let patch = match (value, found) {
            (Value::Array(_), _) => lengths_differ(value, found).then(|| value.clone()),
            (Value::Object(files), Value::Object(found)) if key == CONFIG_MAP_DATA => {
                let more = found.keys().filter(|name| !files.contains_key(*name));
                let gone: serde_json::Map<_, _> =
                    more.map(|name| (name.clone(), Value::Null)).collect();
                (!gone.is_empty()).then_some(Value::Object(gone))
            }
            _ => removal_patch(value, found),
        };
        Some((key.clone(), patch?))
    });
    parts.extend(changed);
    (!parts.is_empty()).then_some(Value::Object(parts))
}

/// Fields of a Deployment, a pod or a Service that the operator never applies and that change what
/// runs or who has access.
const NEVER_SET: [&str; 6] =
    ["paused", "hostNetwork", "hostPID", "hostIPC", "externalIPs", "loadBalancerIP"];

/// Whether a field is set to something other than its default.
fn is_non_default(found: Option<&Value>) -> bool {
    found.is_some_and(|found| !is_empty_value(found) && *found != Value::Bool(false))
}

/// The field of a ConfigMap that holds its files.
const CONFIG_MAP_DATA: &str = "data";

/// Whether a list, or a list nested in it, has a different number of items.
fn lengths_differ(desired: &Value, there: &Value) -> bool {
    match (desired, there) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() != b.len() || a.iter().zip(b).any(|(a, b)| lengths_differ(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.iter().any(|(key, a)| b.get(key).is_some_and(|b| lengths_differ(a, b)))
        }
        _ => false,
    }
}
