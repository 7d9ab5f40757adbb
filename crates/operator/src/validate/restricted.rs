//! Refuses in `spec.podTemplate` what would weaken the "restricted" Pod Security Standard, which the
//! server's own container meets (Kubernetes documentation, "Pod Security Standards").

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, SecurityContext, Volume};

use super::problem::Problems;
use crate::crd::PodTemplate;

/// The sources of volumes that the standard allows, and images, which are read-only.
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// Beginnings of annotations that set a profile, and which values leave it in force.
const PROFILES: [&str; 3] = [
    "container.apparmor.security.beta.kubernetes.io/",
    "seccomp.security.alpha.kubernetes.io/",
    "container.seccomp.security.alpha.kubernetes.io/",
];

/// Beginnings of annotations that change what a pod may do, whatever their value.
const PRIVILEGES: [&str; 5] = [
    "security.alpha.kubernetes.io/sysctls",
    "security.alpha.kubernetes.io/unsafe-sysctls",
    "io.kubernetes.cri-o.",
    "io.containers.",
    "experimental.windows.kubernetes.io/",
];

/// Checks what is added to the pods.
pub(super) fn check(pods: &PodTemplate, problems: &mut Problems) {
    check_annotations(&pods.annotations, problems);
    for (list, containers) in
        [("initContainers", &pods.init_containers), ("sidecars", &pods.sidecars)]
    {
        for (i, container) in containers.iter().enumerate() {
            check_container(&format!("spec.podTemplate.{list}[{i}]"), container, problems);
        }
    }
    for (i, volume) in pods.volumes.iter().enumerate() {
        check_volume(&format!("spec.podTemplate.volumes[{i}]"), volume, problems);
    }
}

fn check_annotations(annotations: &BTreeMap<String, String>, problems: &mut Problems) {
    for (key, value) in annotations {
        let is_profile = PROFILES.iter().any(|beginning| key.starts_with(beginning));
        let is_kept = value == "runtime/default" || value.starts_with("localhost/");
        let is_scc = matches!(key.as_str(), "openshift.io/scc" | "openshift.io/required-scc");
        let weakens = (is_profile && !is_kept)
            || (is_scc && !value.starts_with("restricted"))
            || PRIVILEGES.iter().any(|beginning| key.starts_with(beginning));
        problems.add_if(
            weakens,
            "spec.podTemplate.annotations",
            format_args!("has `{key}: {value}`, which weakens the pods' security; leave it out"),
        );
    }
}

fn check_container(field: &str, container: &Container, problems: &mut Problems) {
    let host_ports = container.ports.iter().flatten().any(|port| port.host_port.is_some());
    problems.add_if(
        host_ports,
        &format!("{field}.ports"),
        "has a hostPort, which is a port of the node; leave it out",
    );
    let Some(context) = &container.security_context else { return };
    for (key, weakens) in weaknesses(context) {
        problems.add_if(
            weakens,
            &format!("{field}.securityContext.{key}"),
            "weakens the pods' security, which meets the \"restricted\" standard; leave it out",
        );
    }
}

/// Each key of a container's security context that the standard restricts, and whether its value
/// is one that the standard does not allow.
fn weaknesses(context: &SecurityContext) -> [(&'static str, bool); 11] {
    let capabilities = context.capabilities.as_ref();
    let added = capabilities.and_then(|all| all.add.as_ref());
    let dropped = capabilities.and_then(|all| all.drop.as_ref());
    let is_unconfined = |profile: Option<&str>| profile == Some("Unconfined");
    let selinux = context.se_linux_options.as_ref();
    let windows = context.windows_options.as_ref();
    [
        ("privileged", context.privileged == Some(true)),
        ("allowPrivilegeEscalation", context.allow_privilege_escalation == Some(true)),
        ("runAsNonRoot", context.run_as_non_root == Some(false)),
        ("runAsUser", context.run_as_user == Some(0)),
        ("capabilities.add", added.into_iter().flatten().any(|name| name != "NET_BIND_SERVICE")),
        ("capabilities.drop", dropped.is_some_and(|all| !all.iter().any(|name| name == "ALL"))),
        ("procMount", context.proc_mount.as_ref().is_some_and(|mount| mount != "Default")),
        (
            "seccompProfile",
            is_unconfined(context.seccomp_profile.as_ref().map(|profile| profile.type_.as_str())),
        ),
        (
            "appArmorProfile",
            is_unconfined(context.app_armor_profile.as_ref().map(|profile| profile.type_.as_str())),
        ),
        (
            "seLinuxOptions",
            selinux.is_some_and(|options| options.user.is_some() || options.role.is_some()),
        ),
        (
            "windowsOptions.hostProcess",
            windows.is_some_and(|options| options.host_process == Some(true)),
        ),
    ]
}

fn check_volume(field: &str, volume: &Volume, problems: &mut Problems) {
    let written = serde_json::to_value(volume).unwrap_or_default();
    let sources = written.as_object().into_iter().flat_map(|all| all.keys());
    for source in sources.filter(|key| *key != "name" && !VOLUMES.contains(&key.as_str())) {
        problems.add(
            format!("{field}.{source}"),
            "is a kind of volume that weakens the pods' security; use a Secret, a ConfigMap, an \
             emptyDir, a PersistentVolumeClaim or the like",
        );
    }
}
