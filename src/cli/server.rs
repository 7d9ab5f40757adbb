//! [`ServerArgs`]: the flags of the commands that connect to a server as a client.

use rookery_client::{ClientError, Target};
use rookery_protocol::Data;

/// The server to connect to, the namespace, and the credentials.
#[derive(Clone, Debug, clap::Args)]
pub struct ServerArgs {
    /// The server's URL.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000", value_parser = url)]
    pub url: String,
    /// The token to authenticate with.
    #[arg(long, value_name = "TOKEN", env = "ROOKERY_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// The namespace to connect to.
    #[arg(long, value_name = "NAME", default_value = "/", value_parser = namespace)]
    pub namespace: String,
    /// The path of the server's Socket.IO endpoint.
    #[arg(long, value_name = "PATH", default_value = "/socket.io")]
    pub path: String,
}

impl ServerArgs {
    /// The target that the flags describe.
    ///
    /// # Errors
    /// When the URL or the namespace is invalid.
    pub fn target(&self) -> Result<Target, ClientError> {
        let token = self.token.as_deref();
        Target::new(&self.url)?
            .with_path(&self.path)
            .with_token(token)
            .with_namespace(&self.namespace)
    }
}

/// Validates a server's URL, and returns it as it was written.
pub(super) fn url(text: &str) -> Result<String, ClientError> {
    Target::new(text).map(|target| target.url().to_owned())
}

/// Validates a namespace, and returns it with its leading slash.
pub(super) fn namespace(text: &str) -> Result<String, ClientError> {
    let anywhere = Target::new("http://127.0.0.1")?;
    anywhere.with_namespace(text).map(|target| target.namespace().to_owned())
}

/// The message and code of an acknowledgement `{status: "ERROR", error: {code, message}}`; `None`
/// for any other acknowledgement.
pub(super) fn refusal(ack: &[Data]) -> Option<String> {
    let body = ack.first()?;
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
    fn invalid_urls_and_namespaces_are_refused() {
        assert_eq!(url("http://h/x").unwrap(), "http://h/x");
        assert!(url("127.0.0.1:3000").unwrap_err().to_string().contains("expected a URL"));
        assert_eq!(namespace("a").unwrap(), "/a");
        assert!(namespace("a,b").is_err());
    }

    #[test]
    fn only_an_error_status_is_a_refusal() {
        let ack = |json: &str| vec![serde_json::from_str::<Data>(json).unwrap()];
        assert_eq!(refusal(&ack(r#"{"status":"SUCCESS"}"#)), None);
        assert_eq!(refusal(&ack("true")), None);
        assert_eq!(refusal(&[]), None);
        assert_eq!(
            refusal(&ack(r#"{"status":"ERROR","error":{"code":"forbidden","message":"no"}}"#)),
            Some("no (forbidden)".to_owned())
        );
        assert_eq!(refusal(&ack(r#"{"status":"ERROR"}"#)), Some("no reason given".to_owned()));
    }
}
