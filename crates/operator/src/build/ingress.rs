//! The Ingress, and what makes its controller keep a client at one server.
//!
//! Traefik and the HAProxy Kubernetes Ingress Controller both take stickiness from annotations
//! of the Service ("Traefik & Kubernetes with Ingress", section "On Service"; HAProxy's
//! documentation/annotations.md, `cookie-persistence`: "setting it on an ingress is ignored").
//! Both speak to the pods themselves, not to the Service's address; Traefik's
//! `service.nativelb`, which would change that, is not set.
//!
//! What becomes of a client whose server drains:
//!
//! - **Traefik** sends requests that have the cookie to a terminating pod as long as it is
//!   serving, which `drain.keepReady` sees to. It writes its cookie only where a request has no
//!   valid one, and passes on the server's own: the cookie that the server expires
//!   (`drain.stickyCookie`) is gone, and the next request goes elsewhere.
//! - **HAProxy**'s controller takes a pod out as soon as its endpoint is not ready, and a
//!   terminating one never is. WebSockets stay until their turn comes. A polling client's next
//!   request is balanced anew, is answered "unknown sid" there, and the client connects again: its
//!   turn comes at once. HAProxy removes a server's own cookie of that name (`cookie … insert
//!   indirect`, without `preserve`), so the expired one never arrives; nor is it needed, as a
//!   cookie of a server in maintenance counts for nothing and is replaced.
//!
//! A browser sends a cookie to another site only with `SameSite=None; Secure`. Traefik can be
//! told so; HAProxy's cookie has no attribute at all and gets them by a rule on its way out, which
//! needs a controller that has not turned configuration snippets off.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::networking::v1 as net;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::metadata::{non_empty, object_meta};
use crate::crd::{Ingress, IngressController};
use crate::names;
use crate::validate::Validated;

/// The Ingress; `None` where the resource asks for none.
pub(super) fn build(v: &Validated) -> Option<net::Ingress> {
    let ingress = v.spec.ingress.as_ref()?;
    let mut annotations = own_annotations(ingress);
    annotations.extend(ingress.annotations.clone());
    let backend = net::IngressBackend {
        service: Some(net::IngressServiceBackend {
            name: v.name.clone(),
            port: Some(net::ServiceBackendPort {
                number: Some(names::CLIENT_SERVICE_PORT),
                name: None,
            }),
        }),
        ..net::IngressBackend::default()
    };
    let rule = net::IngressRule {
        host: ingress.host.clone(),
        http: Some(net::HTTPIngressRuleValue {
            paths: vec![net::HTTPIngressPath {
                path: Some(v.config.socketio.path.clone()),
                path_type: "Prefix".to_owned(),
                backend,
            }],
        }),
    };
    let tls = ingress.tls.as_ref().map(|tls| net::IngressTLS {
        hosts: ingress.host.clone().map(|host| vec![host]),
        secret_name: tls.secret_name.clone(),
    });
    Some(net::Ingress {
        metadata: ObjectMeta { annotations: non_empty(annotations), ..object_meta(v) },
        spec: Some(net::IngressSpec {
            ingress_class_name: ingress.class_name.clone(),
            rules: Some(vec![rule]),
            tls: tls.map(|tls| vec![tls]),
            ..net::IngressSpec::default()
        }),
        ..net::Ingress::default()
    })
}

/// Annotations of the Service for clients.
pub(super) fn service_annotations(v: &Validated) -> BTreeMap<String, String> {
    let Some(ingress) = &v.spec.ingress else { return BTreeMap::new() };
    match ingress.controller {
        IngressController::Traefik => traefik(v, ingress),
        IngressController::Haproxy => haproxy(v, ingress),
    }
}

/// Naming a certificate does not make Traefik serve HTTPS (same page, section "Certificates
/// Management").
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

/// Whether pages of other sites use the service, so that the cookie must go there.
fn is_for_other_sites(v: &Validated, ingress: &Ingress) -> bool {
    ingress.tls.is_some() && v.config.socketio.cors.credentials
}

/// The tunnel's timeout, for WebSockets, can be set only for the whole controller; it is an hour
/// without a byte, and heartbeats are more frequent.
fn haproxy(v: &Validated, ingress: &Ingress) -> BTreeMap<String, String> {
    let socketio = &v.config.socketio;
    // A poll is answered with the next heartbeat at the latest.
    let poll = socketio.ping_interval.0 + socketio.ping_timeout.0 + Duration::from_secs(5);
    let mut all = annotations(
        "haproxy.org/",
        [
            // Connections last: by turns, a new server would stay empty for long.
            ("load-balance", "leastconn".to_owned()),
            ("timeout-server", format!("{}s", poll.as_secs())),
        ],
    );
    if let Some(cookie) = &v.sticky_cookie {
        all.insert("haproxy.org/cookie-persistence".to_owned(), cookie.clone());
        // In a pattern and in quotes, these stand for themselves.
        let plain = cookie.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if plain && is_for_other_sites(v, ingress) {
            all.insert("haproxy.org/backend-config-snippet".to_owned(), attributes(cookie));
        }
    }
    all
}

/// Rules of `http-after-response` see the cookie that HAProxy itself has inserted.
fn attributes(cookie: &str) -> String {
    format!(
        "http-after-response replace-header Set-Cookie '^({cookie}=.*)' \
         '\\1; SameSite=None; Secure'\n"
    )
}

fn annotations<const N: usize>(prefix: &str, all: [(&str, String); N]) -> BTreeMap<String, String> {
    all.map(|(name, value)| (format!("{prefix}{name}"), value)).into()
}
