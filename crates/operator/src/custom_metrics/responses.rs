//! Response bodies of the API: discovery, OpenAPI, metric values, and `Status` objects.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::pods::{PodMetric, Reading};

/// The API group that is served.
pub const GROUP: &str = "custom.metrics.k8s.io";

/// The only version that is served.
pub const VERSION: &str = "v1beta2";

/// `group/version`, as in `apiVersion`.
pub const GROUP_VERSION: &str = "custom.metrics.k8s.io/v1beta2";

/// The list of groups (`meta/v1` `APIGroupList`).
pub fn groups() -> Value {
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [entry()]})
}

/// The group (`meta/v1` `APIGroup`).
pub fn group() -> Value {
    let mut group = entry();
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    group
}

fn entry() -> Value {
    let version = json!({"groupVersion": GROUP_VERSION, "version": VERSION});
    json!({"name": GROUP, "versions": [version], "preferredVersion": version})
}

/// The resources of the version (`meta/v1` `APIResourceList`).
pub fn resources() -> Value {
    let resources = PodMetric::ALL.map(|metric| {
        json!({
            "name": format!("pods/{}", metric.name()),
            "singularName": "",
            "namespaced": true,
            "kind": "MetricValueList",
            "verbs": ["get"],
        })
    });
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": GROUP_VERSION,
        "resources": resources,
    })
}

/// The values of the pods that have a recent scrape (`MetricValueList` of
/// `custom.metrics.k8s.io/v1beta2`).
pub fn values(readings: &[Reading], metric: PodMetric) -> Value {
    let items: Vec<Value> = readings.iter().filter_map(|reading| value(reading, metric)).collect();
    json!({
        "kind": "MetricValueList",
        "apiVersion": GROUP_VERSION,
        "metadata": {},
        "items": items,
    })
}

fn value(reading: &Reading, metric: PodMetric) -> Option<Value> {
    let (value, read_at) = reading.value.zip(reading.read_at)?;
    Some(json!({
        "describedObject": {
            "kind": "Pod",
            "namespace": reading.namespace,
            "name": reading.name,
            "apiVersion": "v1",
        },
        "metric": {"name": metric.name()},
        "timestamp": seconds(read_at),
        "value": value.to_string(),
    }))
}

/// RFC 3339, UTC, whole seconds: `meta/v1` `Time`.
fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The OpenAPI 2 document, which the API server merges with its own under the path of the version.
pub fn openapi_v2() -> Value {
    json!({
        "swagger": "2.0",
        "info": {"title": "Rookery", "version": env!("CARGO_PKG_VERSION")},
        "paths": {resource_list_path(): {"get": {
            "description": "get available resources",
            "operationId": "getCustomMetricsV1beta2APIResources",
            "produces": ["application/json"],
            "responses": {"200": {"description": "OK", "schema": {"type": "object"}}},
        }}},
    })
}

/// The list of OpenAPI 3 documents.
pub fn openapi_v3() -> Value {
    let path = format!("apis/{GROUP_VERSION}");
    json!({"paths": {path.as_str(): {"serverRelativeURL": format!("/openapi/v3/{path}")}}})
}

/// The OpenAPI 3 document of the version.
pub fn openapi_v3_version() -> Value {
    let content = json!({"application/json": {"schema": {"type": "object"}}});
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Rookery", "version": env!("CARGO_PKG_VERSION")},
        "paths": {resource_list_path(): {"get": {
            "description": "get available resources",
            "operationId": "getCustomMetricsV1beta2APIResources",
            "responses": {"200": {"description": "OK", "content": content}},
        }}},
    })
}

fn resource_list_path() -> String {
    format!("/apis/{GROUP_VERSION}/")
}

/// A failure (`meta/v1` `Status`).
pub fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroup, APIGroupList, APIResourceList};

    use super::*;

    fn reading(name: &str, value: Option<u64>) -> Reading {
        Reading {
            namespace: "apps".into(),
            name: name.into(),
            ready: true,
            value,
            read_at: value.map(|_| "2026-03-04T05:06:07.891Z".parse().unwrap()),
        }
    }

    #[test]
    fn discovery_parses_as_the_types_of_kubernetes() {
        let groups: APIGroupList = serde_json::from_value(groups()).unwrap();
        let group: APIGroup = serde_json::from_value(group()).unwrap();
        assert_eq!(groups.groups, std::slice::from_ref(&group));
        assert_eq!(group.preferred_version.unwrap().group_version, GROUP_VERSION);
        let list: APIResourceList = serde_json::from_value(resources()).unwrap();
        assert_eq!(list.group_version, GROUP_VERSION);
        let names: Vec<&str> = list.resources.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "pods/rookery_connections",
                "pods/rookery_deliveries_per_second",
                "pods/rookery_outbox_bytes"
            ]
        );
        assert!(list.resources.iter().all(|found| found.namespaced && found.verbs == ["get"]));
    }

    #[test]
    fn a_pod_without_a_recent_scrape_has_no_value() {
        let read = [reading("a", Some(1234)), reading("b", None)];
        let list = values(&read, PodMetric::Connections);
        assert_eq!(
            list["items"],
            json!([{
                "describedObject":
                    {"kind": "Pod", "namespace": "apps", "name": "a", "apiVersion": "v1"},
                "metric": {"name": "rookery_connections"},
                "timestamp": "2026-03-04T05:06:07Z",
                "value": "1234",
            }])
        );
    }

    #[test]
    fn the_openapi_index_links_to_the_document() {
        let list = openapi_v3();
        let url = &list["paths"]["apis/custom.metrics.k8s.io/v1beta2"]["serverRelativeURL"];
        assert_eq!(url, "/openapi/v3/apis/custom.metrics.k8s.io/v1beta2");
        assert!(openapi_v3_version()["paths"].as_object().is_some_and(|paths| !paths.is_empty()));
    }
}
