use super::*;

const FILE: &str = include_str!("../../../../../charts/rookery/rules/servers.rules.yaml");
const ANY_SERVERS: &str = r#"namespace=~".*",pod=~".*""#;
const ANY_RECORDED: &str = r#"namespace=~".*",rookery=~".*""#;

/// The groups of the file, each with its rules.
fn kept() -> Vec<(String, Vec<Value>)> {
    groups(&serde_saphyr::from_str::<Value>(FILE).unwrap()["groups"])
}

fn made(spec: &str) -> Vec<(String, Vec<Value>)> {
    groups(&find(&built(spec), "PrometheusRule", "chat")["spec"]["groups"])
}

fn groups(groups: &Value) -> Vec<(String, Vec<Value>)> {
    let read = |group: &Value| {
        let rules = group["rules"].as_array().unwrap().clone();
        (group["name"].as_str().unwrap().to_owned(), rules)
    };
    groups.as_array().unwrap().iter().map(read).collect()
}

#[test]
fn a_resource_has_the_rules_of_the_file_for_its_servers_alone() {
    let servers = r#"namespace="team",pod=~"chat-[a-z0-9]+-[a-z0-9]{5}""#;
    let recorded = r#"namespace="team",rookery="chat""#;
    let mut kept = kept();
    for rule in kept.iter_mut().flat_map(|(_, rules)| rules) {
        let expr = rule["expr"].as_str().unwrap();
        let expr = expr.replace(ANY_SERVERS, servers).replace(ANY_RECORDED, recorded);
        rule["expr"] = expr.into();
        rule["labels"]["rookery"] = "chat".into();
    }
    assert_eq!(made(FULL), kept);
}

#[test]
fn every_selector_of_the_file_can_be_narrowed() {
    for rule in kept().iter().flat_map(|(_, rules)| rules) {
        let expr = rule["expr"].as_str().unwrap();
        let series = |prefix: &str| expr.matches(prefix).count();
        assert_eq!(series("rookery_"), expr.matches(ANY_SERVERS).count(), "{expr}");
        assert_eq!(series("rookery:"), expr.matches(ANY_RECORDED).count(), "{expr}");
        assert_eq!(series("{"), series("rookery_") + series("rookery:"), "{expr}");
    }
}

#[test]
fn without_redis_there_are_no_redis_rules() {
    let alone = find(&built("{}"), "PrometheusRule", "chat").to_string();
    assert!(!alone.contains("rookery_redis"), "it would never be there");
    assert_eq!(made("{}").len() + 1, kept().len());
}

#[test]
fn alerts_link_to_where_the_pages_are() {
    let page = |spec: &str| {
        let rules = made(spec).into_iter().flat_map(|(_, rules)| rules);
        let absent = rules.into_iter().find(|rule| rule["alert"] == "RookeryAbsent").unwrap();
        absent["annotations"]["runbook_url"].as_str().unwrap().to_owned()
    };
    assert_eq!(page("{}"), "docs/runbooks/RookeryAbsent.md");
    for url in ["https://example.com/pages", "https://example.com/pages/"] {
        let spec = format!("monitoring: {{ runbookUrl: '{url}' }}");
        assert_eq!(page(&spec), "https://example.com/pages/RookeryAbsent.md");
    }
}

#[test]
fn rules_can_be_disabled() {
    let objects = built("monitoring: { prometheusRule: false }");
    assert!(!objects.iter().any(|o| o.types.as_ref().is_some_and(|t| t.kind == "PrometheusRule")));
}
