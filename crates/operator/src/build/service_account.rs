//! The servers' ServiceAccount: an identity without any right.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{filled, metadata};
use crate::validate::Validated;

pub(super) fn build(v: &Validated) -> ServiceAccount {
    ServiceAccount {
        metadata: ObjectMeta {
            annotations: filled(v.spec.pod_template.service_account_annotations.clone()),
            ..metadata(v)
        },
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
