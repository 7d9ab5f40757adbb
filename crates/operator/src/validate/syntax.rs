//! Syntax of names and labels. Checks before anything is applied what the cluster would reject
//! object by object.

use std::collections::BTreeMap;

use super::problem::Problems;
use crate::crd::RookerySpec;

/// The most bytes of a name in DNS (RFC 1123), and so of most objects' names.
const LONGEST_NAME: usize = 253;

/// The most bytes of a label's value, and of a key without its prefix.
const LONGEST_LABEL: usize = 63;

/// Checks every name, label and annotation that is handed on.
pub(super) fn check(spec: &RookerySpec, problems: &mut Problems) {
    check_names(spec, problems);
    let pods = &spec.pod_template;
    for (field, labels) in [
        ("spec.podTemplate.labels", &pods.labels),
        ("spec.podTemplate.nodeSelector", &pods.node_selector),
        ("spec.monitoring.labels", &spec.monitoring.labels),
    ] {
        check_keys(field, labels, problems);
        for (key, value) in labels.iter().filter(|(_, value)| !is_label_value(value)) {
            problems.add(
                field,
                format_args!(
                    "has `{key}: {value}`, which is no value of a label: write at most \
                     {LONGEST_LABEL} letters, digits, `-`, `_` and `.`"
                ),
            );
        }
    }
    check_keys("spec.podTemplate.annotations", &pods.annotations, problems);
    let of_account = "spec.podTemplate.serviceAccountAnnotations";
    check_keys(of_account, &pods.service_account_annotations, problems);
    if let Some(ingress) = &spec.ingress {
        check_keys("spec.ingress.annotations", &ingress.annotations, problems);
    }
    for name in pods.env.keys().filter(|name| name.is_empty() || name.contains('=')) {
        problems.add(
            "spec.podTemplate.env",
            format_args!("has `{name}`, which is no name of a variable"),
        );
    }
}

fn check_names(spec: &RookerySpec, problems: &mut Problems) {
    let ingress = spec.ingress.as_ref();
    let secret = |name: &str| is_name(name);
    let mut check = |field: &str, name: &str, fits: bool, such_as: &str| {
        problems.add_if(
            !fits,
            field,
            format_args!("is `{name}`; expected a name such as {such_as}"),
        );
    };
    if let Some(host) = ingress.and_then(|ingress| ingress.host.as_ref()) {
        let plain = host.strip_prefix("*.").unwrap_or(host);
        check("spec.ingress.host", host, is_name(plain), "chat.example.com");
    }
    if let Some(name) = ingress.and_then(|ingress| ingress.class_name.as_ref()) {
        check("spec.ingress.className", name, is_name(name), "traefik");
    }
    let tls = ingress.and_then(|ingress| ingress.tls.as_ref());
    if let Some(name) = tls.and_then(|tls| tls.secret_name.as_ref()) {
        check("spec.ingress.tls.secretName", name, secret(name), "chat-tls");
    }
    if let Some(key) = spec.redis.as_ref().and_then(|redis| redis.url_secret.as_ref()) {
        check("spec.redis.urlSecret.name", &key.name, secret(&key.name), "chat-redis");
    }
    for (i, mount) in spec.secrets.iter().enumerate() {
        let (field, name) = (format!("spec.secrets[{i}].secretName"), &mount.secret_name);
        check(&field, name, secret(name), "chat-keys");
    }
}

fn check_keys(field: &str, map: &BTreeMap<String, String>, problems: &mut Problems) {
    for key in map.keys().filter(|key| !is_key(key)) {
        problems.add(
            field,
            format_args!("has `{key}`, which is no key; expected one such as example.com/team"),
        );
    }
}

/// Whether `text` is a subdomain (Kubernetes documentation, "Object Names and IDs", section "DNS
/// Subdomain Names").
fn is_name(text: &str) -> bool {
    let part = |part: &str| {
        is_framed(part, |b| b.is_ascii_lowercase() || b.is_ascii_digit(), |b| b == b'-')
    };
    text.len() <= LONGEST_NAME && text.split('.').all(part)
}

/// Whether `text` may be a key (same documentation, "Labels and Selectors", section "Syntax and
/// character set").
fn is_key(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    prefix.is_none_or(is_name) && !name.is_empty() && is_label_value(name)
}

fn is_label_value(text: &str) -> bool {
    let inside = |b: u8| matches!(b, b'-' | b'_' | b'.');
    text.is_empty()
        || (text.len() <= LONGEST_LABEL && is_framed(text, |b| b.is_ascii_alphanumeric(), inside))
}

/// Whether `text` begins and ends with `plain` bytes, and has `inside` ones besides.
fn is_framed(text: &str, plain: fn(u8) -> bool, inside: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|b| plain(*b))
        && bytes.last().is_some_and(|b| plain(*b))
        && bytes.iter().all(|b| plain(*b) || inside(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_dns() {
        for good in ["a", "a-b.c", "0", "chat.example.com"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "A", "a_b", "-a", "a-", "a..b", ".a", "a b", "é", &"a".repeat(254)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn keys_have_at_most_one_prefix() {
        for good in ["a", "A_b.c-d", "example.com/team", &"a".repeat(63)] {
            assert!(is_key(good), "{good}");
        }
        for bad in ["", "a/", "/a", "a/b/c", "A.b/c", "a b", "-a", &"a".repeat(64)] {
            assert!(!is_key(bad), "{bad}");
        }
        assert!(is_label_value("") && is_label_value("A1") && !is_label_value("a/b"));
    }
}
