use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::*;
use crate::crd::Rookery;
use crate::validate::whole_seconds;
use crate::validate::{Defaults, Validated, validate};

const REDIS: &str = "redis: { url: 'redis://r' }\nconfig: { auth: { anonymous: true } }\n";

fn read(spec: &str) -> Result<Validated, String> {
    of_text(&format!("{REDIS}{spec}"))
}

fn of_text(spec: &str) -> Result<Validated, String> {
    let spec: Value = serde_saphyr::from_str(spec).unwrap();
    let resource = Rookery::new("chat", serde_json::from_value(spec).unwrap());
    let defaults = Defaults { image: "rookery:test".to_owned(), ..Defaults::default() };
    validate(&resource, &defaults).map_err(|invalid| invalid.to_string())
}

#[track_caller]
fn valid(spec: &str) -> Validated {
    read(spec).unwrap()
}

fn percent(text: &str) -> IntOrString {
    IntOrString::String(text.to_owned())
}

#[test]
fn many_servers_are_replaced_at_once_and_two_one_after_the_other() {
    let many = valid("replicas: { max: 3 }").rollout;
    assert_eq!(many.max_surge, percent("100%"));
    assert_eq!((many.max_unavailable, many.min_ready.as_secs()), (IntOrString::Int(0), 5));
    let two = valid("replicas: { max: 2 }").rollout;
    assert_eq!((two.max_surge, two.min_ready.as_secs()), (IntOrString::Int(1), 35));
    for alone in ["order: turns", "patience: 0s"] {
        let spec = format!(
            "redis: {{ url: 'redis://r' }}\nreplicas: {{ max: 9 }}\n\
             config: {{ auth: {{ anonymous: true }}, drain: {{ {alone} }} }}"
        );
        let rollout = of_text(&spec).unwrap().rollout;
        assert_eq!((rollout.max_surge, rollout.min_ready.as_secs()), (IntOrString::Int(1), 35));
    }
}

#[test]
fn what_is_written_is_done() {
    let v = valid(
        "rollout: { maxSurge: 25%, maxUnavailable: 1, paceOfReconnects: 100 }\n\
         replicas: { max: 8 }",
    );
    assert_eq!(
        (v.rollout.max_surge, v.rollout.max_unavailable),
        (percent("25%"), IntOrString::Int(1))
    );
    let drain = &v.config.drain;
    assert_eq!(drain.pace.unwrap().0, 100);
    // 80,000 clients.
    assert_eq!(drain.longest_window().as_secs(), 960);
    assert_eq!(valid("rollout: { paceOfReconnects: 7/s }").config.drain.pace.unwrap().0, 7);
}

#[test]
fn a_number_of_servers_alone_replaces_none_of_them() {
    let of = |spec: &str| {
        let v = valid(spec);
        (v.restart_text.clone(), v.longest_drain_seconds())
    };
    let pods = of("replicas: { min: 3, max: 5 }");
    for same in [
        "replicas: { min: 1, max: 1000 }",
        "autoscaling: { connectionsPerPod: 50000 }",
        "autoscaling: { enabled: false }",
        "rollout: { maxSurge: 100% }",
    ] {
        assert_eq!(of(same), pods, "{same}");
    }
    let paced = |most: u32| {
        of(&format!("rollout: {{ paceOfReconnects: 500 }}\nreplicas: {{ max: {most} }}"))
    };
    assert_eq!(paced(13), paced(24), "by factors of two");
    assert_ne!(paced(24), paced(25));
}

#[test]
fn smaller_surges_wait_longer() {
    let patience = |rollout: &str| {
        valid(&format!("rollout: {{ {rollout} }}\nreplicas: {{ max: 20 }}")).config.drain.patience.0
    };
    assert_eq!(patience("maxSurge: 100%").as_secs(), 55);
    assert_eq!(patience("maxSurge: 25%").as_secs(), 95);
    assert_eq!(patience("maxSurge: 10%").as_secs(), 245);
    assert_eq!(patience("maxSurge: 1").as_secs(), 31 * 25 + 20);
    assert_eq!(patience("maxSurge: 0, maxUnavailable: 50%").as_secs(), 55);
}

#[test]
fn mistakes_are_named() {
    for (rollout, says) in [
        ("maxSurge: 25", ""),
        ("maxSurge: 0, maxUnavailable: 1", ""),
        ("maxSurge: 0", "spec.rollout: maxSurge and maxUnavailable are both 0"),
        ("maxSurge: 0%, maxUnavailable: 0", "spec.rollout: maxSurge and maxUnavailable are both 0"),
        ("maxSurge: -1", "spec.rollout.maxSurge: is `-1`; expected a number of servers such as 2"),
        ("maxSurge: '25'", "spec.rollout.maxSurge: is `25`"),
        ("maxSurge: '%'", "spec.rollout.maxSurge: is `%`"),
        ("maxUnavailable: 1.5%", "spec.rollout.maxUnavailable: is `1.5%`"),
        ("maxUnavailable: 101%", "spec.rollout.maxUnavailable: is more than 100%"),
    ] {
        let said =
            read(&format!("rollout: {{ {rollout} }}")).map_or_else(|said| said, |_| String::new());
        assert!(said.contains(says) && said.is_empty() == says.is_empty(), "{rollout}: {said}");
    }
}

#[test]
fn rebalancing_is_on_unless_it_is_manual() {
    let of = |spec: &str| valid(spec).config.rebalance;
    assert_eq!(of("").unwrap().rate.0, 50);
    let written = of("rebalance: { threshold: 30%, rate: 10, after: 5m }").unwrap();
    assert_eq!((written.threshold.0, written.rate.0, written.after.0.as_secs()), (30, 10, 300));
    assert!(of("rebalance: { mode: manual }").is_none());
}

#[test]
fn a_drain_that_outlasts_a_node_is_warned_about() {
    let warns = |pace: u32| {
        let v = valid(&format!("rollout: {{ paceOfReconnects: {pace} }}\nreplicas: {{ max: 20 }}"));
        v.warnings.iter().any(|warning| warning.contains("cluster-autoscaler"))
    };
    assert!(!warns(1000) && warns(200));
}

/// The rows of the table in docs/upgrade.md: servers, connections of each, `paceOfReconnects`, and
/// what follows from them.
#[test]
fn the_documented_table_is_what_the_formulas_say() {
    let page = include_str!("../../../../../docs/upgrade.md");
    let table = page.split("| Pods |").nth(1).expect("the table").split("\n\n").next().unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .skip(2)
        .map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(rows.len() >= 5);
    for row in rows {
        let [pods, each, surge, pace, window, time, grace] = row[..] else { panic!("{row:?}") };
        let number = |text: &str| text.replace(',', "").parse::<u32>().unwrap();
        let rollout = match pace.strip_suffix(" (default)") {
            Some(_) => format!("rollout: {{ maxSurge: {surge} }}"),
            None => {
                let pace = pace.replace(',', "");
                format!("rollout: {{ maxSurge: {surge}, paceOfReconnects: {pace} }}")
            }
        };
        let v = valid(&format!("replicas: {{ max: {pods} }}\n{rollout}"));
        let (pods, each) = (number(pods), number(each));
        let budget = match pace.strip_suffix(" (default)") {
            Some(derived) => {
                let derived = number(derived.trim_end_matches("/s"));
                assert_eq!(derived, v.config.limits.connect_rate.0 / 2 * pods, "{row:?}");
                derived
            }
            None => number(pace.trim_end_matches("/s")),
        };
        let needed = (pods * each).div_ceil(budget).max(whole_seconds(v.window));
        let rounds = rounds(&v.spec, v.max_replicas);
        let taken =
            rounds * whole_seconds(v.rollout.min_ready + STARTUP) + whole_seconds(v.lead) + needed;
        assert_eq!(window, format!("{needed} s"), "{row:?}");
        assert_eq!(time, minutes(taken), "{row:?}");
        assert_eq!(grace, format!("{} s", v.longest_drain_seconds() + 15), "{row:?}");
    }
}

fn minutes(seconds: u32) -> String {
    format!("{}:{:02}", seconds / 60, seconds % 60)
}
