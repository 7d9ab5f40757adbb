//! The Services: one for clients, one for the internal listeners.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{filled, ingress, metadata};
use crate::operator::names;
use crate::operator::validate::Validated;

/// The port that the ingress goes to.
pub(super) const CLIENTS: i32 = 80;

/// The Service for clients, with its ingress controller's annotations.
pub(super) fn clients(v: &Validated) -> Service {
    service(v, v.name.clone(), ingress::service_annotations(v), names::CLIENT_PORT, CLIENTS)
}

/// The Service for publishers and Prometheus. It has an address of its own, so that a publisher
/// with one connection is sent to a server that is ready; Prometheus takes its endpoints.
pub(super) fn internal(v: &Validated) -> Service {
    let port = names::DEFAULT_INTERNAL_PORT.into();
    service(v, v.internal_service(), BTreeMap::new(), names::INTERNAL_PORT, port)
}

fn service(
    v: &Validated,
    name: String,
    annotations: BTreeMap<String, String>,
    port_name: &str,
    port: i32,
) -> Service {
    Service {
        metadata: ObjectMeta { name: Some(name), annotations: filled(annotations), ..metadata(v) },
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(v.selector()),
            ports: Some(vec![ServicePort {
                name: Some(port_name.to_owned()),
                port,
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::String(port_name.to_owned())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
