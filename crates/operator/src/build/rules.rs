//! The rules of a resource's PrometheusRule: those that the chart has as a plain file, with
//! selectors that take this resource's servers alone.

use serde_json::{Map, Value};

use crate::validate::Validated;

/// What is tested, and what a Prometheus without the operator takes as it stands.
const SERVERS: &str = include_str!("../../../../charts/rookery/rules/servers.rules.yaml");

/// The matchers in every selector of the servers' series in [`SERVERS`].
const ANY_SERVERS: &str = r#"namespace=~".*",pod=~".*""#;

/// The matchers in every selector of series that a rule in [`SERVERS`] records.
const ANY_RECORDED: &str = r#"namespace=~".*",rookery=~".*""#;

/// The label that tells a resource's recorded series and alerts from another's.
const LABEL: &str = "rookery";

/// The group of rules about Redis.
const REDIS: &str = "rookery-redis";

/// Where the pages that alerts link to are, in this repository.
const RUNBOOKS: &str = "docs/runbooks";

/// The groups of a resource.
pub(super) fn groups(v: &Validated) -> Value {
    let text = SERVERS.replace(ANY_SERVERS, &servers(v)).replace(ANY_RECORDED, &recorded(v));
    let mut file: Map<String, Value> = serde_saphyr::from_str(&text)
        .expect("a test reads it, and names have letters, digits and dashes only");
    let mut groups = file.remove("groups").unwrap_or_default();
    let all = groups.as_array_mut().expect("a test sees that they are a list");
    all.retain(|group| v.config.redis.is_some() || group["name"] != REDIS);
    for rule in all.iter_mut().flat_map(|group| group["rules"].as_array_mut()).flatten() {
        rule["labels"][LABEL] = v.name.as_str().into();
        let base = v.spec.monitoring.runbook_url.as_deref().map(|url| url.trim_end_matches('/'));
        if let (Some(base), Some(page)) = (base, rule["annotations"]["runbook_url"].as_str()) {
            rule["annotations"]["runbook_url"] = page.replacen(RUNBOOKS, base, 1).into();
        }
    }
    groups
}

/// Selects series of the servers' pods, by the labels that every way to scrape pods gives. A
/// pod's name is the Deployment's, then a hash, then five characters.
fn servers(v: &Validated) -> String {
    let pod = format!("pod=~\"{}-[a-z0-9]+-[a-z0-9]{{5}}\"", v.name);
    within(v, pod)
}

/// Selects series that a rule of this resource recorded.
fn recorded(v: &Validated) -> String {
    within(v, format!("{LABEL}=\"{}\"", v.name))
}

/// In the resource's namespace, where it is known.
fn within(v: &Validated, matcher: String) -> String {
    match &v.namespace {
        Some(namespace) => format!("namespace=\"{namespace}\",{matcher}"),
        None => matcher,
    }
}
