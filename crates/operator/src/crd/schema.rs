//! Makes the generated schema one that a cluster accepts.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceValidation, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use rookery_config::tree::{MAX_ITEMS, MAX_TEXT};

use super::validations;

/// Makes the schema structural (Kubernetes documentation, "Extend the Kubernetes API with
/// CustomResourceDefinitions", section "Specifying a structural schema"): no `additionalProperties`
/// beside properties, and `int-or-string` for a number or string. Removes formats that Kubernetes
/// does not know, and the defaults of `spec.config`, which the servers know themselves.
pub(super) fn make_structural(validation: &mut CustomResourceValidation) {
    let Some(root) = &mut validation.open_api_v3_schema else { return };
    each(root, &mut |schema| {
        if schema.properties.is_some()
            && matches!(schema.additional_properties, Some(JSONSchemaPropsOrBool::Bool(_)))
        {
            schema.additional_properties = None;
        }
        // Beside `additionalProperties`, what is below an unknown field would be pruned.
        if schema.x_kubernetes_preserve_unknown_fields == Some(true) {
            schema.additional_properties = None;
        }
        schema.format = schema.format.take().filter(|format| FORMATS.contains(&format.as_str()));
        schema.example = None;
        if is_quantity(schema) {
            schema.type_ = None;
            schema.x_kubernetes_int_or_string = Some(true);
        }
        // A word or a list, as `rooms`: a structural schema has one type only.
        if let Some([list, word]) = schema.any_of.as_deref()
            && word.enum_.is_some()
            && list.items.is_some()
        {
            (schema.any_of, schema.type_, schema.items) = (None, None, None);
            schema.enum_ = None;
            schema.x_kubernetes_preserve_unknown_fields = Some(true);
        }
        if let Some(all) = &schema.any_of
            && is_int_or_string(all)
        {
            schema.pattern = all.iter().find_map(|one| one.pattern.clone());
            schema.any_of = None;
            schema.x_kubernetes_int_or_string = Some(true);
        }
    });
    if let Some(spec) = root.properties.as_mut().and_then(|all| all.get_mut("spec")) {
        each(spec, &mut validations::of_units);
        validations::add(spec);
        each(spec, &mut bound);
    }
    let config = root
        .properties
        .as_mut()
        .and_then(|properties| properties.get_mut("spec")?.properties.as_mut()?.get_mut("config"));
    if let Some(config) = config {
        each(config, &mut |schema| schema.default = None);
    }
    set_status_of_unseen(root);
}

/// Gives a resource that no operator has seen a status of no generation: what waits for it by kstatus
/// would take one without a status for ready (kstatus, README, section "Properties").
fn set_status_of_unseen(root: &mut JSONSchemaProps) {
    if let Some(status) = root.properties.as_mut().and_then(|all| all.get_mut("status")) {
        status.default = Some(JSON(serde_json::json!({ "observedGeneration": -1 })));
    }
}

/// Bounds every list, map and text as `rookery check` and `rookery render` do, so that a resource
/// cannot be made slow to read.
fn bound(schema: &mut JSONSchemaProps) {
    let items = i64::try_from(MAX_ITEMS).expect("it is a small constant");
    let text = i64::try_from(MAX_TEXT).expect("it is a small constant");
    let is = |kind: &str| schema.type_.as_deref() == Some(kind);
    let is_untyped = schema.x_kubernetes_preserve_unknown_fields == Some(true);
    let is_quantity = schema.x_kubernetes_int_or_string == Some(true);
    if is("array") || is_untyped {
        schema.max_items.get_or_insert(items);
    }
    if (is("object") && schema.additional_properties.is_some()) || is_untyped {
        schema.max_properties.get_or_insert(items);
    }
    if (is("string") && schema.enum_.is_none()) || is_untyped || is_quantity {
        schema.max_length.get_or_insert(text);
    }
}

/// Whether a bound is the one that every list, map or text has.
pub(crate) fn is_general_bound(name: &str, limit: &serde_json::Value) -> bool {
    match name {
        "maxItems" | "maxProperties" => *limit == MAX_ITEMS,
        "maxLength" => *limit == MAX_TEXT,
        _ => false,
    }
}

/// Whether these are a number and a string, as for [`rookery_config::units::Size`]. The derive has
/// already moved their types elsewhere.
fn is_int_or_string(all: &[JSONSchemaProps]) -> bool {
    let [number, text] = all else { return false };
    number.minimum.is_some() && text.pattern.is_some()
}

/// Whether this is Kubernetes's `Quantity`, which its own schema calls a string.
fn is_quantity(schema: &JSONSchemaProps) -> bool {
    let described = schema.description.as_deref().unwrap_or_default();
    schema.type_.as_deref() == Some("string")
        && described.starts_with("Quantity is a fixed-point representation")
}

/// The formats that Kubernetes validates in a structural schema.
const FORMATS: [&str; 4] = ["int32", "int64", "date-time", "double"];

pub(super) fn each(schema: &mut JSONSchemaProps, change: &mut impl FnMut(&mut JSONSchemaProps)) {
    change(schema);
    for inner in schema.properties.iter_mut().flat_map(|map| map.values_mut()) {
        each(inner, change);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(inner)) = &mut schema.additional_properties {
        each(inner, change);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(inner)) => each(inner, change),
        Some(JSONSchemaPropsOrArray::Schemas(all)) => {
            all.iter_mut().for_each(|inner| each(inner, change));
        }
        None => {}
    }
}
