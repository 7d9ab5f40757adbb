//! The ServiceAccount of the servers, which has no permissions.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::metadata::{non_empty, object_meta};
use crate::validate::Validated;

pub(super) fn build(v: &Validated) -> ServiceAccount {
    ServiceAccount {
        metadata: ObjectMeta {
            annotations: non_empty(v.spec.pod_template.service_account_annotations.clone()),
            ..object_meta(v)
        },
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
