//! The mistakes that people make in a resource: where each is caught, and what the message names.
//! `tests/mistakes/table.json` lists them; `tests/e2e/22-mistakes.test.mjs` tries the same list on a
//! cluster.

#![allow(clippy::unwrap_used)]

#[path = "mistakes/api_server.rs"]
mod api_server;

use rookery_operator::crd::Rookery;
use rookery_operator::validate::{Defaults, validate};
use serde::Deserialize;
use serde_json::{Value, json};

/// A mistake.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Mistake {
    /// What is wrong, in words.
    mistake: String,
    /// Who catches it.
    by: By,
    /// A part of the message.
    says: String,
    /// Whether only the cluster catches it, because reading the resource loses what is wrong.
    #[serde(default)]
    only_applied: bool,
    /// The spec, to which anonymous access is added where it has no `config.auth`.
    spec: Value,
}

/// Who catches a mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum By {
    /// The API server, when the resource is applied, by the types in the definition.
    Schema,
    /// The API server, when the resource is applied, by a validation rule with a message of ours.
    Rule,
    /// The operator, in the condition Ready, and `rookery render`.
    Condition,
}

fn mistakes() -> Vec<Mistake> {
    let mut all: Vec<Mistake> =
        serde_json::from_str(include_str!("../../../tests/mistakes/table.json")).unwrap();
    for mistake in &mut all {
        if mistake.spec["config"].is_null() {
            mistake.spec["config"] = json!({ "auth": { "anonymous": true } });
        }
    }
    all
}

#[test]
fn the_table_has_every_kind_of_mistake_once() {
    let all = mistakes();
    assert!(all.len() >= 76, "{}", all.len());
    let mut names: Vec<&str> = all.iter().map(|mistake| mistake.mistake.as_str()).collect();
    names.sort_unstable();
    let before = names.len();
    names.dedup();
    assert_eq!(names.len(), before, "a mistake is listed twice");
}

#[test]
fn what_apply_can_refuse_is_refused_at_apply() {
    for Mistake { mistake, by, says, spec, .. } in mistakes() {
        let (typed, ruled) = api_server::problems(&spec);
        let refused_by = match (typed.is_empty(), ruled.is_empty()) {
            (false, _) => By::Schema,
            (true, false) => By::Rule,
            (true, true) => By::Condition,
        };
        assert_eq!(refused_by, by, "{mistake}: {typed:?} {ruled:?}");
        if by != By::Condition {
            let said = [typed, ruled].concat().join("\n");
            assert!(said.contains(&says), "{mistake}: {said}");
        }
    }
}

#[test]
fn what_no_cluster_has_seen_is_refused_by_render_too() {
    let defaults = Defaults { image: "rookery:test".to_owned(), ..Defaults::default() };
    for Mistake { mistake, by, says, only_applied, spec } in mistakes() {
        // Unknown fields are found by the reader of files.
        if by == By::Schema || only_applied {
            continue;
        }
        let Ok(spec) = serde_json::from_value(spec) else { continue };
        let invalid = validate(&Rookery::new("chat", spec), &defaults).err();
        let said = invalid.map(|invalid| invalid.to_string()).unwrap_or_default();
        assert!(!said.is_empty(), "{mistake} is taken");
        assert!(by != By::Condition || said.contains(&says), "{mistake}: {said}");
    }
}

#[test]
fn a_resource_without_mistakes_is_accepted() {
    for text in [
        include_str!("../../../manifests/examples/minimal.yaml"),
        include_str!("../../../manifests/examples/traefik.yaml"),
        include_str!("../../../manifests/examples/haproxy.yaml"),
    ] {
        let document = text.split("\n---").find(|one| one.contains("kind: Rookery")).unwrap();
        let resource: Value = serde_saphyr::from_str(document).unwrap();
        let (typed, ruled) = api_server::problems(&resource["spec"]);
        assert_eq!((typed, ruled), (Vec::new(), Vec::new()), "{document}");
    }
}
