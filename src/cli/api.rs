//! The server's HTTP API, for the commands that call it.

use reqwest::Url;

use super::report::Usage;

/// Parses the URL of a server's internal listener.
///
/// # Errors
/// A message that shows a valid URL.
pub(super) fn url(text: &str) -> Result<Url, String> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| "expected a URL such as http://127.0.0.1:9090".to_owned())
}

/// Refuses a user name or password in the URL: the API does not take them, and messages would show
/// them. Not part of parsing, because the command line's errors repeat what was given.
///
/// # Errors
/// [`Usage`], with neither of them in the message.
pub(super) fn without_credentials(api: &Url) -> Result<(), Usage> {
    if api.username().is_empty() && api.password().is_none() {
        return Ok(());
    }
    Err(Usage(
        "the URL of the API contains a user name or password; remove it, and pass an API key with \
         --key"
            .to_owned(),
    ))
}

/// The error for an API that cannot be reached.
pub(super) fn unreachable(api: &Url) -> anyhow::Error {
    anyhow::anyhow!(
        "no server at {api}; start one with `rookery serve`, or name its internal address with \
         --api"
    )
}

/// The message of a problem document (RFC 9457), or the start of another body, and the status.
pub(super) fn problem(status: u16, body: &str) -> String {
    let document = serde_json::from_str::<serde_json::Value>(body).unwrap_or_default();
    let message = ["detail", "title"].iter().find_map(|key| document.get(key)?.as_str());
    let message = message.map_or_else(|| body.trim().chars().take(300).collect(), str::to_owned);
    format!("{message} ({status})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_credentials_is_accepted() {
        assert!(without_credentials(&url("http://h:9090").unwrap()).is_ok());
        assert!(without_credentials(&url("http://ada@h:9090").unwrap()).is_err());
    }

    #[test]
    fn a_problem_is_shown_by_its_detail_its_title_or_the_body() {
        assert_eq!(problem(403, r#"{"title":"t","detail":"d"}"#), "d (403)");
        assert_eq!(problem(401, r#"{"title":"t"}"#), "t (401)");
        assert_eq!(problem(502, "<html>\n"), "<html> (502)");
    }
}
