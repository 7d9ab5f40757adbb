//! What fields of the values have to do with each other, as JSON Schema: those rules of the
//! definition that the chart's templates do not check.

use serde_json::{Value, json};

/// Adds the rules to the schema of the values.
pub(super) fn add(schema: &mut Value) {
    for (path, holds, sentence) in rules() {
        let mut at = &mut *schema;
        for step in path.split('.').filter(|step| !step.is_empty()) {
            at = match step {
                "[]" => &mut at["items"],
                "{}" => &mut at["additionalProperties"],
                name => &mut at["properties"][name],
            };
        }
        if at["allOf"].is_null() {
            at["allOf"] = json!([]);
        }
        at["allOf"].as_array_mut().into_iter().for_each(|all| all.push(unless(&holds, sentence)));
    }
}

/// What a value must be, so that a sentence is said otherwise.
pub(super) fn unless(holds: &Value, sentence: &str) -> Value {
    json!({ "if": { "not": holds }, "then": { "const": sentence } })
}

/// The form of a text of the chart's own, as [`unless`] says it.
pub(super) fn text(pattern: &str, sentence: &str) -> Value {
    json!([unless(&json!({ "pattern": pattern }), sentence)])
}

/// An object that has a field.
fn has(field: &str) -> Value {
    json!({ "required": [field], "properties": { field: { "not": { "type": "null" } } } })
}

/// An object in which a field, if it has it, is as `schema` says.
fn each(field: &str, schema: &Value) -> Value {
    json!({ "properties": { field: schema } })
}

/// Path of the object, what must hold, and the sentence otherwise.
fn rules() -> Vec<(&'static str, Value, &'static str)> {
    let mut all = of_the_configuration();
    all.extend(of_tokens());
    all.extend(of_the_pods());
    all.push((
        "service",
        json!({ "anyOf": [
            { "required": ["type"], "properties": { "type": { "const": "LoadBalancer" } } },
            { "not": { "anyOf": [has("loadBalancerClass"), { "required": ["loadBalancerSourceRanges"],
                "properties": { "loadBalancerSourceRanges": { "minItems": 1 } } }] } },
        ] }),
        "service.loadBalancerClass needs type: LoadBalancer, and so does loadBalancerSourceRanges",
    ));
    all
}

fn of_tokens() -> Vec<(&'static str, Value, &'static str)> {
    let keys = ["secretFile", "publicKeyFile", "jwksUrl"].map(has);
    let shared = json!({ "items": { "pattern": "^HS" } });
    let public = json!({ "items": { "not": { "pattern": "^HS" } } });
    vec![
        (
            "config.auth.jwt",
            json!({ "anyOf": [{ "type": "null" }, { "oneOf": keys }] }),
            "write exactly one of secretFile, publicKeyFile and jwksUrl",
        ),
        (
            "config.auth.jwt",
            json!({ "if": has("secretFile"),
                "then": { "allOf": [has("algorithms"), each("algorithms", &shared)] },
                "else": each("algorithms", &public) }),
            "secretFile goes with algorithms HS256, HS384 and HS512, and publicKeyFile and jwksUrl with \
             the others",
        ),
    ]
}

fn of_the_configuration() -> Vec<(&'static str, Value, &'static str)> {
    let own = ["EIO", "transport", "sid", "t", "j", "b64"];
    let taken = [
        "connect",
        "connect_error",
        "disconnect",
        "disconnecting",
        "newListener",
        "removeListener",
        "auth:refresh",
    ];
    let by_field = json!({ "required": ["operation"], "properties": {
        "operation": { "const": "byField" } } });
    vec![
        (
            "config.auth",
            each("queryParam", &json!({ "not": { "enum": own } })),
            "queryParam is one that Engine.IO uses itself: use another name, such as token",
        ),
        (
            "config.socketio.cors",
            json!({ "if": { "required": ["credentials"], "properties": {
                    "credentials": { "const": true } } },
                "then": { "required": ["origins"], "properties": {
                    "origins": { "minItems": 1, "items": { "not": { "const": "*" } } } } } }),
            "credentials needs origins that are named, such as https://app.example.com: browsers send \
             no cookies to *",
        ),
        (
            "config.events.[]",
            each("on", &json!({ "not": { "enum": taken } })),
            "on is an event that clients cannot send as their own",
        ),
        (
            "config.events.[]",
            json!({ "if": by_field, "then": has("byField"), "else": { "not": has("byField") } }),
            "byField goes with operation: byField",
        ),
    ]
}

fn of_the_pods() -> Vec<(&'static str, Value, &'static str)> {
    let privileged = json!({ "privileged": { "const": true } });
    let privileged = json!({ "required": ["privileged"], "properties": privileged });
    let unprivileged = each("securityContext", &json!({ "not": privileged }));
    let says_privileged = "securityContext.privileged weakens the pods' security: leave it out";
    let in_bytes = each("memory", &json!({ "not": { "type": "string", "pattern": "m$" } }));
    let says_in_bytes =
        "memory in thousandths of a byte (`m`) is less than one byte: write M or Mi";
    let confined = json!({ "pattern": "^(runtime/default$|localhost/)" });
    vec![
        (
            "podTemplate.annotations",
            json!({ "patternProperties": {
                r"^(container\.apparmor\.security\.beta|container\.seccomp\.security\.alpha|seccomp\.security\.alpha)\.kubernetes\.io/": confined,
            } }),
            "has an annotation that weakens the pods' security: leave it out",
        ),
        ("podTemplate.sidecars.[]", unprivileged.clone(), says_privileged),
        ("podTemplate.initContainers.[]", unprivileged, says_privileged),
        (
            "podTemplate.volumes.[]",
            json!({ "not": has("hostPath") }),
            "hostPath weakens the pods' security: use another kind of volume",
        ),
        (
            "podTemplate.extraEnv.[]",
            json!({ "not": { "allOf": [has("value"), has("valueFrom")] } }),
            "write value or valueFrom, not both",
        ),
        ("resources.requests", in_bytes.clone(), says_in_bytes),
        ("resources.limits", in_bytes, says_in_bytes),
    ]
}
