use axum::body::{Body, to_bytes};
use axum::response::Response;
use http::{Method, Request, StatusCode};
use tower::ServiceExt as _;

use super::*;

async fn asked(method: Method, path: &str) -> Response {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    router().oneshot(request).await.unwrap()
}

async fn body(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

fn header(response: &Response, name: &str) -> String {
    response.headers()[name].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_page_is_html_with_restrictive_headers() {
    let response = asked(Method::GET, "/").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "content-type"), "text/html; charset=utf-8");
    assert_eq!(header(&response, "x-content-type-options"), "nosniff");
    assert_eq!(header(&response, "referrer-policy"), "no-referrer");
    assert_eq!(header(&response, "x-frame-options"), "DENY");
    assert_eq!(header(&response, "cross-origin-resource-policy"), "same-origin");
    let policy = header(&response, "content-security-policy");
    let directives: Vec<_> = policy.split("; ").collect();
    for directive in [
        "default-src 'none'",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(directives.contains(&directive), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    assert!(body(response).await.starts_with("<!doctype html>"));
}

#[tokio::test]
async fn the_policy_has_the_hashes_of_the_inline_elements() {
    let response = asked(Method::GET, "/").await;
    let policy = header(&response, "content-security-policy");
    let page = body(response).await;
    for (element, directive) in [("script", "script-src"), ("style", "style-src")] {
        // With a second element, the hash could be that of the other one.
        assert_eq!(page.matches(&format!("<{element}")).count(), 1, "{element}");
        let start = page.find(&format!("<{element}>")).unwrap() + element.len() + 2;
        let end = page.find(&format!("</{element}>")).unwrap();
        assert!(end - start > 1000, "{element}");
        let hash = STANDARD.encode(Sha256::digest(&page.as_bytes()[start..end]));
        let expected = format!("{directive} 'sha256-{hash}'");
        assert!(policy.split("; ").any(|one| one == expected), "{policy} has no {expected}");
    }
}

#[test]
fn the_page_loads_nothing_external_and_evaluates_no_strings() {
    for absent in [
        "http:",
        "https:",
        "ws:",
        "wss:",
        "@import",
        "url(",
        "src=",
        "srcset",
        "<iframe",
        "<object",
        " style=",
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "localStorage",
        "document.cookie",
    ] {
        assert!(!PAGE.contains(absent), "the page has {absent}");
    }
    let links = PAGE.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let links: Vec<_> = links.collect();
    assert!(links.len() >= 3, "{links:?}");
    for link in links {
        let here = link.starts_with('/') && !link.starts_with("//");
        assert!(here || link.starts_with("data:image/svg+xml,"), "{link}");
    }
    // The policy blocks event handlers in attributes.
    let markup = PAGE.split_once("<body>").unwrap().1.split_once("<script>").unwrap().0;
    let handler = markup.split(' ').find(|word| word.starts_with("on") && word.contains("=\""));
    assert_eq!(handler, None);
}

#[test]
fn the_page_is_small() {
    assert!(PAGE.len() < 40_000, "{} bytes", PAGE.len());
}

#[tokio::test]
async fn only_get_and_head_of_the_root_are_served() {
    let response = asked(Method::HEAD, "/").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "content-length"), PAGE.len().to_string());
    assert!(response.headers().contains_key("content-security-policy"));
    assert_eq!(body(response).await, "");
    let response = asked(Method::POST, "/").await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(header(&response, "allow"), "GET,HEAD");
    assert_eq!(asked(Method::GET, "/index.html").await.status(), StatusCode::NOT_FOUND);
}
