//! The HTTPRoute of the Gateway API (`gateway.networking.k8s.io/v1`).
//!
//! Its rule has no timeout of requests, as polls and WebSockets are held open (GEP-1742: `0s` is
//! none). It asks for session persistence by a cookie of the session (GEP-1619), with the name that
//! a draining server expires, where the definition has the field: that of the standard channel has
//! none, and the cluster would drop it.

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Map, Value, json};

use super::metadata::{non_empty, object_meta};
use crate::crd::Gateway;
use crate::validate::Validated;

/// API group of the route.
pub(crate) const GROUP: &str = "gateway.networking.k8s.io";

/// The kind of [`http_route`].
pub(super) fn http_route_kind() -> ApiResource {
    let kind = GroupVersionKind::gvk(GROUP, "v1", "HTTPRoute");
    ApiResource::from_gvk_with_plural(&kind, "httproutes")
}

/// The route; `has_persistence`: whether the definition has `sessionPersistence`.
pub(super) fn http_route(v: &Validated, gateway: &Gateway, has_persistence: bool) -> Value {
    let kind = http_route_kind();
    let mut metadata = object_meta(v);
    metadata.annotations = non_empty(gateway.annotations.clone());
    let mut rule = Map::from_iter([
        (
            "matches".to_owned(),
            json!([{ "path": { "type": "PathPrefix", "value": v.config.socketio.path } }]),
        ),
        ("backendRefs".to_owned(), json!([{ "name": v.name, "port": v.client_service_port() }])),
        ("timeouts".to_owned(), json!({ "request": "0s" })),
    ]);
    if let Some(cookie) = v.sticky_cookie.as_ref().filter(|_| gateway.sticky && has_persistence) {
        let persistence = json!({
            "sessionName": cookie,
            "type": "Cookie",
            "cookieConfig": { "lifetimeType": "Session" },
        });
        rule.insert("sessionPersistence".to_owned(), persistence);
    }
    let mut spec = Map::from_iter([
        ("parentRefs".to_owned(), json!(gateway.parent_refs)),
        ("rules".to_owned(), json!([rule])),
    ]);
    if !gateway.hostnames.is_empty() {
        spec.insert("hostnames".to_owned(), json!(gateway.hostnames));
    }
    json!({
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": metadata,
        "spec": spec,
    })
}
