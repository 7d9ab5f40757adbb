//! The Services: one for clients, one for the internal listeners, one for Prometheus.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::ingress;
use super::metadata::{non_empty, object_meta};
use crate::names;
use crate::validate::Validated;

/// The Service for clients, with its ingress controller's annotations.
pub(super) fn clients(v: &Validated) -> Service {
    let mut annotations = ingress::service_annotations(v);
    let asked = v.spec.service.clone().unwrap_or_default();
    annotations.extend(asked.annotations);
    let name = v.name.clone();
    let port = v.client_service_port();
    let mut service = service(v, name, annotations, names::CLIENT_PORT, port);
    if let Some(spec) = &mut service.spec {
        spec.type_ = Some(asked.type_.name().to_owned());
        spec.load_balancer_class = asked.load_balancer_class;
        let ranges = asked.load_balancer_source_ranges;
        spec.load_balancer_source_ranges = Some(ranges).filter(|ranges| !ranges.is_empty());
        spec.external_traffic_policy =
            asked.external_traffic_policy.map(|policy| policy.name().to_owned());
        spec.session_affinity = asked.session_affinity.map(|by| by.name().to_owned());
    }
    service
}

/// The Service for publishers. It has a cluster IP, so that a publisher with a single connection
/// reaches a server that is ready.
pub(super) fn internal(v: &Validated) -> Service {
    let port = names::DEFAULT_INTERNAL_PORT.into();
    service(v, v.internal_service(), BTreeMap::new(), names::INTERNAL_PORT, port)
}

/// The Service whose endpoints Prometheus scrapes. The endpoints of the others drop a server as
/// soon as it terminates; these keep it until it is gone, so that drains are visible (Kubernetes
/// API reference, "Service v1 core", `publishNotReadyAddresses`). It has no cluster IP, because
/// nothing connects through it.
pub(super) fn metrics(v: &Validated) -> Service {
    let port = names::DEFAULT_INTERNAL_PORT.into();
    let name = format!("{}-metrics", v.name);
    let mut service = service(v, name, BTreeMap::new(), names::INTERNAL_PORT, port);
    if let Some(spec) = &mut service.spec {
        spec.cluster_ip = Some("None".to_owned());
        spec.publish_not_ready_addresses = Some(true);
        for port in spec.ports.iter_mut().flatten() {
            port.name = Some(names::METRICS_PORT.to_owned());
        }
    }
    service
}

fn service(
    v: &Validated,
    name: String,
    annotations: BTreeMap<String, String>,
    port_name: &str,
    port: i32,
) -> Service {
    Service {
        metadata: ObjectMeta {
            name: Some(name),
            annotations: non_empty(annotations),
            ..object_meta(v)
        },
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
