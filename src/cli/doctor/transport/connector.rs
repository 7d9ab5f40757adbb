//! [`Way`]: from here to whoever answers for the URL, connection by connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::fault::Fault;
use super::tls;
use rookery_client::Target;

/// How long a connection, or an answer that nothing is waited for, may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A connection, with TLS or without.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// How connections are made.
#[derive(Clone)]
pub(super) struct Way {
    /// The host that requests and the certificate are for.
    host: String,
    /// The Host header.
    authority: String,
    /// Where to connect to.
    to: (String, u16),
    tls: Option<TlsConnector>,
}

impl Way {
    /// To the target's host, or to `connect_to` (`HOST` or `HOST:PORT`) in its place.
    ///
    /// # Errors
    /// What is wrong with `connect_to`.
    pub(super) fn new(
        target: &Target,
        connect_to: Option<&str>,
        insecure: bool,
    ) -> Result<Way, String> {
        let url = target.endpoint();
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default().unwrap_or(80);
        let to = match connect_to {
            Some(text) => address(text, port)?,
            None => (host.trim_matches(['[', ']']).to_owned(), port),
        };
        let authority = url.port().map_or(host.clone(), |port| format!("{host}:{port}"));
        let tls = (url.scheme() == "wss").then(|| tls::connector(insecure));
        Ok(Way { host, authority, to, tls })
    }

    /// The Host header of every request.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether requests are encrypted.
    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The address that the name stands for.
    pub(super) async fn resolve(&self) -> Result<SocketAddr, Fault> {
        let unresolved = |reason: String| Fault::Unresolved { host: self.to.0.clone(), reason };
        let found = timeout(PATIENCE, lookup_host((self.to.0.as_str(), self.to.1))).await;
        let mut found = found
            .map_err(|_| unresolved("no answer from DNS".to_owned()))?
            .map_err(|error| unresolved(resolver_says(&error)))?;
        found.next().ok_or_else(|| unresolved("it has no address".to_owned()))
    }

    /// A new connection.
    pub(super) async fn dial(&self) -> Result<Box<dyn Stream>, Fault> {
        let address = self.resolve().await?;
        let unreachable =
            |reason: String| Fault::Unreachable { address: address.to_string(), reason };
        let tcp = timeout(PATIENCE, TcpStream::connect(address))
            .await
            .map_err(|_| unreachable("no answer".to_owned()))?
            .map_err(|error| unreachable(system_says(&error)))?;
        let _ = tcp.set_nodelay(true);
        let Some(tls) = &self.tls else { return Ok(Box::new(tcp)) };
        let name = ServerName::try_from(self.host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| self.tls_fault("the URL's host is no name".to_owned(), false))?;
        let stream = timeout(PATIENCE, tls.connect(name, tcp)).await;
        let stream = stream
            .map_err(|_| self.tls_fault("no answer".to_owned(), false))?
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

/// `HOST`, `HOST:PORT`, `[V6]:PORT`, or an address alone.
fn address(text: &str, port: u16) -> Result<(String, u16), String> {
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

fn resolver_says(error: &io::Error) -> String {
    error.to_string().trim_start_matches("failed to lookup address information: ").to_owned()
}

/// The operating system's words, without its number.
pub(super) fn system_says(error: &io::Error) -> String {
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

    fn way(url: &str, to: Option<&str>) -> Way {
        Way::new(&Target::new(url).unwrap(), to, false).unwrap()
    }

    #[test]
    fn the_port_is_the_url_s_unless_another_is_named() {
        assert_eq!(way("http://a", None).to, ("a".to_owned(), 80));
        assert_eq!(way("https://a", None).to, ("a".to_owned(), 443));
        assert_eq!(way("https://a:8443", Some("t.svc")).to, ("t.svc".to_owned(), 8443));
        assert_eq!(way("https://a", Some("t.svc:1")).to, ("t.svc".to_owned(), 1));
        assert_eq!(way("http://a", Some("::1")).to, ("::1".to_owned(), 80));
        assert_eq!(way("http://a", Some("[::1]:81")).to, ("::1".to_owned(), 81));
        assert_eq!(way("http://[::1]:3000", None).to, ("::1".to_owned(), 3000));
        assert_eq!(way("http://a:81", Some("t")).authority(), "a:81");
        assert_eq!(way("http://a:80", Some("t")).authority(), "a");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", ":80", "http://a", "a:b", "a:99999"] {
            assert!(address(text, 80).is_err(), "{text}");
        }
    }
}
