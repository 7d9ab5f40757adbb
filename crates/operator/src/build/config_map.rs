//! The servers' configuration.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::metadata::object_meta;
use crate::validate::Validated;

/// The key, and so the file's name.
pub(super) const FILE: &str = "rookery.yaml";

pub(super) fn build(v: &Validated) -> ConfigMap {
    ConfigMap {
        metadata: object_meta(v),
        data: Some(BTreeMap::from([(FILE.to_owned(), v.config_text.clone())])),
        ..ConfigMap::default()
    }
}
