//! The HTTPRoute, and who scrapes the pods.

use super::*;

const ROUTE: &str = "
gateway:
  parentRefs: [{ name: public, namespace: gateways, sectionName: https }]
  hostnames: [chat.example.com]
  annotations: { a: b }
";

#[test]
fn a_route_holds_polls_open_and_keeps_a_client_at_one_server() {
    let route = find(&built(ROUTE), "HTTPRoute", "chat");
    assert_eq!(route["apiVersion"], "gateway.networking.k8s.io/v1");
    assert_eq!(route["metadata"]["annotations"]["a"], "b");
    assert_eq!(
        route["spec"],
        json!({
            "parentRefs": [{ "name": "public", "namespace": "gateways", "sectionName": "https" }],
            "hostnames": ["chat.example.com"],
            "rules": [{
                "matches": [{ "path": { "type": "PathPrefix", "value": "/socket.io" } }],
                "backendRefs": [{ "name": "chat", "port": 80 }],
                "timeouts": { "request": "0s" },
                "sessionPersistence": {
                    "sessionName": "rookery",
                    "type": "Cookie",
                    "cookieConfig": { "lifetimeType": "Session" },
                },
            }],
        })
    );
    let config = validated(ROUTE).config;
    assert_eq!(config.drain.sticky_cookie.as_deref(), Some("rookery"));
}

#[test]
fn what_the_cluster_has_no_definition_of_is_named_in_a_warning() {
    let said = |spec: &str, capabilities| warnings(&validated(spec), &capabilities).join("\n");
    let none = Capabilities::default();
    assert!(said(ROUTE, none).contains("httproutes.gateway.networking.k8s.io"));
    assert!(
        build(&validated(ROUTE), &none)
            .iter()
            .all(|o| o.types.as_ref().unwrap().kind != "HTTPRoute")
    );
    let pods = "monitoring: { podMonitor: true }";
    assert!(said(pods, none).contains("podmonitors.monitoring.coreos.com"));
    assert_eq!(said(&format!("{ROUTE}{pods}"), ALL), "");

    let standard = Capabilities { session_persistence: false, ..ALL };
    assert_eq!(said(ROUTE, standard), "", "one server needs no cookie");
    let several = format!("{ROUTE}redis: {{ url: 'redis://r' }}\n");
    assert!(said(&several, standard).contains("experimental channel"));
    let route = find(&build(&validated(&several), &standard), "HTTPRoute", "chat");
    assert!(route["spec"]["rules"][0]["sessionPersistence"].is_null());
}

#[test]
fn pods_are_scraped_in_one_way() {
    let annotation = |spec: &str, capabilities| {
        let objects = build(&validated(spec), &capabilities);
        let monitors: Vec<String> = objects
            .iter()
            .map(|object| object.types.as_ref().unwrap().kind.clone())
            .filter(|kind| kind.ends_with("Monitor"))
            .collect();
        let deployment = find(&objects, "Deployment", "chat");
        let scrape =
            &deployment["spec"]["template"]["metadata"]["annotations"]["prometheus.io/scrape"];
        (monitors.join(","), scrape == "true")
    };
    let (pods, none) = ("monitoring: { podMonitor: true }", Capabilities::default());
    assert_eq!(annotation("{}", ALL), ("ServiceMonitor".to_owned(), false));
    assert_eq!(annotation(pods, ALL), ("PodMonitor".to_owned(), false));
    assert_eq!(annotation("{}", none), (String::new(), true));
    assert_eq!(annotation(pods, none), (String::new(), true));
    assert_eq!(annotation("monitoring: { serviceMonitor: false }", ALL), (String::new(), true));
}

#[test]
fn a_pod_monitor_scrapes_the_internal_port() {
    let objects = built("monitoring: { podMonitor: true, labels: { release: p } }");
    let monitor = find(&objects, "PodMonitor", "chat");
    assert_eq!(monitor["metadata"]["labels"]["release"], "p");
    let endpoint = json!({ "port": "internal", "path": "/metrics", "interval": "15s" });
    assert_eq!(monitor["spec"]["podMetricsEndpoints"], json!([endpoint]));
}
