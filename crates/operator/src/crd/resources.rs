//! Deserializes resource requirements whose quantities may be numbers, such as `cpu: 2`.

use k8s_openapi::api::core::v1::ResourceRequirements;
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer};
use serde_json::Value;

/// Deserializes requests and limits, and converts numbers to the strings that Kubernetes expects.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ResourceRequirements>, D::Error> {
    let Some(mut written) = Option::<Value>::deserialize(deserializer)? else { return Ok(None) };
    for part in ["requests", "limits"] {
        let amounts = written.get_mut(part).and_then(Value::as_object_mut);
        for amount in amounts.into_iter().flat_map(|amounts| amounts.values_mut()) {
            if let Value::Number(number) = amount {
                *amount = Value::String(number.to_string());
            }
        }
    }
    let read = serde_path_to_error::deserialize(written);
    read.map(Some)
        .map_err(|error| D::Error::custom(format_args!("{}: {}", error.path(), error.inner())))
}
