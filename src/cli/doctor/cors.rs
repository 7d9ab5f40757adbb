//! Evaluates the CORS headers of a response as a browser does.

use http::header::{self, HeaderMap};

use super::printer::Outcome;
use super::transport::request::Response;

/// What the response means for pages of `origin`, or of an unknown site: the outcome, a message and
/// the fix. `sticky_cookie` says whether sessions depend on a cookie.
pub(super) fn evaluate(
    response: &Response,
    origin: Option<&str>,
    sticky_cookie: bool,
) -> (Outcome, String, Option<&'static str>) {
    let all = |headers: &HeaderMap, name| headers.get_all(name).iter().count();
    let allowed = response.headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    let allowed = allowed.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let credentials = response.headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
    if all(&response.headers, header::ACCESS_CONTROL_ALLOW_ORIGIN) > 1 {
        let text = "Access-Control-Allow-Origin is set twice: browsers accept neither".to_owned();
        let fix = "Rookery sets the CORS headers (socketio.cors): remove them from the ingress";
        return (Outcome::Failed, text, Some(fix));
    }
    if response.status == 403 && allowed.is_some() {
        let text =
            "Access-Control-Allow-Origin is set although Rookery refuses the page; where it \
                    does not, it is set twice, and browsers accept neither"
                .to_owned();
        let fix = "Rookery sets the CORS headers (socketio.cors): remove them from the ingress";
        return (Outcome::Failed, text, Some(fix));
    }
    match (allowed.as_deref(), origin) {
        (None, Some(origin)) => {
            (Outcome::Failed, format!("pages of {origin} may not connect"), Some(NAME_ORIGINS))
        }
        (None, None) if sticky_cookie => (
            Outcome::Warning,
            "pages of other sites may not connect; if some should:".to_owned(),
            Some(NAME_ORIGINS),
        ),
        (None, None) => (Outcome::Passed, "pages of other sites may not connect".to_owned(), None),
        (Some(_), _) if credentials => (
            Outcome::Passed,
            "pages of the named origins may connect, with cookies".to_owned(),
            None,
        ),
        (Some(who), _) if sticky_cookie => {
            let text = format!(
                "browsers do not send the sticky cookie from pages of other sites ({who}): their \
                 polling clients lose their sessions"
            );
            let mark = if origin.is_some() { Outcome::Failed } else { Outcome::Warning };
            (mark, text, Some(NAME_ORIGINS))
        }
        (Some("*"), _) => (Outcome::Passed, "pages of any site may connect".to_owned(), None),
        (Some(who), _) => (Outcome::Passed, format!("pages of {who} may connect"), None),
    }
}

const NAME_ORIGINS: &str = "name the pages' origins in socketio.cors.origins, set \
    socketio.cors.credentials: true, and withCredentials: true in clients";

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    fn response(headers: &[(&'static str, &'static str)]) -> Response {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        Response { status: 400, headers: map, body: Default::default() }
    }

    #[test]
    fn cors_headers_are_evaluated_as_browsers_do() {
        let star = ("access-control-allow-origin", "*");
        let named = ("access-control-allow-origin", "https://a");
        let credentials = ("access-control-allow-credentials", "true");
        let outcome = |headers: &[_], origin, sticky_cookie| {
            evaluate(&response(headers), origin, sticky_cookie).0
        };
        assert_eq!(outcome(&[star], None, false), Outcome::Passed);
        assert_eq!(outcome(&[star], None, true), Outcome::Warning);
        assert_eq!(outcome(&[star], Some("https://a"), true), Outcome::Failed);
        assert_eq!(outcome(&[star, star], None, false), Outcome::Failed);
        assert_eq!(outcome(&[], None, false), Outcome::Passed);
        assert_eq!(outcome(&[], None, true), Outcome::Warning);
        assert_eq!(outcome(&[], Some("https://a"), false), Outcome::Failed);
        assert_eq!(outcome(&[named, credentials], Some("https://a"), true), Outcome::Passed);
    }
}
