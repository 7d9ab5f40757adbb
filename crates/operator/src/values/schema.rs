//! Generates the JSON Schemas of [`Values`] and [`OperatorValues`] for Helm.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{OperatorValues, Values, forms};

/// JSON Schema of the values of the chart `rookery`.
pub fn schema() -> Value {
    let mut schema = schema_of::<Values>("Values of the Rookery chart");
    let mut forms = forms::of_the_definition();
    ask_for_quotes(&mut forms);
    schema["allOf"] = forms;
    schema
}

/// JSON Schema of the values of the chart `rookery-operator`.
pub fn operator_schema() -> Value {
    schema_of::<OperatorValues>("Values of the Rookery operator's chart")
}

/// A schema in draft 7, which every Helm 3 supports.
///
/// Unknown keys are rejected everywhere, in the parts defined by Kubernetes too. Defaults are left
/// out, because `values.yaml` holds the chart's.
fn schema_of<T: JsonSchema>(title: &str) -> Value {
    let settings = SchemaSettings::draft07();
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    schema["title"] = title.into();
    tighten(&mut schema);
    ask_for_quotes(&mut schema);
    schema["definitions"]["Quoted"] = json!({ "const": QUOTE_IT });
    schema["definitions"]["QuotedKey"] = json!({ "const": QUOTE_KEY });
    schema
}

/// Rejects unknown keys, removes keywords that only Kubernetes reads, and allows numbers as
/// quantities.
fn tighten(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.retain(|key, _| {
                !key.starts_with("x-kubernetes-")
                    && !["default", "format", "unevaluatedProperties"].contains(&key.as_str())
            });
            if is_quantity(map) {
                map["type"] = ["string", "number"].as_slice().into();
                map["description"] = "A number with an optional suffix: 100m, 2, 128Mi.".into();
            }
            for (key, inner) in map.iter_mut() {
                match key.as_str() {
                    "properties" | "definitions" => {
                        inner
                            .as_object_mut()
                            .into_iter()
                            .flatten()
                            .for_each(|(_, one)| tighten(one));
                    }
                    _ => tighten(inner),
                }
            }
            if map.contains_key("properties") {
                map.insert("additionalProperties".to_owned(), false.into());
            }
        }
        Value::Array(all) => all.iter_mut().for_each(tighten),
        _ => {}
    }
}

/// Said of a text that is `true` or `false`. Helm prints a `const` with the path of the value.
const QUOTE_IT: &str = "a text: quote it, because Helm reads on, off, yes and no without quotes as \
    true and false (YAML 1.1)";

/// Said of a key that is `true` or `false`.
const QUOTE_KEY: &str = "a key in quotes, such as \"on\": quote it, because Helm reads on, off, yes \
    and no without quotes as true and false (YAML 1.1)";

/// Adds a sentence for the words that YAML 1.1 reads as booleans (yaml.org/type/bool.html), where a
/// text or a key is expected.
fn ask_for_quotes(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                match (key.as_str(), inner) {
                    ("properties" | "definitions", Value::Object(all)) => {
                        if all.contains_key("on") {
                            let key = json!({ "$ref": "#/definitions/QuotedKey" });
                            all.insert("true".to_owned(), key);
                        }
                        all.iter_mut().for_each(|(_, one)| ask_for_quotes(one));
                    }
                    (_, inner) => ask_for_quotes(inner),
                }
            }
            if is_text(map) {
                // Beside a type that does not match, nothing more is looked at.
                let kinds = map.remove("type");
                map.insert("if".to_owned(), json!({ "type": "boolean" }));
                map.insert("then".to_owned(), json!({ "$ref": "#/definitions/Quoted" }));
                map.insert("else".to_owned(), json!({ "type": kinds }));
            }
            if map.get("additionalProperties").is_some_and(Value::is_object) {
                let key = json!({ "$ref": "#/definitions/QuotedKey" });
                map.insert("patternProperties".to_owned(), json!({ "^(true|false)$": key }));
            }
        }
        Value::Array(all) => all.iter_mut().for_each(ask_for_quotes),
        _ => {}
    }
}

/// Whether any text is accepted, and no boolean.
fn is_text(map: &Map<String, Value>) -> bool {
    let kinds = map.get("type");
    let has = |kind: &str| match kinds {
        Some(Value::Array(all)) => all.iter().any(|one| one == kind),
        Some(one) => one == kind,
        None => false,
    };
    has("string") && !has("boolean") && !map.contains_key("enum") && !map.contains_key("const")
}

/// Whether this is Kubernetes's `Quantity`, which its own schema calls a string.
fn is_quantity(map: &Map<String, Value>) -> bool {
    let described = map.get("description").and_then(Value::as_str).unwrap_or_default();
    map.get("type").is_some_and(|kind| kind == "string")
        && described.starts_with("Quantity is a fixed-point representation")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_with_properties_rejects_unknown_keys() {
        fn check(at: &str, schema: &Value) {
            match schema {
                Value::Object(map) => {
                    if map.get("properties").is_some_and(|p| p.get("type").is_none()) {
                        assert_eq!(map.get("additionalProperties"), Some(&false.into()), "{at}");
                    }
                    map.iter().for_each(|(key, inner)| check(&format!("{at}/{key}"), inner));
                }
                Value::Array(all) => all.iter().for_each(|inner| check(at, inner)),
                _ => {}
            }
        }
        let mut values = schema();
        // What is said beyond the types of values whose keys are checked elsewhere.
        values.as_object_mut().unwrap().remove("allOf");
        check("", &values);
        check("", &operator_schema());
    }

    #[test]
    fn the_keys_of_the_resource_are_at_the_top_level() {
        let schema = schema();
        let spec = crate::crd::definition().spec.versions.remove(0);
        let spec = spec.schema.unwrap().open_api_v3_schema.unwrap().properties.unwrap();
        for key in spec["spec"].properties.as_ref().unwrap().keys() {
            assert!(schema["properties"].get(key).is_some(), "{key}");
        }
    }

    #[test]
    fn the_configuration_is_part_of_the_schema() {
        let schema = schema();
        let config = &schema["properties"]["config"];
        let config = config["$ref"].as_str().map_or(config, |at| schema.pointer(&at[1..]).unwrap());
        assert!(config["properties"]["limits"].is_object(), "{config:#}");
        assert_eq!(config["additionalProperties"], false);
        assert!(config["properties"]["backend"].is_object(), "{config:#}");
    }
}
