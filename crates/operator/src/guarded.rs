//! [`GuardedRookery`]: a resource as the watch delivers it, whether or not this operator can read it.

use std::borrow::Cow;

use kube::Resource;
use kube::api::ObjectMeta;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::crd::{Rookery, RookerySpec, RookeryStatus};

/// A resource, or what is known of one whose spec does not match its type, such as one that was
/// written before the definition had the rule that refuses it, or for a newer definition. It is kept
/// as an error, so that it does not stop the watch from delivering the others.
#[derive(Clone, Debug)]
pub struct GuardedRookery(pub Result<Rookery, Unreadable>);

/// A resource whose spec cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Unreadable {
    /// The resource's metadata.
    pub metadata: ObjectMeta,
    /// The resource's status, if it has one that can be read.
    pub status: Option<RookeryStatus>,
    /// The field that is wrong, what it must be, and what to do.
    pub message: String,
}

/// The parts of a resource. What a newer operator wrote into the status does not make the resource
/// unreadable: it is written anew.
#[derive(Deserialize)]
struct Parts {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

impl<'de> Deserialize<'de> for GuardedRookery {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let Parts { metadata, spec, status } =
            serde_json::from_value(value).map_err(D::Error::custom)?;
        let status = serde_json::from_value(status).ok();
        let read = match serde_path_to_error::deserialize::<_, RookerySpec>(spec) {
            Ok(spec) => Ok(Rookery { metadata, spec, status }),
            Err(error) => Err(Unreadable { metadata, status, message: message(&error) }),
        };
        Ok(GuardedRookery(read))
    }
}

impl Resource for GuardedRookery {
    type DynamicType = <Rookery as Resource>::DynamicType;
    type Scope = <Rookery as Resource>::Scope;

    fn kind(of: &Self::DynamicType) -> Cow<'_, str> {
        Rookery::kind(of)
    }

    fn group(of: &Self::DynamicType) -> Cow<'_, str> {
        Rookery::group(of)
    }

    fn version(of: &Self::DynamicType) -> Cow<'_, str> {
        Rookery::version(of)
    }

    fn plural(of: &Self::DynamicType) -> Cow<'_, str> {
        Rookery::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|unreadable| &unreadable.metadata, Rookery::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|unreadable| &mut unreadable.metadata, Rookery::meta_mut)
    }
}

fn message(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let path = error.path().to_string();
    let field = match path.as_str() {
        "." => "spec".to_owned(),
        path => format!("spec.{path}"),
    };
    format!(
        "{field}: {}; this version of the operator cannot read the resource: correct the field, or \
         update the operator if the resource is written for a newer one",
        expectation(&error.inner().to_string())
    )
}

/// The error of a field without its value, which may hold a password, and without names of types.
fn expectation(error: &str) -> String {
    let Some((found, expected)) = error.rsplit_once(", expected ") else { return error.to_owned() };
    let found = match found.split_once(": string \"") {
        Some((what, _)) => format!("{what}: text"),
        None => found.to_owned(),
    };
    let expected = if expected.starts_with("struct ") { "a map of fields" } else { expected };
    format!("{found}, expected {expected}")
}

#[cfg(test)]
mod tests {
    use kube::core::ObjectList;
    use serde_json::json;

    use super::*;

    fn read(spec: Value, status: Value) -> GuardedRookery {
        let object = json!({
            "apiVersion": "rookery.dev/v1alpha1", "kind": "Rookery",
            "metadata": { "name": "chat", "namespace": "apps", "uid": "1", "generation": 4 },
            "spec": spec, "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn the_field_that_cannot_be_read_is_named() {
        for (spec, says) in [
            (json!({ "autoscaling": { "connectionsPerPod": "many" } }), "spec.autoscaling.conn"),
            (json!({ "replicas": 3 }), "spec.replicas: invalid type: integer `3`, expected a map"),
            (json!({ "ingress": { "controller": "nginx" } }), "unknown variant `nginx`, expected"),
            (json!({ "secrets": [{ "mountPath": "/k" }] }), "missing field `secretName`"),
            (
                json!({ "resources": { "limits": { "memory": [] } } }),
                "spec.resources: limits.memory",
            ),
            (json!({ "podTemplate": { "tolerations": [{ "key": 1 }] } }), "tolerations[0].key"),
            (json!({ "redis": "redis://:hunter2@r" }), "spec.redis: invalid type: text, expected"),
            (json!("all"), "spec: invalid type: text, expected a map of fields"),
            (Value::Null, "spec: "),
        ] {
            let unreadable = read(spec.clone(), Value::Null).0.unwrap_err();
            assert_eq!(unreadable.metadata.generation, Some(4));
            let said = unreadable.message;
            assert!(said.starts_with("spec") && said.contains(says), "{spec}: {said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn a_resource_that_cannot_be_read_keeps_its_status_and_does_not_hide_the_others() {
        let wrong = json!({ "metadata": { "name": "a" }, "spec": 7, "status": { "replicas": 2 } });
        let right = json!({ "metadata": { "name": "b" }, "spec": {} });
        let list = json!({
            "apiVersion": "rookery.dev/v1alpha1", "kind": "RookeryList", "metadata": {},
            "items": [wrong, right],
        });
        let list: ObjectList<GuardedRookery> = serde_json::from_value(list).unwrap();
        let status = list.items[0].0.as_ref().unwrap_err().status.clone();
        assert_eq!(status.unwrap().replicas, 2);
        assert!(list.items[1].0.is_ok());
    }

    #[test]
    fn a_status_that_cannot_be_read_does_not_matter() {
        let rookery = read(json!({}), json!({ "replicas": "two" })).0.unwrap();
        assert_eq!(rookery.status, None);
    }
}
