//! Rules for `spec.service`.

use super::problem::Problems;
use crate::crd::{ClientService, ServiceType};

/// Checks the Service for clients.
pub(super) fn check(service: &ClientService, problems: &mut Problems) {
    let balanced = service.type_ == ServiceType::LoadBalancer;
    for (is_set, field) in [
        (service.load_balancer_class.is_some(), "spec.service.loadBalancerClass"),
        (!service.load_balancer_source_ranges.is_empty(), "spec.service.loadBalancerSourceRanges"),
    ] {
        problems.add_if(is_set && !balanced, field, "needs `type: LoadBalancer`");
    }
    problems.add_if(
        service.external_traffic_policy.is_some() && service.type_ == ServiceType::ClusterIP,
        "spec.service.externalTrafficPolicy",
        "needs `type: LoadBalancer` or `type: NodePort`",
    );
}
