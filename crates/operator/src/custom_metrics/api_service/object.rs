//! The APIService that this operator applies.

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{
    APIService, APIServiceSpec, ServiceReference,
};

use crate::custom_metrics::object_names::ObjectNames;
use crate::custom_metrics::responses::{GROUP, VERSION};
use crate::names;

/// Name of the APIService, which Kubernetes derives from version and group.
pub const NAME: &str = "v1beta2.custom.metrics.k8s.io";

/// Group priority. The value hardly matters, as the group has one owner.
const GROUP_PRIORITY: i32 = 100;

/// Priority of the version within the group, which has only one.
const VERSION_PRIORITY: i32 = 200;

/// The labels of the APIService.
pub const LABELS: [(&str, &str); 3] =
    [(names::MANAGED_BY, names::MANAGER), (names::NAME, "rookery"), (names::COMPONENT, "operator")];

/// The APIService that sends requests for the group to the operator's Service. `bundle` holds the
/// trusted authorities, in PEM.
pub fn desired(names: &ObjectNames, owner: OwnerReference, bundle: String) -> APIService {
    let labels = LABELS.map(|(key, value)| (key.to_owned(), value.to_owned()));
    APIService {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            labels: Some(labels.into()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(APIServiceSpec {
            group: Some(GROUP.to_owned()),
            version: Some(VERSION.to_owned()),
            group_priority_minimum: GROUP_PRIORITY,
            version_priority: VERSION_PRIORITY,
            ca_bundle: Some(ByteString(bundle.into_bytes())),
            service: Some(ServiceReference {
                namespace: Some(names.namespace.clone()),
                name: Some(names.service.clone()),
                port: Some(443),
            }),
            ..APIServiceSpec::default()
        }),
        ..APIService::default()
    }
}
