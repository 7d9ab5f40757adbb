//! Rules for the fields of a resource other than its configuration.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use super::effective::CONFIG_DIR;
use super::problem::Problems;
use super::{pods, redis, resources, service};
use k8s_openapi::api::core::v1::ResourceRequirements;

use crate::crd::{RookerySpec, SecretMount};
use rookery_config::check::warnings;
use rookery_config::{Config, Transport};

/// The longest that is appended to a resource's name.
pub(super) const LONGEST_SUFFIX: &str = "-internal";

/// The longest name of a resource. A pod is named as the Deployment, a hash of up to ten characters
/// and five more. Kubernetes cuts off what is longer than 58 characters before the last five
/// (`maxGeneratedNameLength` of its `names.SimpleNameGenerator`), and then the pods' names no
/// longer tell whose they are. The Services' names, at most 63 (RFC 1035, section 2.3.1), fit too.
const LONGEST_NAME: usize = 58 - "-".len() - 10 - "-".len();

/// The most that the HorizontalPodAutoscaler takes (autoscaling/v2, `stabilizationWindowSeconds`).
const LONGEST_STABILIZATION: Duration = Duration::from_secs(3600);

/// The most servers that there may be.
const MOST_REPLICAS: i32 = 1000;

/// The name must do for pods, Services and label values that come of it.
pub(super) fn check_name(name: &str, problems: &mut Problems) {
    let field = "metadata.name";
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let fits = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.ends_with(|c: char| c.is_ascii() && plain(c as u8))
        && name.bytes().all(|b| plain(b) || b == b'-');
    if name.is_empty() {
        problems.add(field, "is missing; write one, such as chat");
    } else if name.len() > LONGEST_NAME {
        problems.add(
            field,
            format_args!(
                "has {} characters; at most {LONGEST_NAME} fit, so that Kubernetes does not cut \
                 the names of its pods: choose a shorter one",
                name.len()
            ),
        );
    } else if !fits {
        problems.add(
            field,
            format_args!(
                "is `{name}`, which cannot name a Service: begin with a letter, and write only \
                 a-z, 0-9 and `-`"
            ),
        );
    }
}

/// Checks the fields of the spec on their own.
pub(super) fn check_spec(spec: &RookerySpec, problems: &mut Problems) {
    check_replicas(spec, problems);
    check_autoscaling(spec, problems);
    if let Some(redis) = &spec.redis {
        redis::check(redis, spec, problems);
    }
    check_mounts(&spec.secrets, problems);
    pods::check(spec, problems);
    if let Some(service) = &spec.service {
        service::check(service, problems);
    }
    if let Some(written) = &spec.resources {
        resources::check(written, problems);
    }
    let interval = spec.monitoring.interval.0;
    problems.add_if(
        interval < Duration::from_secs(1),
        "spec.monitoring.interval",
        "must be at least 1s",
    );
}

/// Minimum and maximum number of servers. Without Redis it is one, because its rooms are in memory.
pub(super) fn replicas(spec: &RookerySpec) -> (i32, i32) {
    let (least, most) = if has_redis(spec) { (2, 10) } else { (1, 1) };
    let (min, max) = spec.replicas.as_ref().map_or((None, None), |r| (r.min, r.max));
    match (min, max) {
        (Some(min), Some(max)) => (min, max),
        (Some(min), None) => (min, most.max(min)),
        (None, Some(max)) => (least.min(max), max),
        (None, None) => (least, most),
    }
}

/// Checks the spec against the configuration.
pub(super) fn check_against(spec: &RookerySpec, config: &Config, problems: &mut Problems) {
    let (wanted, limit) = (spec.autoscaling.connections_per_pod, config.limits.connections.get());
    if i64::from(wanted) > i64::from(limit) {
        problems.add(
            "spec.autoscaling.connectionsPerPod",
            format_args!(
                "is {wanted}, but a server takes only {limit} (`spec.config.limits.connections`): \
                 there would never be another one; write at most {limit}, or raise the limit"
            ),
        );
    }
    for (key, path) in files(spec, config) {
        if !spec.secrets.iter().any(|mount| is_below(path, &mount.mount_path)) {
            let folder = path.parent().unwrap_or(path).display();
            problems.add(
                format!("spec.config.{key}"),
                format_args!(
                    "names {}, which no Secret of `spec.secrets` brings; add \
                     `{{secretName: …, mountPath: {folder}}}` there",
                    path.display()
                ),
            );
        }
    }
}

/// Warnings about valid but probably unintended settings.
pub(super) fn warnings(spec: &RookerySpec, config: &Config, max_replicas: i32) -> Vec<String> {
    let mut found = warnings::warnings(config);
    let polling = config.socketio.transports.contains(&Transport::Polling);
    let unsticky = [
        ("ingress", spec.ingress.as_ref().map(|ingress| ingress.sticky)),
        ("gateway", spec.gateway.as_ref().map(|gateway| gateway.sticky)),
    ];
    for (key, _) in unsticky.iter().filter(|(_, sticky)| *sticky == Some(false)) {
        if polling && max_replicas > 1 {
            found.push(format!(
                "`{key}.sticky: false` with several servers: a polling client's requests would go \
                 to servers that do not know it; leave only `websocket` in \
                 `config.socketio.transports`, or write `sticky: true`"
            ));
        }
    }
    let has_proxy = spec.ingress.is_some() || spec.gateway.is_some();
    if has_proxy && config.limits.per_ip.is_some() && config.trusted_proxies.is_empty() {
        found.push(
            "`config.limits.perIp` behind an ingress counts all clients as one; name the \
             ingress's pods in `config.trustedProxies`, such as 10.0.0.0/8"
                .to_owned(),
        );
    }
    let url = spec.redis.as_ref().and_then(|redis| redis.url.as_ref());
    if url.is_some_and(|url| url.contains('@')) {
        found.push(
            "`redis.url` holds a password, which shows in the ConfigMap; put the URL in a Secret \
             and name it in `redis.urlSecret`, or the password alone in `redis.passwordSecret`"
                .to_owned(),
        );
    }
    found
}

fn has_redis(spec: &RookerySpec) -> bool {
    spec.redis.is_some() || spec.config.0.get("redis").is_some_and(|redis| !redis.is_null())
}

fn check_replicas(spec: &RookerySpec, problems: &mut Problems) {
    let Some(replicas) = &spec.replicas else { return };
    for (field, written) in
        [("spec.replicas.min", replicas.min), ("spec.replicas.max", replicas.max)]
    {
        problems.add_if(
            written.is_some_and(|n| !(1..=MOST_REPLICAS).contains(&n)),
            field,
            format_args!("must be from 1 to {MOST_REPLICAS}"),
        );
    }
    if let (Some(min), Some(max)) = (replicas.min, replicas.max)
        && min > max
    {
        problems.add("spec.replicas", format_args!("min ({min}) is above max ({max})"));
    }
    let several = [replicas.min, replicas.max].into_iter().flatten().any(|n| n > 1);
    problems.add_if(
        several && !has_redis(spec),
        "spec.replicas",
        "more than one server needs Redis, without which members of a room in one do not hear \
         what is published in another; write `spec.redis`",
    );
}

fn check_autoscaling(spec: &RookerySpec, problems: &mut Problems) {
    problems.add_if(
        spec.autoscaling.connections_per_pod < 1,
        "spec.autoscaling.connectionsPerPod",
        "must be at least 1",
    );
    problems.add_if(
        spec.autoscaling.stabilization.0 > LONGEST_STABILIZATION,
        "spec.autoscaling.stabilization",
        "must be at most 1h: autoscalers look back no further",
    );
    let below_one = |target: Option<i64>| target.is_some_and(|target| target < 1);
    problems.add_if(
        below_one(spec.autoscaling.deliveries_per_second.map(i64::from)),
        "spec.autoscaling.deliveriesPerSecond",
        "must be at least 1",
    );
    problems.add_if(
        below_one(spec.autoscaling.outbox_bytes),
        "spec.autoscaling.outboxBytes",
        "must be at least 1",
    );
    check_cpu(spec, problems);
}

fn check_cpu(spec: &RookerySpec, problems: &mut Problems) {
    let Some(percent) = spec.autoscaling.cpu_utilization else { return };
    let field = "spec.autoscaling.cpuUtilization";
    problems.add_if(percent < 1, field, "must be at least 1: percent of the requested CPU");
    let requests =
        |of: &ResourceRequirements| of.requests.as_ref().is_some_and(|r| r.contains_key("cpu"));
    problems.add_if(
        spec.resources.as_ref().is_some_and(|resources| !requests(resources)),
        field,
        "is a part of the requested CPU, and spec.resources.requests.cpu is missing; write it",
    );
}

fn check_mounts(mounts: &[SecretMount], problems: &mut Problems) {
    let mut folders = HashSet::new();
    for (i, mount) in mounts.iter().enumerate() {
        let field = format!("spec.secrets[{i}].mountPath");
        let path = &mount.mount_path;
        if Path::new(path).starts_with(CONFIG_DIR) || Path::new(CONFIG_DIR).starts_with(path) {
            problems.add(
                field,
                format_args!(
                    "is `{path}`, which would hide the configuration in {CONFIG_DIR}; mount it \
                     elsewhere, such as /etc/keys"
                ),
            );
        } else if !folders.insert(Path::new(path)) {
            problems.add(
                field,
                format_args!("is `{path}` again; give each Secret a folder of its own"),
            );
        }
    }
}

/// The files that the user's configuration names, by key.
fn files<'c>(spec: &RookerySpec, config: &'c Config) -> Vec<(&'static str, &'c Path)> {
    let jwt = config.auth.jwt.as_ref();
    let backend = config.backend.as_ref();
    let admin = config.admin.as_ref();
    // Those of `spec.redis` are the operator's.
    let source = spec.redis.clone().unwrap_or_default();
    let redis = config.redis.as_ref();
    let password = redis.filter(|_| source.password_secret.is_none());
    let authorities = redis.filter(|_| source.ca_secret.is_none());
    [
        ("auth.jwt.secretFile", jwt.and_then(|jwt| jwt.secret_file.as_deref())),
        ("auth.jwt.publicKeyFile", jwt.and_then(|jwt| jwt.public_key_file.as_deref())),
        ("admin.passwordHashFile", admin.map(|admin| &*admin.password_hash_file)),
        ("auth.apiKeysFile", config.auth.api_keys_file.as_deref()),
        ("backend.signingKeyFile", backend.and_then(|b| b.signing_key_file.as_deref())),
        ("backend.caFile", backend.and_then(|b| b.ca_file.as_deref())),
        ("redis.passwordFile", password.and_then(|redis| redis.password_file.as_deref())),
        ("redis.tls.caFile", authorities.and_then(|redis| redis.tls.ca_file.as_deref())),
        ("redis.tls.certFile", redis.and_then(|redis| redis.tls.cert_file.as_deref())),
        ("redis.tls.keyFile", redis.and_then(|redis| redis.tls.key_file.as_deref())),
        (
            "redis.sentinel.passwordFile",
            redis.and_then(|redis| redis.sentinel.as_ref()?.password_file.as_deref()),
        ),
    ]
    .into_iter()
    .filter_map(|(key, path)| Some((key, path?)))
    .collect()
}

fn is_below(path: &Path, folder: &str) -> bool {
    path.starts_with(folder) && path != Path::new(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_of_the_autoscaler_is_at_least_one() {
        let autoscaling = crate::crd::Autoscaling {
            deliveries_per_second: Some(0),
            outbox_bytes: Some(-1),
            ..crate::crd::Autoscaling::default()
        };
        let mut problems = Problems::default();
        check_autoscaling(&RookerySpec { autoscaling, ..RookerySpec::default() }, &mut problems);
        let fields: Vec<&str> = problems.0.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(
            fields,
            ["spec.autoscaling.deliveriesPerSecond", "spec.autoscaling.outboxBytes"]
        );
    }
}
