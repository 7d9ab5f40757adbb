//! What is added to pods and Services.

use super::*;

#[test]
fn what_contradicts_the_operator_in_pods_and_services_is_refused() {
    for (spec, field) in [
        ("service: { loadBalancerClass: a }", "spec.service.loadBalancerClass: needs"),
        ("service: { externalTrafficPolicy: Local }", "spec.service.externalTrafficPolicy: needs"),
        (
            "service: { type: LoadBalancer, loadBalancerSourceRanges: [office] }",
            "spec.service.loadBalancerSourceRanges[0]: is `office`",
        ),
        (
            "podTemplate: { extraEnv: [{ name: ROOKERY_LISTEN, value: x }] }",
            "spec.podTemplate.extraEnv: has ROOKERY_LISTEN",
        ),
        (
            "podTemplate: { volumes: [{ name: config, emptyDir: {} }] }",
            "spec.podTemplate.volumes[0].name: is `config`",
        ),
        (
            "podTemplate: { volumeMounts: [{ name: a, mountPath: /etc/rookery/more }] }",
            "spec.podTemplate.volumeMounts[0].mountPath: would hide",
        ),
        (
            "podTemplate: { sidecars: [{ name: rookery }] }",
            "spec.podTemplate.sidecars[0].name: is `rookery`",
        ),
        (
            "podTemplate: { initContainers: [{ name: a }], sidecars: [{ name: a }] }",
            "spec.podTemplate.sidecars[0].name: is `a`",
        ),
        (
            "autoscaling: { cpuUtilization: 70 }\nresources: { limits: { cpu: 1 } }",
            "spec.autoscaling.cpuUtilization: is a part of the requested CPU",
        ),
    ] {
        let said = said(&resource(spec));
        assert!(said.starts_with(field), "{spec}\n{said}");
    }
}
