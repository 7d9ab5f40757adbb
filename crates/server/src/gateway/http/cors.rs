//! CORS: which browser origins may use the Engine.IO endpoint. Pure.
//!
//! Browsers send no preflight for a WebSocket and let every page open one, so requests of other
//! origins are refused here, and not only kept from reading the response.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;

use super::response::EngineResponse;
use rookery_config::Config;

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Which page a request comes from, and whether that may connect. It keeps nothing of the request's
/// head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageOrigin {
    /// The request does not come from a page.
    Absent,
    /// Pages of every origin may connect.
    Any,
    /// It is the server's own origin.
    Own,
    /// This origin may connect, with cookies or not.
    Named { origin: HeaderValue, credentials: bool },
    /// It may not connect.
    Refused,
}

impl PageOrigin {
    /// The origin of a request with these headers. `behind_proxy` is set where a trusted proxy
    /// forwarded it, which may have replaced `Host`.
    pub fn of(config: &Config, request: &HeaderMap, behind_proxy: bool) -> Self {
        let cors = &config.socketio.cors;
        let Some(value) = request.get(header::ORIGIN) else { return PageOrigin::Absent };
        if cors.origins.iter().any(|o| o == "*") {
            return PageOrigin::Any;
        }
        let Ok(origin) = value.to_str() else { return PageOrigin::Refused };
        let is_named = cors.origins.iter().any(|o| o == origin);
        if is_named || (config.allows_localhost_origins() && is_localhost(origin)) {
            return match HeaderValue::from_str(origin) {
                Ok(origin) => PageOrigin::Named { origin, credentials: cors.credentials },
                Err(_) => PageOrigin::Refused,
            };
        }
        let forwarded = request.get_all(X_FORWARDED_HOST).iter().filter(|_| behind_proxy);
        let hosts = request.get(header::HOST).into_iter().chain(forwarded);
        let mut hosts =
            hosts.filter_map(|host| host.to_str().ok()).flat_map(|host| host.split(','));
        match hosts.any(|host| is_own(origin, host.trim())) {
            true => PageOrigin::Own,
            false => PageOrigin::Refused,
        }
    }

    /// Adds the headers that let the page read the response.
    pub fn allow(self, headers: &mut HeaderMap) {
        match self {
            PageOrigin::Absent => {}
            PageOrigin::Any => {
                let any = HeaderValue::from_static("*");
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
            }
            PageOrigin::Own | PageOrigin::Refused => {
                headers.append(header::VARY, HeaderValue::from_static("Origin"));
            }
            PageOrigin::Named { origin, credentials } => {
                headers.append(header::VARY, HeaderValue::from_static("Origin"));
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                if credentials {
                    let yes = HeaderValue::from_static("true");
                    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
                }
            }
        }
    }
}

/// Whether an origin (RFC 6454, section 6.2) is that of the host. The scheme is not compared: a
/// proxy may have taken TLS off.
fn is_own(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    // An origin leaves out its scheme's port.
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let host = host.strip_suffix(port).unwrap_or(host);
    !host.is_empty() && authority.eq_ignore_ascii_case(host)
}

/// Whether an origin is on this machine: `localhost` or a loopback address, with any port.
fn is_localhost(origin: &str) -> bool {
    let Some((_, authority)) = origin.split_once("://") else { return false };
    if let Some(rest) = authority.strip_prefix("[::1]") {
        return rest.is_empty() || rest.starts_with(':');
    }
    let host = authority.split_once(':').map_or(authority, |(host, _)| host);
    let host = host.to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// The response to a preflight request with these headers.
pub fn preflight(request: &HeaderMap) -> EngineResponse {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("GET, POST, OPTIONS");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    if let Some(requested) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, requested.clone());
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, 600.into());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(config: &Config, headers: &[(HeaderName, &'static str)], behind: bool) -> PageOrigin {
        let headers = headers.iter().map(|(name, v)| (name.clone(), HeaderValue::from_static(v)));
        PageOrigin::of(config, &headers.collect(), behind)
    }

    fn on(listen: &str, origins: &[&str]) -> Config {
        let mut config = Config { listen: listen.parse().unwrap(), ..Config::default() };
        config.socketio.cors.origins = origins.iter().map(|o| (*o).to_owned()).collect();
        config
    }

    const HOST: (HeaderName, &str) = (header::HOST, "chat.example.com");

    #[test]
    fn a_page_of_the_servers_own_origin_may_connect() {
        let public = on("0.0.0.0:3000", &[]);
        let own = |origin, host| {
            page(&public, &[(header::ORIGIN, origin), (header::HOST, host)], false)
                == PageOrigin::Own
        };
        assert!(own("https://chat.example.com", "chat.example.com"));
        assert!(own("https://chat.example.com", "Chat.Example.com:443"));
        assert!(own("http://chat.example.com", "chat.example.com:80"));
        assert!(own("http://10.0.0.1:3000", "10.0.0.1:3000"));
        assert!(own("http://[2001:db8::1]:3000", "[2001:db8::1]:3000"));
        for (origin, host) in [
            ("https://chat.example.com:8443", "chat.example.com"),
            ("https://evil.example", "chat.example.com"),
            ("https://chat.example.com.evil.example", "chat.example.com"),
            ("null", "chat.example.com"),
            ("file://", ""),
            ("http://localhost:8080", "chat.example.com"),
        ] {
            assert!(!own(origin, host), "{origin} {host}");
        }
        assert_eq!(page(&public, &[HOST], false), PageOrigin::Absent);
    }

    #[test]
    fn a_trusted_proxy_may_have_replaced_the_host() {
        let public = on("0.0.0.0:3000", &[]);
        let headers = [
            (header::ORIGIN, "https://chat.example.com"),
            (header::HOST, "rookery.chat.svc:80"),
            (X_FORWARDED_HOST, "chat.example.com, edge.example.com"),
        ];
        assert_eq!(page(&public, &headers, true), PageOrigin::Own);
        assert_eq!(page(&public, &headers, false), PageOrigin::Refused);
    }

    #[test]
    fn pages_on_this_machine_may_connect_to_a_loopback_address_by_default() {
        let local = |origin, config: &Config| {
            let found = page(config, &[(header::ORIGIN, origin), HOST], false);
            matches!(found, PageOrigin::Named { .. })
        };
        let default = on("127.0.0.1:3000", &[]);
        for origin in [
            "http://localhost:5173",
            "https://LOCALHOST",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "http://app.localhost",
            "capacitor://localhost",
        ] {
            assert!(local(origin, &default), "{origin}");
            assert!(!local(origin, &on("0.0.0.0:3000", &[])), "{origin}");
            assert!(!local(origin, &on("127.0.0.1:3000", &["https://a.example"])), "{origin}");
        }
        for origin in [
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://evil.example",
            "http://[::1]evil.example",
            "null",
        ] {
            assert!(!local(origin, &default), "{origin}");
        }
    }
}
