//! [`CookieJar`]: cookies as a browser keeps them for one host.

use std::collections::BTreeMap;

use http::header::{self, HeaderMap, HeaderValue};

/// Cookies as a browser keeps them for one host.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::cli::doctor) struct CookieJar {
    cookies: BTreeMap<String, String>,
    /// Names of `Secure` cookies, which a browser does not send over plain HTTP.
    pub(in crate::cli::doctor) withheld: Vec<String>,
}

impl CookieJar {
    /// Stores the cookies that a response sets.
    pub(super) fn store(&mut self, headers: &HeaderMap, tls: bool) {
        for cookie in headers.get_all(header::SET_COOKIE) {
            let mut parts = cookie.to_str().unwrap_or_default().split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            let attributes: Vec<_> = parts.map(str::to_ascii_lowercase).collect();
            let has = |attribute: &str| attributes.iter().any(|a| a == attribute);
            if has("max-age=0") {
                self.cookies.remove(name);
            } else if has("secure") && !tls {
                self.withheld.push(name.to_owned());
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// The value of the `Cookie` header; `None` without cookies.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let pairs: Vec<_> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| HeaderValue::from_str(&pairs.join("; ")).ok()).flatten()
    }

    /// The cookies' names, sorted.
    pub(in crate::cli::doctor) fn names(&self) -> Vec<&str> {
        self.cookies.keys().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_kept_as_a_browser_does() {
        let mut headers = HeaderMap::new();
        for cookie in ["a=1; Path=/; HttpOnly", "b=2; Secure", "c=", "d"] {
            headers.append(header::SET_COOKIE, HeaderValue::from_static(cookie));
        }
        let mut jar = CookieJar::default();
        jar.store(&headers, false);
        assert_eq!(jar.header().unwrap(), "a=1; c=");
        assert_eq!(jar.withheld, ["b"]);
        let mut jar = CookieJar::default();
        jar.store(&headers, true);
        assert_eq!(jar.names(), ["a", "b", "c"]);
        headers.clear();
        headers.insert(header::SET_COOKIE, HeaderValue::from_static("a=; Path=/; Max-Age=0"));
        jar.store(&headers, true);
        assert_eq!(jar.names(), ["b", "c"]);
    }
}
