//! What a browser makes of the headers of an answer.

use http::header::{self, HeaderMap};

use super::polling::Answer;
use super::printer::Mark;

/// What a browser makes of an answer to a page of `asked`, or of an unknown site.
pub(super) fn judge(
    answer: &Answer,
    asked: Option<&str>,
    cookie_matters: bool,
) -> (Mark, String, Option<&'static str>) {
    let all = |headers: &HeaderMap, name| headers.get_all(name).iter().count();
    let allowed = answer.headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    let allowed = allowed.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let credentials = answer.headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
    if all(&answer.headers, header::ACCESS_CONTROL_ALLOW_ORIGIN) > 1 {
        let text = "Access-Control-Allow-Origin is there twice: browsers take neither".to_owned();
        let fix = "Rookery answers for CORS (socketio.cors): remove it from the ingress";
        return (Mark::Wrong, text, Some(fix));
    }
    match (allowed.as_deref(), asked) {
        (None, Some(origin)) => {
            (Mark::Wrong, format!("pages of {origin} are kept out"), Some(NAME_ORIGINS))
        }
        (None, None) => (Mark::Fine, "pages of other sites are kept out".to_owned(), None),
        (Some(_), _) if credentials => {
            (Mark::Fine, "pages of named origins may connect, with cookies".to_owned(), None)
        }
        (Some(who), _) if cookie_matters => {
            let text = format!(
                "browsers withhold the sticky cookie from pages of other sites ({who}): their \
                 polling clients lose their sessions"
            );
            let mark = if asked.is_some() { Mark::Wrong } else { Mark::Warning };
            (mark, text, Some(NAME_ORIGINS))
        }
        (Some("*"), _) => (Mark::Fine, "pages of every site may connect".to_owned(), None),
        (Some(who), _) => (Mark::Fine, format!("pages of {who} may connect"), None),
    }
}

const NAME_ORIGINS: &str = "name the pages' origins in socketio.cors.origins, set \
    socketio.cors.credentials: true, and withCredentials: true in clients";

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    fn answer(headers: &[(&'static str, &'static str)]) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        Answer { status: 400, headers: map, body: Default::default() }
    }

    #[test]
    fn cors_is_judged_as_browsers_do() {
        let star = ("access-control-allow-origin", "*");
        let named = ("access-control-allow-origin", "https://a");
        let credentials = ("access-control-allow-credentials", "true");
        let mark = |headers: &[_], asked, matters| judge(&answer(headers), asked, matters).0;
        assert_eq!(mark(&[star], None, false), Mark::Fine);
        assert_eq!(mark(&[star], None, true), Mark::Warning);
        assert_eq!(mark(&[star], Some("https://a"), true), Mark::Wrong);
        assert_eq!(mark(&[star, star], None, false), Mark::Wrong);
        assert_eq!(mark(&[], None, true), Mark::Fine);
        assert_eq!(mark(&[], Some("https://a"), false), Mark::Wrong);
        assert_eq!(mark(&[named, credentials], Some("https://a"), true), Mark::Fine);
    }
}
