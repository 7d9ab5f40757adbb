//! The template of the servers' pods, which meets the "restricted" Pod Security Standard.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource,
    HTTPGetAction, KeyToPath, ObjectFieldSelector, PodAffinityTerm, PodAntiAffinity,
    PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile,
    SecretKeySelector, SecretVolumeSource, SecurityContext, TopologySpreadConstraint, Volume,
    VolumeMount, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::config_map;
use super::metadata::{hash, non_empty, pod_selector};
use crate::crd::{ImagePullPolicy, SecretField};
use crate::names;
use crate::validate::{
    CONFIG_DIR, REDIS_CA_DIR, REDIS_CA_FILE, REDIS_PASSWORD_DIR, REDIS_PASSWORD_FILE, Validated,
};

/// The user and group that the image runs as.
const USER: i64 = 65532;

/// The time that a drain may take beyond its lead, its wait and the longest window: the last write to
/// a stalled client (`limits.writeStall`, 10 s), and the exit of the process.
const ENDING_SECONDS: u32 = 15;

pub(super) fn build(v: &Validated) -> PodTemplateSpec {
    let mut labels = v.spec.pod_template.labels.clone();
    labels.extend(v.labels());
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations(v)),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(v)),
    }
}

/// Settings that a running server applies by itself are not part of the checksum, so changing them
/// does not replace pods.
fn annotations(v: &Validated) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::from([
        ("prometheus.io/scrape".to_owned(), "true".to_owned()),
        ("prometheus.io/port".to_owned(), v.internal_port.to_string()),
        ("prometheus.io/path".to_owned(), "/metrics".to_owned()),
    ]);
    annotations.extend(v.spec.pod_template.annotations.clone());
    annotations.insert(names::CONFIG_CHECKSUM.to_owned(), hash(&v.restart_text));
    annotations
}

/// Removes the annotations by which a Prometheus without its operator finds the pods, so that one
/// with it does not scrape them twice. Those that the user wrote stay only if they say otherwise.
pub(super) fn remove_scrape_annotations(deployment: &mut Deployment) {
    let template = deployment.spec.as_mut().and_then(|spec| spec.template.metadata.as_mut());
    if let Some(annotations) = template.and_then(|metadata| metadata.annotations.as_mut()) {
        annotations.retain(|key, value| !key.starts_with("prometheus.io/") || value == "false");
    }
}

fn pod(v: &Validated) -> PodSpec {
    let more = &v.spec.pod_template;
    let spread = more.topology_spread_constraints.clone();
    let affinity = more.affinity.clone();
    let user = more.fixed_user.then_some(USER);
    PodSpec {
        affinity: affinity.or_else(|| spread.is_none().then(|| apart_by_zone(v))),
        automount_service_account_token: Some(false),
        containers: std::iter::once(container(v))
            .chain(more.sidecars.iter().map(restrict))
            .collect(),
        // Kubernetes sets ROOKERY_PORT for a Service named rookery, which would be read as a flag.
        enable_service_links: Some(false),
        init_containers: Some(more.init_containers.iter().map(restrict).collect())
            .filter(|all: &Vec<_>| !all.is_empty()),
        image_pull_secrets: Some(more.image_pull_secrets.clone()).filter(|all| !all.is_empty()),
        node_selector: non_empty(more.node_selector.clone()),
        priority_class_name: more.priority_class_name.clone(),
        security_context: Some(PodSecurityContext {
            fs_group: user,
            run_as_group: user,
            run_as_non_root: Some(true),
            run_as_user: user,
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        service_account_name: Some(v.name.clone()),
        termination_grace_period_seconds: Some(i64::from(
            v.longest_drain_seconds().saturating_add(ENDING_SECONDS),
        )),
        tolerations: Some(more.tolerations.clone()).filter(|all| !all.is_empty()),
        topology_spread_constraints: Some(spread.unwrap_or_else(|| vec![over_nodes(v)])),
        volumes: Some(volumes(v)),
        ..PodSpec::default()
    }
}

/// Spreads each generation of pods evenly over nodes, where possible.
fn over_nodes(v: &Validated) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        label_selector: Some(pod_selector(v)),
        match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        ..TopologySpreadConstraint::default()
    }
}

/// Prefers zones with fewer pods. A second constraint would not do: where nodes have no zone, the
/// scheduler passes over all constraints of the pod, that by node too (kube-scheduler, plugin
/// PodTopologySpread, `requireAllTopologies`).
fn apart_by_zone(v: &Validated) -> Affinity {
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                WeightedPodAffinityTerm {
                    pod_affinity_term: PodAffinityTerm {
                        label_selector: Some(pod_selector(v)),
                        topology_key: "topology.kubernetes.io/zone".to_owned(),
                        ..PodAffinityTerm::default()
                    },
                    weight: 100,
                },
            ]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn container(v: &Validated) -> Container {
    let policy = v.spec.pod_template.image_pull_policy.map(|policy| match policy {
        ImagePullPolicy::Always => "Always",
        ImagePullPolicy::IfNotPresent => "IfNotPresent",
        ImagePullPolicy::Never => "Never",
    });
    let port = |name: &str, port: u16| ContainerPort {
        name: Some(name.to_owned()),
        container_port: port.into(),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    let file = format!("{CONFIG_DIR}/{}", config_map::FILE);
    Container {
        name: names::CONTAINER.to_owned(),
        image: Some(v.image.clone()),
        image_pull_policy: policy.map(str::to_owned),
        args: Some(vec!["serve".to_owned(), "--config".to_owned(), file]),
        env: Some(env(v)).filter(|all| !all.is_empty()),
        env_from: non_empty_list(&v.spec.pod_template.env_from),
        ports: Some(vec![
            port(names::CLIENT_PORT, v.client_port),
            port(names::INTERNAL_PORT, v.internal_port),
        ]),
        // Says why a server exits, in the pod's status and so in the resource's.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        startup_probe: Some(probe("/livez", 1, 60)),
        // A busy server must not be killed, because all of its clients would lose their connections.
        liveness_probe: Some(probe("/livez", 10, 6)),
        readiness_probe: Some(probe("/readyz", 2, 3)),
        resources: Some(v.spec.resources.clone().unwrap_or_else(resources)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts(v)),
        ..Container::default()
    }
}

/// The container with what the "restricted" standard asks of each, where it says nothing about it.
fn restrict(container: &Container) -> Container {
    let mut container = container.clone();
    let context = container.security_context.get_or_insert_default();
    context.allow_privilege_escalation.get_or_insert(false);
    let capabilities = context.capabilities.get_or_insert_default();
    capabilities.drop.get_or_insert_with(|| vec!["ALL".to_owned()]);
    container
}

/// Identifies the resource among all that share a Redis, including those of other clusters.
fn group(v: &Validated) -> String {
    match &v.owner {
        Some(owner) => format!("{}@{}", v.name, owner.uid),
        None => v.name.clone(),
    }
}

/// The revision, by which servers tell one rollout from another: see docs/architecture.md, "Drain
/// order in a rollout".
fn revision(v: &Validated) -> [EnvVar; 3] {
    let field = |name: &str, path: &str| EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: path.to_owned(),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    [
        field("POD_NAMESPACE", "metadata.namespace"),
        field("POD_TEMPLATE_HASH", "metadata.labels['pod-template-hash']"),
        EnvVar {
            name: "ROOKERY_REVISION".to_owned(),
            value: Some(format!("$(POD_NAMESPACE)/{}/$(POD_TEMPLATE_HASH)", group(v))),
            ..EnvVar::default()
        },
    ]
}

fn env(v: &Validated) -> Vec<EnvVar> {
    let redis = v.redis_secret.as_ref().map(|secret| EnvVar {
        name: "ROOKERY_REDIS".to_owned(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.name.clone(),
                key: secret.key.clone(),
                optional: Some(false),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    });
    let written = v.spec.pod_template.env.iter().map(|(name, value)| EnvVar {
        name: name.clone(),
        value: Some(value.clone()),
        ..EnvVar::default()
    });
    let extra = v.spec.pod_template.extra_env.iter().cloned();
    revision(v).into_iter().chain(written).chain(extra).chain(redis).collect()
}

fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(names::INTERNAL_PORT.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failure_threshold),
        timeout_seconds: Some(3),
        ..Probe::default()
    }
}

fn resources() -> ResourceRequirements {
    let requests = [("cpu", "100m"), ("memory", "128Mi")];
    ResourceRequirements {
        requests: Some(requests.map(|(k, v)| (k.to_owned(), Quantity(v.to_owned()))).into()),
        ..ResourceRequirements::default()
    }
}

fn volumes(v: &Validated) -> Vec<Volume> {
    let config = Volume {
        name: "config".to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: v.name.clone(),
            default_mode: Some(mode(v)),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
    let secrets = v.spec.secrets.iter().enumerate().map(|(i, mount)| Volume {
        name: secret_volume(i),
        secret: Some(SecretVolumeSource {
            secret_name: Some(mount.secret_name.clone()),
            default_mode: Some(mode(v)),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    });
    let more = v.spec.pod_template.volumes.iter().cloned();
    let redis = redis_files(v).into_iter().map(|(name, _, secret, path)| Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.name.clone()),
            default_mode: Some(mode(v)),
            items: Some(vec![KeyToPath {
                key: secret.key.clone(),
                path: path.to_owned(),
                mode: None,
            }]),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    });
    std::iter::once(config).chain(secrets).chain(redis).chain(more).collect()
}

/// The mode of mounted files: readable by [`USER`]'s group; by everybody in the pod where the cluster
/// chooses the user, who may be in no group of theirs.
fn mode(v: &Validated) -> i32 {
    if v.spec.pod_template.fixed_user { 0o440 } else { 0o444 }
}

/// Mounts whole directories: changes to a file that is mounted alone do not reach a running pod.
fn mounts(v: &Validated) -> Vec<VolumeMount> {
    let mount = |name: String, path: &str| VolumeMount {
        name,
        mount_path: path.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    let secrets = v.spec.secrets.iter().enumerate();
    std::iter::once(mount("config".to_owned(), CONFIG_DIR))
        .chain(secrets.map(|(i, secret)| mount(secret_volume(i), &secret.mount_path)))
        .chain(redis_files(v).into_iter().map(|(name, folder, ..)| mount(name.to_owned(), folder)))
        .chain(v.spec.pod_template.volume_mounts.iter().cloned())
        .collect()
}

/// The files of `spec.redis`: volume, folder, Secret and path in the folder.
fn redis_files(v: &Validated) -> Vec<(&'static str, &'static str, &SecretField, &'static str)> {
    let Some(redis) = &v.spec.redis else { return Vec::new() };
    let password = redis
        .password_secret
        .as_ref()
        .map(|secret| ("redis-password", REDIS_PASSWORD_DIR, secret, REDIS_PASSWORD_FILE));
    let authorities =
        redis.ca_secret.as_ref().map(|secret| ("redis-ca", REDIS_CA_DIR, secret, REDIS_CA_FILE));
    password.into_iter().chain(authorities).collect()
}

fn non_empty_list<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

fn secret_volume(index: usize) -> String {
    format!("secret-{index}")
}
