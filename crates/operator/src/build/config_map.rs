//! The servers' configuration.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::metadata;
use crate::validate::Validated;

/// The key, and so the file's name.
pub(super) const FILE: &str = "rookery.yaml";

pub(super) fn build(v: &Validated) -> ConfigMap {
    ConfigMap {
        metadata: metadata(v),
        data: Some(BTreeMap::from([(FILE.to_owned(), v.config_text.clone())])),
        ..ConfigMap::default()
    }
}
