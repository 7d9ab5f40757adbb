//! Which `Host` and `Origin` a request to the internal listener may name while there are no API
//! keys: a website must not reach the listener through the browser of somebody who can.
//!
//! With DNS rebinding a website's own name leads to the listener's address, so the browser sends
//! that name as `Host`. An address cannot be rebound, so any address is allowed: probes, Prometheus
//! and the operator call pods by theirs.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, Uri, header};
use rookery_ops::throttle::{Throttle, limited};

use super::access::Access;
use super::problem::Problem;
use crate::telemetry::metrics::{Metrics, Rejected};

/// The routes of the internal listener, guarded where `access` needs no keys.
pub fn guard(routes: Router, access: &Access, metrics: &Arc<Metrics>) -> Router {
    if matches!(access, Access::Keys(_)) {
        return routes;
    }
    let guard = Guard {
        metrics: metrics.clone(),
        refusals: Arc::new(Throttle::new(&metrics.log_lines_suppressed)),
    };
    routes.layer(from_fn_with_state(guard, answer))
}

#[derive(Clone)]
struct Guard {
    metrics: Arc<Metrics>,
    refusals: Arc<Throttle>,
}

async fn answer(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            guard.metrics.rejected(Rejected::Forbidden);
            let path = request.uri().path();
            limited!(
                guard.refusals,
                warn,
                path,
                "refused an internal request by its Host or Origin"
            );
            problem.into_response()
        }
    }
}

/// Whether a request without an API key may be answered.
///
/// # Errors
/// 403 where `Host` is a name other than `localhost`, or `Origin` another site.
fn check(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = uri.authority().map(|authority| authority.as_str());
    // HTTP/1.0 knows no `Host`; browsers always send it.
    let host = host.or_else(|| text(header::HOST));
    if host.is_some_and(|host| !is_safe(host)) {
        return Err(refused(
            "Without API keys, the internal listener is reached by `localhost` or an address, not \
             by another name: call it by its address, or set auth.apiKeysFile",
        ));
    }
    match text(header::ORIGIN) {
        Some(origin) if !is_same_site(origin, host) => Err(refused(
            "Without API keys, the internal listener does not answer pages of another site: open \
             the page from the listener itself, or set auth.apiKeysFile",
        )),
        _ => Ok(()),
    }
}

fn refused(detail: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, detail).code("forbidden")
}

/// Whether `host`, with or without a port, is `localhost` or an IP address.
fn is_safe(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if port.is_empty() || port.starts_with(':') => address,
            _ => return false,
        },
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// Whether a page of `origin` was served by the host that it calls.
fn is_same_site(origin: &str, host: Option<&str>) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(host: Option<&str>, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in [(header::HOST, host), (header::ORIGIN, origin)] {
            value.map(|value| headers.insert(name, value.parse().unwrap()));
        }
        check(&Uri::from_static("/api/status"), &headers).is_ok()
    }

    #[test]
    fn only_localhost_and_addresses_are_hosts() {
        for host in [
            "localhost",
            "LocalHost:9090",
            "127.0.0.1",
            "127.8.8.8:9090",
            "[::1]",
            "[::1]:9090",
            "10.0.0.7:9090",
            "[fd00::7]:9090",
        ] {
            assert!(allowed(Some(host), None), "{host}");
        }
        assert!(allowed(None, None));
        for host in [
            "evil.example",
            "evil.example:9090",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "[::1].evil.example",
            "[::1",
            "rookery",
            "127.0.0.1@evil.example",
            "1.2.3",
        ] {
            assert!(!allowed(Some(host), None), "{host}");
        }
    }

    #[test]
    fn a_page_of_another_site_is_refused() {
        let host = Some("localhost:9090");
        assert!(allowed(host, Some("http://localhost:9090")));
        for origin in ["http://evil.example", "http://localhost:8000", "null", "", "https://x:9090"]
        {
            assert!(!allowed(host, Some(origin)), "{origin}");
        }
    }
}
