//! The status page: `/` of the internal listener, for a person with a browser.
//!
//! One HTML document with its style and its script inside, which asks `/api/status` and
//! `/api/latency` every two seconds. The page itself holds no data and needs no key; what it asks
//! for does, where the HTTP API does.

use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, header};
use sha2::{Digest, Sha256};

/// The page.
const PAGE: &str = concat!(
    include_str!("status_page/head.html"),
    "<style>",
    include_str!("status_page/style.css"),
    "</style>\n</head>\n",
    include_str!("status_page/body.html"),
    "<script>",
    include_str!("status_page/script.js"),
    "</script>\n</body>\n</html>\n",
);

/// What stands in its only style element, to the byte.
const STYLE: &str = include_str!("status_page/style.css");

/// What stands in its only script element, to the byte.
const SCRIPT: &str = include_str!("status_page/script.js");

/// The route, to be merged with the others of the internal listener. GET and HEAD.
pub fn router() -> Router {
    let headers = headers();
    Router::new().route("/", get(|| async move { (headers, PAGE) }))
}

fn headers() -> [(HeaderName, HeaderValue); 7] {
    let policy = policy().try_into().expect("base64 and keywords are ASCII");
    let fixed = HeaderValue::from_static;
    [
        (header::CONTENT_TYPE, fixed("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
        (header::X_FRAME_OPTIONS, fixed("DENY")),
        (header::REFERRER_POLICY, fixed("no-referrer")),
        (HeaderName::from_static("cross-origin-resource-policy"), fixed("same-origin")),
        (header::CACHE_CONTROL, fixed("no-cache")),
    ]
}

/// What the browser may do for this page: run its one script, apply its one style, show its icon
/// and ask this server. Nothing becomes markup or code by way of a string.
///
/// Source: Content Security Policy Level 3, section 8.3 (hashes); Trusted Types, section 4.
fn policy() -> String {
    format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
        hash(SCRIPT),
        hash(STYLE),
    )
}

fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests;
