//! The rules of a resource's PrometheusRule: those of the chart's plain rule files, with selectors
//! that match only this resource's servers.

use serde_json::{Map, Value};

use crate::validate::Validated;

/// The plain rule file, which is tested and can be loaded by a Prometheus without the operator.
const SERVERS: &str = include_str!("../../../../charts/rookery/rules/servers.rules.yaml");

/// The matchers of every selector in [`SERVERS`] that selects series of the servers.
const ANY_SERVERS: &str = r#"namespace=~".*",pod=~".*""#;

/// The matchers of every selector in [`SERVERS`] that selects a recorded series.
const ANY_RECORDED: &str = r#"namespace=~".*",rookery=~".*""#;

/// The label that separates the recorded series and alerts of one resource from another's.
const LABEL: &str = "rookery";

/// The name of the group of rules about Redis.
const REDIS: &str = "rookery-redis";

/// The directory of the pages that alerts link to, in this repository.
const RUNBOOKS: &str = "docs/runbooks";

/// The rule groups of a resource.
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

/// Selects the series of the servers' pods, by labels that every way of scraping pods sets. A pod's
/// name is that of the Deployment, then a hash, then five characters.
fn servers(v: &Validated) -> String {
    let pod = format!("pod=~\"{}-[a-z0-9]+-[a-z0-9]{{5}}\"", v.name);
    within(v, pod)
}

/// Selects series that were recorded by a rule of this resource.
fn recorded(v: &Validated) -> String {
    within(v, format!("{LABEL}=\"{}\"", v.name))
}

/// Restricts a selector to the resource's namespace, if that is known.
fn within(v: &Validated, matcher: String) -> String {
    match &v.namespace {
        Some(namespace) => format!("namespace=\"{namespace}\",{matcher}"),
        None => matcher,
    }
}
