//! What the operator's settings forbid in a resource.

use super::problem::Problems;
use crate::crd::{PodTemplate, RookerySpec};

/// What resources may ask for, as the operator's flags say. The default allows everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Patterns of images, in which `*` stands for any text; empty: every image. The operator's own
    /// default is always allowed.
    pub images: Vec<String>,
    /// Patterns of hosts, in which `*` stands for any text; empty: every host.
    pub ingress_hosts: Vec<String>,
    /// Whether annotations of the ServiceAccount are refused, by which clouds give it an identity.
    pub forbid_service_account_annotations: bool,
    /// Whether `networkPolicy.extraEgress` and `networkPolicy.enabled: false` are refused.
    pub forbid_extra_egress: bool,
}

/// Endings of annotations by which controllers take further hosts, or configuration of their own
/// that may name them.
const HOST_ANNOTATIONS: [&str; 5] =
    ["/server-alias", "-snippet", "/hostname", "/internal-hostname", "/router.rule"];

/// Checks a resource against what the operator allows.
pub(super) fn check(spec: &RookerySpec, rights: &Rights, problems: &mut Problems) {
    if !rights.images.is_empty() {
        check_images(spec, &rights.images, problems);
    }
    if !rights.ingress_hosts.is_empty() {
        check_hosts(spec, &rights.ingress_hosts, problems);
    }
    problems.add_if(
        rights.forbid_service_account_annotations
            && !spec.pod_template.service_account_annotations.is_empty(),
        "spec.podTemplate.serviceAccountAnnotations",
        "is not allowed by the operator's --forbid-service-account-annotations; leave it out",
    );
    let policy = &spec.network_policy;
    let forbidden = "is not allowed by the operator's --forbid-extra-egress";
    problems.add_if(
        rights.forbid_extra_egress && !policy.extra_egress.is_empty(),
        "spec.networkPolicy.extraEgress",
        format_args!("{forbidden}; leave it out"),
    );
    problems.add_if(
        rights.forbid_extra_egress && !policy.enabled,
        "spec.networkPolicy.enabled",
        format_args!("is false, which {}; leave it out", &forbidden[3..]),
    );
}

fn check_images(spec: &RookerySpec, allowed: &[String], problems: &mut Problems) {
    for (field, image) in images(spec) {
        problems.add_if(
            !allowed.iter().any(|pattern| matches(pattern, image)),
            &field,
            format_args!(
                "is `{image}`, which the operator's --allow-images does not allow; it allows {}",
                allowed.join(", ")
            ),
        );
    }
}

/// Every image that a resource names, with its field.
fn images(spec: &RookerySpec) -> Vec<(String, &str)> {
    let pods = &spec.pod_template;
    let mut all: Vec<(String, &str)> =
        spec.image.iter().map(|image| ("spec.image".to_owned(), image.as_str())).collect();
    for (list, containers) in
        [("initContainers", &pods.init_containers), ("sidecars", &pods.sidecars)]
    {
        all.extend(containers.iter().enumerate().map(|(i, container)| {
            let image = container.image.as_deref().unwrap_or_default();
            (format!("spec.podTemplate.{list}[{i}].image"), image)
        }));
    }
    all.extend(image_volumes(pods));
    all
}

/// The images that are mounted as volumes.
fn image_volumes(pods: &PodTemplate) -> impl Iterator<Item = (String, &str)> {
    pods.volumes.iter().enumerate().filter_map(|(i, volume)| {
        let reference = volume.image.as_ref()?.reference.as_deref()?;
        Some((format!("spec.podTemplate.volumes[{i}].image.reference"), reference))
    })
}

fn check_hosts(spec: &RookerySpec, allowed: &[String], problems: &mut Problems) {
    let says = || format!("the operator's --allow-ingress-hosts allows {}", allowed.join(", "));
    for (field, host) in hosts(spec) {
        match host {
            Some(host) => problems.add_if(
                !allowed.iter().any(|pattern| matches(pattern, &host)),
                &field,
                format_args!("is `{host}`, which is not allowed; {}", says()),
            ),
            None => problems.add(
                field,
                format_args!("is missing, which means every host; {}: write one of them", says()),
            ),
        }
    }
    let annotations = [
        ("spec.ingress.annotations", spec.ingress.as_ref().map(|ingress| &ingress.annotations)),
        ("spec.gateway.annotations", spec.gateway.as_ref().map(|gateway| &gateway.annotations)),
        ("spec.service.annotations", spec.service.as_ref().map(|service| &service.annotations)),
    ];
    for (field, annotations) in annotations {
        let names_hosts = |key: &&String| HOST_ANNOTATIONS.iter().any(|end| key.ends_with(end));
        for key in annotations.into_iter().flat_map(|all| all.keys()).filter(names_hosts) {
            problems.add(
                field,
                format_args!("has `{key}`, which may name further hosts; {}: leave it out", says()),
            );
        }
    }
}

/// Every host that a resource asks for, with its field; `None` where it asks for all.
fn hosts(spec: &RookerySpec) -> Vec<(String, Option<String>)> {
    let named = |field: &'static str| {
        move |(i, host): (usize, &'_ String)| (format!("{field}[{i}]"), Some(host.to_owned()))
    };
    let mut all = Vec::new();
    if let Some(ingress) = &spec.ingress {
        if ingress.host.is_some() || ingress.hosts.is_empty() {
            all.push(("spec.ingress.host".to_owned(), ingress.host.clone()));
        }
        all.extend(ingress.hosts.iter().enumerate().map(named("spec.ingress.hosts")));
    }
    if let Some(gateway) = &spec.gateway {
        if gateway.hostnames.is_empty() {
            all.push(("spec.gateway.hostnames".to_owned(), None));
        }
        all.extend(gateway.hostnames.iter().enumerate().map(named("spec.gateway.hostnames")));
    }
    all
}

/// Whether a pattern, in which `*` stands for any text, matches a whole text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        // The earliest occurrence leaves the most for the next part.
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text) in [
            ("a", "a"),
            ("*", ""),
            ("registry.example.com/*", "registry.example.com/a/b:1"),
            ("*/rookery:*", "r/rookery:1"),
            ("*.example.com", "chat.example.com"),
            ("a*b*c", "axxbyyc"),
            ("*.example.com", "*.example.com"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("a", "ab"),
            ("registry.example.com/*", "registry.example.com.evil/a"),
            ("*.example.com", "example.com"),
            ("*.example.com", "chat.example.com.evil"),
            ("ab*ba", "aba"),
            ("a*b*c", "axxc"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
