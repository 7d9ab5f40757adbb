//! The status page: `/` of the internal listener, for people with a browser.
//!
//! One HTML document with inline style and script, which requests `/api/status` and `/api/latency`
//! every two seconds. The page itself holds no data and needs no key; its requests need one if the
//! HTTP API does.

use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, header};
use sha2::{Digest, Sha256};

/// The source of the script. Its files share one scope; the last one, `page.js`, starts the page.
macro_rules! script {
    () => {
        concat!(
            include_str!("status_page/script/dom.js"),
            include_str!("status_page/script/request.js"),
            include_str!("status_page/script/commands.js"),
            include_str!("status_page/script/rooms.js"),
            include_str!("status_page/script/figures.js"),
            include_str!("status_page/script/page.js"),
        )
    };
}

/// The whole document.
const PAGE: &str = concat!(
    include_str!("status_page/head.html"),
    "<style>",
    include_str!("status_page/style.css"),
    "</style>\n</head>\n",
    include_str!("status_page/body.html"),
    "<script>",
    script!(),
    "</script>\n</body>\n</html>\n",
);

/// The exact content of its only style element.
const STYLE: &str = include_str!("status_page/style.css");

/// The exact content of its only script element.
const SCRIPT: &str = script!();

/// The route for GET and HEAD, to be merged into the router of the internal listener.
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

/// What the browser allows this page: its one script, its one style, its icon and requests to this
/// server. No string becomes markup or code.
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
