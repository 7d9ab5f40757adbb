//! The flags that name a server, for the commands that are its clients.

use rookery_client::{ClientError, Target};
use rookery_protocol::Data;

/// Which server, and as whom.
#[derive(Clone, Debug, clap::Args)]
pub struct ServerArgs {
    /// The server's URL.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000", value_parser = url)]
    pub url: String,
    /// The token that the client presents.
    #[arg(long, value_name = "TOKEN", env = "ROOKERY_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// The namespace.
    #[arg(long, value_name = "NAME", default_value = "/", value_parser = namespace)]
    pub namespace: String,
    /// Where the server has its Socket.IO endpoint.
    #[arg(long, value_name = "PATH", default_value = "/socket.io")]
    pub path: String,
}

impl ServerArgs {
    /// Where a client connects to.
    ///
    /// # Errors
    /// When the URL or the namespace cannot be used.
    pub fn target(&self) -> Result<Target, ClientError> {
        let token = self.token.as_deref();
        Target::new(&self.url)?.path(&self.path).token(token).namespace(&self.namespace)
    }
}

/// A server's URL, checked; as it was written.
pub(super) fn url(text: &str) -> Result<String, ClientError> {
    Target::new(text).map(|target| target.url().to_owned())
}

/// A namespace's name, with its leading slash.
pub(super) fn namespace(text: &str) -> Result<String, ClientError> {
    let anywhere = Target::new("http://127.0.0.1")?;
    anywhere.namespace(text).map(|target| target.namespace_name().to_owned())
}

/// The refusal in an answer `{status: "ERROR", error: {code, message}}`, as one sentence.
pub(super) fn refusal(answer: &[Data]) -> Option<String> {
    let body = answer.first()?;
    if body.get("status")?.as_str()? != "ERROR" {
        return None;
    }
    let text = |key| body.get("error").and_then(|error| error.get(key)?.as_str());
    let message = text("message").unwrap_or("no reason given");
    Some(match text("code") {
        Some(code) => format!("{message} ({code})"),
        None => message.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_namespaces_are_checked_as_they_are_read() {
        assert_eq!(url("http://h/x").unwrap(), "http://h/x");
        assert!(url("127.0.0.1:3000").unwrap_err().to_string().contains("expected a URL"));
        assert_eq!(namespace("a").unwrap(), "/a");
        assert!(namespace("a,b").is_err());
    }

    #[test]
    fn only_an_error_is_a_refusal() {
        let answer = |json: &str| vec![serde_json::from_str::<Data>(json).unwrap()];
        assert_eq!(refusal(&answer(r#"{"status":"SUCCESS"}"#)), None);
        assert_eq!(refusal(&answer("true")), None);
        assert_eq!(refusal(&[]), None);
        assert_eq!(
            refusal(&answer(r#"{"status":"ERROR","error":{"code":"forbidden","message":"no"}}"#)),
            Some("no (forbidden)".to_owned())
        );
        assert_eq!(refusal(&answer(r#"{"status":"ERROR"}"#)), Some("no reason given".to_owned()));
    }
}
