//! The ConfigMap with the configuration of the servers.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::metadata::object_meta;
use crate::validate::Validated;

/// Key of the configuration, and thus the name of the mounted file.
pub(super) const FILE: &str = "rookery.yaml";

pub(super) fn build(v: &Validated) -> ConfigMap {
    ConfigMap {
        metadata: object_meta(v),
        data: Some(BTreeMap::from([(FILE.to_owned(), v.config_text.clone())])),
        ..ConfigMap::default()
    }
}
