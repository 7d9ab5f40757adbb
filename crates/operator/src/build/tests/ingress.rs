use serde_json::{Value, json};

use super::super::names;
use super::{FULL, built, find};

/// What the Service and the Ingress of clients are annotated with, besides our own hash.
fn annotations(spec: &str) -> (Value, Value) {
    let objects = built(spec);
    let of = |kind| {
        let mut all = find(&objects, kind, "chat")["metadata"]["annotations"].take();
        all.as_object_mut().unwrap().remove(names::APPLIED);
        all
    };
    (of("Service"), of("Ingress"))
}

#[test]
fn traefik_is_configured_by_service_annotations() {
    let cookie = "traefik.ingress.kubernetes.io/service.sticky.cookie";
    let (service, ingress) = annotations("ingress: { host: a.example }");
    assert_eq!(
        service,
        json!({
            cookie: "true", format!("{cookie}.name"): "rookery", format!("{cookie}.httponly"): "true",
            format!("{cookie}.samesite"): "lax", format!("{cookie}.secure"): "false",
        })
    );
    assert_eq!(ingress, json!({}));

    let (service, ingress) = annotations(
        "ingress: { tls: {}, annotations: { a: b } }\n\
         config: { socketio: { cors: { origins: ['https://a.example'], credentials: true } } }",
    );
    assert_eq!(service[format!("{cookie}.samesite")], "none");
    assert_eq!(service[format!("{cookie}.secure")], "true");
    assert_eq!(ingress, json!({ "a": "b", "traefik.ingress.kubernetes.io/router.tls": "true" }));
    assert_eq!(annotations("ingress: { sticky: false }"), (json!({}), json!({})));
}

#[test]
fn haproxy_is_configured_by_service_annotations() {
    let (service, ingress) = annotations(
        "ingress: { controller: haproxy, tls: {} }\n\
         config: { socketio: { pingInterval: 55s }, drain: { stickyCookie: mine } }",
    );
    assert_eq!(
        service,
        json!({
            "haproxy.org/cookie-persistence": "mine", "haproxy.org/load-balance": "leastconn",
            "haproxy.org/timeout-server": "80s",
        })
    );
    assert_eq!(ingress, json!({}));
    let (service, _) = annotations("ingress: { controller: haproxy, sticky: false }");
    assert!(service.get("haproxy.org/cookie-persistence").is_none());

    let (service, _) = annotations(
        "ingress: { controller: haproxy, tls: {} }\n\
         config: { socketio: { cors: { origins: ['https://a.example'], credentials: true } } }",
    );
    assert_eq!(
        service["haproxy.org/backend-config-snippet"],
        "http-after-response replace-header Set-Cookie '^(rookery=.*)' '\\1; SameSite=None; Secure'\n"
    );
}

#[test]
fn the_ingress_has_the_path_of_socketio() {
    let spec = |spec: &str| find(&built(spec), "Ingress", "chat")["spec"].take();
    let ingress = spec("ingress: {}\nconfig: { socketio: { path: /ws } }");
    assert!(ingress["rules"][0].get("host").is_none() && ingress.get("tls").is_none());
    assert!(ingress.get("ingressClassName").is_none());
    let path = &ingress["rules"][0]["http"]["paths"][0];
    assert_eq!((&path["path"], &path["pathType"]), (&json!("/ws"), &json!("Prefix")));
    assert_eq!(path["backend"]["service"], json!({ "name": "chat", "port": { "number": 80 } }));
    let ingress = spec(FULL);
    assert_eq!(ingress["tls"], json!([{ "hosts": ["chat.example.com"], "secretName": "tls" }]));
    assert_eq!(ingress["ingressClassName"], "traefik");
}

#[test]
fn several_hosts_share_a_certificate_or_have_their_own() {
    let ingress = find(
        &built(
            "ingress: { host: a.example.com, hosts: [b.example.com, c.example.com],\n\
             tls: { secretName: shared, secretNames: { c.example.com: own } } }",
        ),
        "Ingress",
        "chat",
    );
    let rules = ingress["spec"]["rules"].as_array().unwrap();
    let hosts: Vec<&Value> = rules.iter().map(|rule| &rule["host"]).collect();
    assert_eq!(hosts, ["a.example.com", "b.example.com", "c.example.com"]);
    assert_eq!(
        ingress["spec"]["tls"],
        json!([
            { "hosts": ["a.example.com", "b.example.com"], "secretName": "shared" },
            { "hosts": ["c.example.com"], "secretName": "own" },
        ])
    );
}
