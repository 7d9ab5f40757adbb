//! [`Connector`]: establishes connections to the server of a URL.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::tls;
use crate::cli::doctor::fault::Fault;
use rookery_client::Target;

/// How long connecting, and a response that the server does not hold back, may take.
pub(in crate::cli::doctor) const TIMEOUT: Duration = Duration::from_secs(10);

/// A connection, with or without TLS.
pub(in crate::cli::doctor) trait Stream:
    AsyncRead + AsyncWrite + Send + Unpin
{
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Establishes connections to the server of a URL.
#[derive(Clone)]
pub(in crate::cli::doctor) struct Connector {
    /// The URL's host, which the certificate must be for.
    host: String,
    /// The value of the `Host` header.
    authority: String,
    /// The host and port to connect to.
    to: (String, u16),
    tls: Option<TlsConnector>,
}

impl Connector {
    /// Connects to the target's host, or to `connect_to` (`HOST` or `HOST:PORT`) in its place;
    /// `insecure` accepts any certificate.
    ///
    /// # Errors
    /// A message that says what is wrong with `connect_to`.
    pub(in crate::cli::doctor) fn new(
        target: &Target,
        connect_to: Option<&str>,
        insecure: bool,
    ) -> Result<Connector, String> {
        let url = target.endpoint();
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default().unwrap_or(80);
        let to = match connect_to {
            Some(text) => parse_address(text, port)?,
            None => (host.trim_matches(['[', ']']).to_owned(), port),
        };
        let authority = url.port().map_or(host.clone(), |port| format!("{host}:{port}"));
        let tls = (url.scheme() == "wss").then(|| tls::connector(insecure));
        Ok(Connector { host, authority, to, tls })
    }

    /// The value of the `Host` header of every request.
    pub(in crate::cli::doctor) fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether connections use TLS.
    pub(in crate::cli::doctor) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Resolves the host to its first address.
    pub(in crate::cli::doctor) async fn resolve(&self) -> Result<SocketAddr, Fault> {
        let unresolved = |reason: String| Fault::Unresolved { host: self.to.0.clone(), reason };
        let found = timeout(TIMEOUT, lookup_host((self.to.0.as_str(), self.to.1))).await;
        let mut found = found
            .map_err(|_| unresolved("no response from DNS".to_owned()))?
            .map_err(|error| unresolved(resolver_message(&error)))?;
        found.next().ok_or_else(|| unresolved("it has no address".to_owned()))
    }

    /// Establishes a connection.
    pub(in crate::cli::doctor) async fn connect(&self) -> Result<Box<dyn Stream>, Fault> {
        let address = self.resolve().await?;
        let unreachable =
            |reason: String| Fault::Unreachable { address: address.to_string(), reason };
        let tcp = timeout(TIMEOUT, TcpStream::connect(address))
            .await
            .map_err(|_| unreachable("no response".to_owned()))?
            .map_err(|error| unreachable(os_message(&error)))?;
        let _ = tcp.set_nodelay(true);
        let Some(tls) = &self.tls else { return Ok(Box::new(tcp)) };
        let name = ServerName::try_from(self.host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| self.tls_fault("the URL's host is not a valid name".to_owned(), false))?;
        let stream = timeout(TIMEOUT, tls.connect(name, tcp)).await;
        let stream = stream
            .map_err(|_| self.tls_fault("no response".to_owned(), false))?
            .map_err(|error| self.tls_error(&error))?;
        Ok(Box::new(stream))
    }

    fn tls_error(&self, error: &io::Error) -> Fault {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let certificate = matches!(inner, Some(rustls::Error::InvalidCertificate(_)));
        self.tls_fault(error.to_string(), certificate)
    }

    fn tls_fault(&self, reason: String, certificate: bool) -> Fault {
        Fault::Tls { host: self.host.clone(), reason, certificate }
    }
}

/// Parses `HOST`, `HOST:PORT`, `[V6]:PORT` or an IP address; `port` is the default.
fn parse_address(text: &str, port: u16) -> Result<(String, u16), String> {
    let expected = || format!("expected HOST or HOST:PORT, found `{text}`");
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
        return Ok((ip.to_string(), port));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| expected())?),
        None => (text, port),
    };
    let host = host.trim_matches(['[', ']']);
    let is_name = !host.is_empty() && !host.contains(['/', '@', ' ']);
    if is_name { Ok((host.to_owned(), port)) } else { Err(expected()) }
}

fn resolver_message(error: &io::Error) -> String {
    error.to_string().trim_start_matches("failed to lookup address information: ").to_owned()
}

/// The operating system's message, without the error number.
pub(in crate::cli::doctor) fn os_message(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::UnexpectedEof => "the connection ended".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(url: &str, to: Option<&str>) -> Connector {
        Connector::new(&Target::new(url).unwrap(), to, false).unwrap()
    }

    #[test]
    fn the_port_is_the_url_s_unless_connect_to_names_one() {
        assert_eq!(connector("http://a", None).to, ("a".to_owned(), 80));
        assert_eq!(connector("https://a", None).to, ("a".to_owned(), 443));
        assert_eq!(connector("https://a:8443", Some("t.svc")).to, ("t.svc".to_owned(), 8443));
        assert_eq!(connector("https://a", Some("t.svc:1")).to, ("t.svc".to_owned(), 1));
        assert_eq!(connector("http://a", Some("::1")).to, ("::1".to_owned(), 80));
        assert_eq!(connector("http://a", Some("[::1]:81")).to, ("::1".to_owned(), 81));
        assert_eq!(connector("http://[::1]:3000", None).to, ("::1".to_owned(), 3000));
        assert_eq!(connector("http://a:81", Some("t")).authority(), "a:81");
        assert_eq!(connector("http://a:80", Some("t")).authority(), "a");
    }

    #[test]
    fn an_invalid_connect_to_is_refused() {
        for text in ["", ":80", "http://a", "a:b", "a:99999"] {
            assert!(parse_address(text, 80).is_err(), "{text}");
        }
    }
}
