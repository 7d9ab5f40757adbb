//! The Ingress, and the annotations that make its controller send a client's requests to one server.
//!
//! Traefik and the HAProxy Kubernetes Ingress Controller both read the stickiness settings from
//! annotations of the Service ("Traefik & Kubernetes with Ingress", section "On Service"; HAProxy's
//! documentation/annotations.md, `cookie-persistence`: "setting it on an ingress is ignored").
//! Both connect to the pods directly, not to the Service's address; Traefik's `service.nativelb`
//! would change that and is not set.
//!
//! What happens to a client whose server drains:
//!
//! - **Traefik** sends requests with the cookie to a terminating pod for as long as the pod is
//!   serving, which `drain.keepReady` ensures. It sets its own cookie only when a request has no
//!   valid one, and passes on cookies that the server sets. So when the server expires the cookie
//!   (`drain.stickyCookie`), the client's next request goes to another server.
//! - **HAProxy**'s controller removes a pod as soon as its endpoint is not ready, and the endpoint
//!   of a terminating pod never is. WebSockets stay open until the server closes them. The next
//!   request of a polling client goes to another server, which answers "unknown sid", and the client
//!   reconnects at once. HAProxy drops a cookie of this name that the server sets (`cookie … insert
//!   indirect`, without `preserve`), so expiring it has no effect. It is not needed either: HAProxy
//!   ignores and replaces the cookie of a server in maintenance.
//!
//! A browser sends a cookie to another site only if it has `SameSite=None; Secure`. Traefik has a
//! setting for that. HAProxy's cookie has no such attributes, so a response rule adds them, which
//! requires that configuration snippets are enabled in the controller.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::networking::v1 as net;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::metadata::{non_empty, object_meta};
use crate::crd::{Ingress, IngressController, IngressTls};
use crate::validate::Validated;

/// The Ingress; `None` if the resource has no `ingress`.
pub(super) fn build(v: &Validated) -> Option<net::Ingress> {
    let ingress = v.spec.ingress.as_ref()?;
    let mut annotations = own_annotations(ingress);
    annotations.extend(ingress.annotations.clone());
    let backend = net::IngressBackend {
        service: Some(net::IngressServiceBackend {
            name: v.name.clone(),
            port: Some(net::ServiceBackendPort {
                number: Some(v.client_service_port()),
                name: None,
            }),
        }),
        ..net::IngressBackend::default()
    };
    let paths = vec![net::HTTPIngressPath {
        path: Some(v.config.socketio.path.clone()),
        path_type: "Prefix".to_owned(),
        backend,
    }];
    let rule = |host: Option<String>| net::IngressRule {
        host,
        http: Some(net::HTTPIngressRuleValue { paths: paths.clone() }),
    };
    let hosts = ingress.all_hosts();
    let rules = match hosts.is_empty() {
        true => vec![rule(None)],
        false => hosts.iter().cloned().map(Some).map(rule).collect(),
    };
    let tls = ingress.tls.as_ref().map(|tls| certificates(tls, &hosts));
    Some(net::Ingress {
        metadata: ObjectMeta { annotations: non_empty(annotations), ..object_meta(v) },
        spec: Some(net::IngressSpec {
            ingress_class_name: ingress.class_name.clone(),
            rules: Some(rules),
            tls,
            ..net::IngressSpec::default()
        }),
        ..net::Ingress::default()
    })
}

/// Which certificate is for which hosts.
fn certificates(tls: &IngressTls, hosts: &[String]) -> Vec<net::IngressTLS> {
    let (own, shared): (Vec<_>, Vec<_>) =
        hosts.iter().partition(|host| tls.secret_names.contains_key(*host));
    let shared = (own.is_empty() || !shared.is_empty()).then(|| net::IngressTLS {
        hosts: Some(shared.into_iter().cloned().collect()).filter(|all: &Vec<_>| !all.is_empty()),
        secret_name: tls.secret_name.clone(),
    });
    let own = own.into_iter().map(|host| net::IngressTLS {
        hosts: Some(vec![host.clone()]),
        secret_name: tls.secret_names.get(host).cloned(),
    });
    shared.into_iter().chain(own).collect()
}

/// Annotations of the Service for clients.
pub(super) fn service_annotations(v: &Validated) -> BTreeMap<String, String> {
    let Some(ingress) = &v.spec.ingress else { return BTreeMap::new() };
    match ingress.controller {
        IngressController::Traefik => traefik(v, ingress),
        IngressController::Haproxy => haproxy(v, ingress),
    }
}

/// Annotations of the Ingress itself. Traefik does not serve HTTPS just because a certificate is
/// named ("Traefik & Kubernetes with Ingress", section "Certificates Management").
fn own_annotations(ingress: &Ingress) -> BTreeMap<String, String> {
    match ingress.controller {
        IngressController::Traefik if ingress.tls.is_some() => {
            annotations("traefik.ingress.kubernetes.io/router.", [("tls", "true".to_owned())])
        }
        _ => BTreeMap::new(),
    }
}

fn traefik(v: &Validated, ingress: &Ingress) -> BTreeMap<String, String> {
    let Some(cookie) = &v.sticky_cookie else { return BTreeMap::new() };
    let tls = ingress.tls.is_some();
    let other_sites = is_for_other_sites(v, ingress);
    annotations(
        "traefik.ingress.kubernetes.io/service.sticky.",
        [
            ("cookie", "true".to_owned()),
            ("cookie.name", cookie.clone()),
            ("cookie.httponly", "true".to_owned()),
            ("cookie.samesite", if other_sites { "none" } else { "lax" }.to_owned()),
            ("cookie.secure", tls.to_string()),
        ],
    )
}

/// Whether pages of other sites use the service, so that browsers must send the cookie to it.
fn is_for_other_sites(v: &Validated, ingress: &Ingress) -> bool {
    ingress.tls.is_some() && v.config.socketio.cors.credentials
}

/// The timeout of WebSockets (`timeout tunnel`) can be set only for the whole controller. Its
/// default is an hour without traffic, and heartbeats are more frequent.
fn haproxy(v: &Validated, ingress: &Ingress) -> BTreeMap<String, String> {
    let socketio = &v.config.socketio;
    // A poll is answered by the next heartbeat at the latest.
    let poll = socketio.ping_interval.0 + socketio.ping_timeout.0 + Duration::from_secs(5);
    let mut all = annotations(
        "haproxy.org/",
        [
            // Connections are long-lived: with round-robin, a new server would stay empty for a long time.
            ("load-balance", "leastconn".to_owned()),
            ("timeout-server", format!("{}s", poll.as_secs())),
        ],
    );
    if let Some(cookie) = &v.sticky_cookie {
        all.insert("haproxy.org/cookie-persistence".to_owned(), cookie.clone());
        // These characters have no special meaning in a quoted pattern.
        let plain = cookie.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if plain && is_for_other_sites(v, ingress) {
            all.insert("haproxy.org/backend-config-snippet".to_owned(), attributes(cookie));
        }
    }
    all
}

/// Rules of `http-after-response` apply to the cookie that HAProxy itself inserts.
fn attributes(cookie: &str) -> String {
    format!(
        "http-after-response replace-header Set-Cookie '^({cookie}=.*)' \
         '\\1; SameSite=None; Secure'\n"
    )
}

fn annotations<const N: usize>(prefix: &str, all: [(&str, String); N]) -> BTreeMap<String, String> {
    all.map(|(name, value)| (format!("{prefix}{name}"), value)).into()
}
