use serde_json::json;

use super::*;

fn schema() -> Value {
    let definition = serde_json::to_value(definition()).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// Every schema in `schema`, with its path.
fn each(path: &str, schema: &Value, look: &mut impl FnMut(&str, &Value)) {
    look(path, schema);
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        each(&format!("{path}.{name}"), inner, look);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            each(&format!("{path}[]"), &schema[inner], look);
        }
    }
}

#[test]
fn the_schema_is_structural() {
    each("", &schema(), &mut |path, schema| {
        let free = schema["x-kubernetes-int-or-string"] == true
            || schema["x-kubernetes-preserve-unknown-fields"] == true;
        assert!(schema["type"].is_string() || free, "{path} has no type: {schema}");
        assert_ne!(schema["additionalProperties"], false, "{path}");
        assert!(schema.get("$ref").is_none(), "{path}");
        let is_kept = schema["x-kubernetes-preserve-unknown-fields"] == true;
        let would_prune = !schema["additionalProperties"].is_null();
        assert!(!(is_kept && would_prune), "{path}: fields of fields would be pruned");
    });
}

#[test]
fn the_status_of_a_resource_that_no_operator_has_seen_is_of_no_generation() {
    let status = schema()["properties"]["status"]["default"].clone();
    assert_eq!(status, json!({ "observedGeneration": -1 }));
    let status: RookeryStatus = serde_json::from_value(status).unwrap();
    assert!(status.conditions.is_empty());
}

#[test]
fn every_field_has_a_description() {
    let ours = schema();
    let spec = &ours["properties"]["spec"]["properties"];
    for (name, field) in spec.as_object().unwrap() {
        assert!(field["description"].is_string(), "{name}");
    }
    each("config", &spec["config"], &mut |path, schema| {
        assert!(path.ends_with("[]") || schema["description"].is_string(), "{path}");
        assert!(schema.get("default").is_none(), "{path}: the servers know their own defaults");
    });
}

#[test]
fn sizes_may_be_numbers_or_strings() {
    let queue = schema()
        .pointer("/properties/spec/properties/config/properties/limits/properties/queue")
        .cloned()
        .unwrap();
    assert_eq!(queue["x-kubernetes-int-or-string"], true);
    let rule = &queue["x-kubernetes-validations"][0];
    assert!(rule["message"].as_str().unwrap().starts_with("expected a size"), "{rule}");
}

#[test]
fn what_this_version_always_refuses_is_not_in_the_definition() {
    let ours = schema();
    let config = &ours["properties"]["spec"]["properties"]["config"]["properties"];
    assert_eq!(config["redis"]["properties"]["wire"]["enum"], json!(["classic", "sharded"]));
    let modes = &config["redis"]["properties"]["mode"]["enum"];
    assert!(modes.to_string().contains("sentinel") && modes.to_string().contains("cluster"));
}

#[test]
fn an_empty_spec_has_the_defaults_of_the_schema() {
    let spec: RookerySpec = serde_json::from_value(json!({})).unwrap();
    assert_eq!(spec, RookerySpec::default());
    let autoscaling = schema()["properties"]["spec"]["properties"]["autoscaling"].clone();
    assert_eq!(autoscaling["default"], serde_json::to_value(&spec.autoscaling).unwrap());
    assert_eq!(autoscaling["properties"]["connectionsPerPod"]["default"], 10_000);
}

#[test]
fn a_configuration_keeps_only_the_keys_that_were_written() {
    let written = json!({"config": {"limits": {"connections": 7}}});
    let spec: RookerySpec = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(serde_json::to_value(&spec).unwrap()["config"], written["config"]);
}

#[test]
fn a_quantity_may_be_a_number() {
    let written =
        json!({"resources": {"limits": {"cpu": 2, "memory": "1Gi"}, "requests": {"cpu": 0.5}}});
    let spec: RookerySpec = serde_json::from_value(written).unwrap();
    let read = serde_json::to_value(&spec).unwrap()["resources"].take();
    assert_eq!(read["limits"], json!({"cpu": "2", "memory": "1Gi"}));
    assert_eq!(read["requests"], json!({"cpu": "0.5"}));
    let limits = schema()
        .pointer("/properties/spec/properties/resources/properties/limits/additionalProperties")
        .cloned()
        .unwrap();
    assert_eq!(limits["x-kubernetes-int-or-string"], true);
    assert!(limits.get("type").is_none());
}

#[test]
fn every_list_map_and_text_of_the_spec_is_bounded() {
    let mut unbounded = Vec::new();
    each("spec", &schema()["properties"]["spec"], &mut |path, schema| {
        let is_untyped = schema["x-kubernetes-preserve-unknown-fields"] == true;
        let is_map = schema["type"] == "object" && !schema["additionalProperties"].is_null();
        let is_text = (schema["type"] == "string" && schema["enum"].is_null())
            || schema["x-kubernetes-int-or-string"] == true;
        let needs = [
            (schema["type"] == "array" || is_untyped, "maxItems"),
            (is_map || is_untyped, "maxProperties"),
            (is_text || is_untyped, "maxLength"),
        ];
        for (_, bound) in needs.iter().filter(|(needed, bound)| *needed && schema[bound].is_null())
        {
            unbounded.push(format!("{path}: {bound}"));
        }
    });
    assert_eq!(unbounded, [""; 0]);
}

/// Whether a rule accepts a change of `config.redis`.
fn accepts(rule: &str, before: &Value, after: &Value) -> bool {
    let mut context = cel::Context::default();
    for (name, redis) in [("self", after), ("oldSelf", before)] {
        context.add_variable(name, json!({ "config": { "redis": redis } })).unwrap();
    }
    let rule = cel::Program::compile(rule).unwrap();
    rule.execute(&context).unwrap() == cel::Value::Bool(true)
}

#[test]
fn the_subscription_mode_stays_on_the_wire_that_has_modes() {
    let sharded = |mode: &str| json!({ "wire": "sharded", "subscriptionMode": mode });
    let (dynamic, private) = (sharded("dynamic"), sharded("dynamic-private"));
    for (before, after, is_accepted) in [
        (&dynamic, &json!({ "wire": "sharded" }), true),
        (&dynamic, &private, false),
        (&private, &json!({ "wire": "sharded" }), false),
        (&private, &private, true),
        // Refused by the operator; so there must be a way out.
        (&json!({ "subscriptionMode": "dynamic-private" }), &json!({}), true),
        (
            &json!({ "wire": "classic", "subscriptionMode": "dynamic-private" }),
            &json!({ "wire": "classic" }),
            true,
        ),
    ] {
        assert_eq!(
            accepts(SUBSCRIPTION_MODE_STAYS, before, after),
            is_accepted,
            "{before} to {after}"
        );
    }
}
