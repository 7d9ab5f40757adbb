//! Rules for `spec.podTemplate`.

use std::collections::HashSet;
use std::path::Path;

use super::effective::CONFIG_DIR;
use super::problem::Problems;
use crate::crd::{PodTemplate, RookerySpec};
use crate::names;

/// Variables that the operator sets, or that would contradict the mounted configuration.
const OWN_VARIABLES: [&str; 7] = [
    "ROOKERY_CONFIG",
    "ROOKERY_LISTEN",
    "ROOKERY_INTERNAL",
    "ROOKERY_REDIS",
    "ROOKERY_REVISION",
    "POD_NAMESPACE",
    "POD_TEMPLATE_HASH",
];

/// Checks what is added to the pods.
pub(super) fn check(spec: &RookerySpec, problems: &mut Problems) {
    let pods = &spec.pod_template;
    for label in [names::NAME, names::INSTANCE, names::COMPONENT, names::MANAGED_BY] {
        problems.add_if(
            pods.labels.contains_key(label),
            "spec.podTemplate.labels",
            format_args!("has `{label}`, by which the servers are found; leave it out"),
        );
    }
    for name in OWN_VARIABLES {
        let contradicts = format_args!(
            "has {name}, which would contradict the resource; write `spec.config` or \
             `spec.redis` instead"
        );
        let more = pods.extra_env.iter().any(|variable| variable.name == name);
        problems.add_if(pods.env.contains_key(name), "spec.podTemplate.env", contradicts);
        problems.add_if(more, "spec.podTemplate.extraEnv", contradicts);
    }
    for annotation in pods.annotations.keys().filter(|key| key.starts_with("rookery.dev/")) {
        problems.add(
            "spec.podTemplate.annotations",
            format_args!("has `{annotation}`, which is the operator's own; leave it out"),
        );
    }
    for (i, variable) in pods.extra_env.iter().enumerate() {
        problems.add_if(
            variable.value.is_some() && variable.value_from.is_some(),
            &format!("spec.podTemplate.extraEnv[{i}]"),
            "has `value` and `valueFrom`; leave one of them out",
        );
    }
    check_names(pods, problems);
    for (i, mount) in pods.volume_mounts.iter().enumerate() {
        let hides = Path::new(&mount.mount_path).starts_with(CONFIG_DIR)
            || Path::new(CONFIG_DIR).starts_with(&mount.mount_path);
        problems.add_if(
            hides,
            &format!("spec.podTemplate.volumeMounts[{i}].mountPath"),
            format_args!("would hide the configuration in {CONFIG_DIR}; mount it elsewhere"),
        );
    }
}

/// Names of volumes and containers must not be those that the operator gives, nor repeat.
fn check_names(pods: &PodTemplate, problems: &mut Problems) {
    let mut volumes = HashSet::from(["config", "redis-password", "redis-ca"]);
    for (i, volume) in pods.volumes.iter().enumerate() {
        let taken = !volumes.insert(&volume.name) || volume.name.starts_with("secret-");
        problems.add_if(
            taken,
            &format!("spec.podTemplate.volumes[{i}].name"),
            format_args!("is `{}`, which is taken; choose another", volume.name),
        );
    }
    let mut containers = HashSet::from([names::CONTAINER]);
    for (field, list) in [("initContainers", &pods.init_containers), ("sidecars", &pods.sidecars)] {
        for (i, container) in list.iter().enumerate() {
            problems.add_if(
                !containers.insert(&container.name),
                &format!("spec.podTemplate.{field}[{i}].name"),
                format_args!("is `{}`, which is taken; choose another", container.name),
            );
        }
    }
}
