//! What the operator forbids, and what weakens the pods.

use super::*;

/// A spec that the operator forbids, the field that the message names, and the flag.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("image: docker.io/rookery", "spec.image", "--allow-images"),
    (
        "podTemplate: { sidecars: [{ name: a, image: busybox }] }",
        "spec.podTemplate.sidecars[0].image",
        "--allow-images",
    ),
    (
        "podTemplate: { initContainers: [{ name: a, image: registry.example.com.evil/a }] }",
        "spec.podTemplate.initContainers[0].image",
        "--allow-images",
    ),
    (
        "podTemplate: { volumes: [{ name: a, image: { reference: busybox } }] }",
        "spec.podTemplate.volumes[0].image.reference",
        "--allow-images",
    ),
    ("ingress: { host: pay.example.com }", "spec.ingress.host", "--allow-ingress-hosts"),
    ("ingress: {}", "spec.ingress.host", "--allow-ingress-hosts"),
    (
        "ingress: { host: a.team.example.com, annotations: \
     { nginx.ingress.kubernetes.io/server-alias: pay.example.com } }",
        "spec.ingress.annotations",
        "--allow-ingress-hosts",
    ),
    (
        "podTemplate: { serviceAccountAnnotations: { eks.amazonaws.com/role-arn: a } }",
        "spec.podTemplate.serviceAccountAnnotations",
        "--forbid-service-account-annotations",
    ),
    (
        "networkPolicy: { extraEgress: [{}] }",
        "spec.networkPolicy.extraEgress",
        "--forbid-extra-egress",
    ),
    ("networkPolicy: { enabled: false }", "spec.networkPolicy.enabled", "--forbid-extra-egress"),
];

#[test]
fn what_weakens_the_pods_security_is_refused() {
    for (pods, field) in [
        (
            "annotations: { container.apparmor.security.beta.kubernetes.io/rookery: unconfined }",
            "annotations: has `container.apparmor",
        ),
        (
            "annotations: { seccomp.security.alpha.kubernetes.io/pod: unconfined }",
            "annotations: has `seccomp.security",
        ),
        (
            "annotations: { openshift.io/required-scc: privileged }",
            "annotations: has `openshift.io",
        ),
        (
            "sidecars: [{ name: a, image: b, securityContext: { privileged: true } }]",
            "sidecars[0].securityContext.privileged: weakens",
        ),
        (
            "initContainers: [{ name: a, image: b, securityContext: { runAsUser: 0 } }]",
            "initContainers[0].securityContext.runAsUser: weakens",
        ),
        (
            "sidecars: [{ name: a, securityContext: { capabilities: { add: [NET_ADMIN] } } }]",
            "sidecars[0].securityContext.capabilities.add: weakens",
        ),
        (
            "sidecars: [{ name: a, securityContext: { seccompProfile: { type: Unconfined } } }]",
            "sidecars[0].securityContext.seccompProfile: weakens",
        ),
        (
            "sidecars: [{ name: a, ports: [{ containerPort: 1, hostPort: 1 }] }]",
            "sidecars[0].ports: has a hostPort",
        ),
        (
            "volumes: [{ name: a, hostPath: { path: / } }]",
            "volumes[0].hostPath: is a kind of volume",
        ),
        ("volumes: [{ name: a, nfs: { server: b, path: / } }]", "volumes[0].nfs: is a kind"),
    ] {
        let said = said(&resource(&format!("podTemplate: {{ {pods} }}")));
        assert!(said.starts_with(&format!("spec.podTemplate.{field}")), "{pods}\n{said}");
    }
    valid(
        "podTemplate: { volumes: [{ name: a, emptyDir: {} }, { name: b, projected: {} }],\n\
         annotations: { seccomp.security.alpha.kubernetes.io/pod: runtime/default },\n\
         sidecars: [{ name: s, image: i, securityContext: { runAsUser: 7, privileged: false } }] }",
    );
}

#[test]
fn what_the_operator_forbids_is_refused_with_its_flag() {
    let rights = Rights {
        images: vec!["registry.example.com/*".to_owned()],
        ingress_hosts: vec!["*.team.example.com".to_owned()],
        forbid_service_account_annotations: true,
        forbid_extra_egress: true,
    };
    let defaults = Defaults { rights, ..defaults() };
    let check = |spec: &str| validate(&resource(spec), &defaults);
    for (spec, field, flag) in FORBIDDEN {
        let said = check(spec).unwrap_err().to_string();
        assert!(said.starts_with(field) && said.contains(flag), "{spec}\n{said}");
        valid(spec);
    }
    check("image: registry.example.com/rookery:1\ningress: { host: a.team.example.com }").unwrap();
    assert_eq!(check("{}").unwrap().image, "rookery:test", "the operator's own image is allowed");
}
