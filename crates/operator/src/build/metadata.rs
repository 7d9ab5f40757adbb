//! Metadata and selectors that the objects of a `Rookery` share.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use sha2::{Digest as _, Sha256};

use crate::validate::Validated;

/// A hash of `text`, as 32 hexadecimal digits.
pub(super) fn hash(text: &str) -> String {
    Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Metadata of an object with the name of the resource.
pub(super) fn object_meta(v: &Validated) -> ObjectMeta {
    ObjectMeta {
        name: Some(v.name.clone()),
        namespace: v.namespace.clone(),
        labels: Some(v.labels()),
        owner_references: v.owner.clone().map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

/// The map; `None` if it is empty.
pub(super) fn non_empty(map: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    Some(map).filter(|map| !map.is_empty())
}

/// Selector of the server pods.
pub(super) fn pod_selector(v: &Validated) -> LabelSelector {
    LabelSelector { match_labels: Some(v.selector()), ..LabelSelector::default() }
}
