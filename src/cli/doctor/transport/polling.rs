//! [`Polling`]: an Engine.IO session by polling, every request on a connection of its own, so that
//! whatever balances requests is free to choose a server for each.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use super::dial::{PATIENCE, Way};
use super::fault::Fault;
use rookery_client::{ClientError, Target};
use rookery_protocol::packet::{self, Body};

/// The most that an answer may have.
const MAX_ANSWER: usize = 1 << 20;

/// Separates packets of one answer (Engine.IO protocol, revision 4, "Payload encoding").
const SEPARATOR: char = '\u{1e}';

/// The Engine.IO open packet. Times are in milliseconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Open {
    pub(super) sid: String,
    #[serde(default)]
    pub(super) upgrades: Vec<String>,
    ping_interval: u64,
    ping_timeout: u64,
}

impl Open {
    /// From the packet, its `0` included.
    pub(super) fn parse(what: &'static str, text: &str) -> Result<Open, Fault> {
        let json = text.strip_prefix('0').and_then(|json| serde_json::from_str(json).ok());
        json.ok_or_else(|| Fault::foreign(what, text.as_bytes()))
    }

    /// The longest time between two heartbeats, as a client waits for one.
    pub(super) fn silence(&self) -> Duration {
        Duration::from_millis(self.ping_interval.saturating_add(self.ping_timeout))
    }

    /// The time between two heartbeats.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_millis(self.ping_interval)
    }
}

/// Cookies as a browser keeps them for one host.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Jar {
    cookies: BTreeMap<String, String>,
    /// Names of cookies that a browser does not send back, as the URL is not HTTPS.
    pub(super) withheld: Vec<String>,
}

impl Jar {
    /// Keeps what an answer sets.
    fn take(&mut self, headers: &HeaderMap, tls: bool) {
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

    /// The Cookie header.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let pairs: Vec<_> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| HeaderValue::from_str(&pairs.join("; ")).ok()).flatten()
    }

    /// The cookies' names.
    pub(super) fn names(&self) -> Vec<&str> {
        self.cookies.keys().map(String::as_str).collect()
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A session by polling.
#[derive(Clone)]
pub(super) struct Polling {
    pub(super) way: Way,
    pub(super) jar: Jar,
    pub(super) open: Open,
    pub(super) path: String,
    waiting: Vec<String>,
}

impl Polling {
    /// The handshake.
    ///
    /// # Errors
    /// Whatever is on the way.
    pub(super) async fn open(way: &Way, target: &Target) -> Result<Polling, Fault> {
        let what = "the handshake by polling";
        let path = target.endpoint().path().to_owned();
        let ask = Ask::get(format!("{path}?EIO=4&transport=polling"));
        let answer = ask.send(way, what, PATIENCE).await?;
        let body = readable(what, &answer)?;
        let mut packets = body.split(SEPARATOR).map(str::to_owned);
        let open = Open::parse(what, &packets.next().unwrap_or_default())?;
        let mut jar = Jar::default();
        jar.take(&answer.headers, way.is_tls());
        Ok(Polling { way: way.clone(), jar, open, path, waiting: packets.collect() })
    }

    /// Asks for the namespace and waits for the server's word.
    ///
    /// # Errors
    /// [`Fault::Refused`], or whatever is on the way.
    pub(super) async fn connect(&mut self, target: &Target) -> Result<(), Fault> {
        let auth = target.auth();
        let connect = packet::encode_connect(target.namespace_name(), auth.as_ref());
        self.post(&format!("4{connect}")).await?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let text = self.packet(left).await?;
            if let Some(granted) = granted(&text, target)? {
                return Ok(granted);
            }
        }
    }

    /// The next packet, from a GET where none is left. `limit` bounds one GET.
    pub(super) async fn packet(&mut self, limit: Duration) -> Result<String, Fault> {
        while self.waiting.is_empty() {
            let body = self.get(limit).await?;
            self.waiting.extend(body.split(SEPARATOR).map(str::to_owned));
        }
        match self.waiting.remove(0) {
            end if end.starts_with('1') => Err(Fault::Ended),
            packet => Ok(packet),
        }
    }

    /// One GET, and the packets that it brings.
    async fn get(&mut self, limit: Duration) -> Result<String, Fault> {
        let ask = Ask::get(self.address()).cookies(&self.jar);
        let answer = ask.send(&self.way, "a poll", limit).await?;
        let read = readable("a poll", &answer).map(str::to_owned);
        let read = read.map_err(|fault| fault.although_sent(self.jar.names()));
        self.jar.take(&answer.headers, self.way.is_tls());
        read
    }

    /// One POST.
    pub(super) async fn post(&mut self, packet: &str) -> Result<(), Fault> {
        let what = "a POST";
        let ask = Ask { body: packet.to_owned(), method: Method::POST, ..Ask::get(self.address()) };
        let answer = ask.cookies(&self.jar).send(&self.way, what, PATIENCE).await?;
        let read = readable(what, &answer).map(drop);
        let read = read.map_err(|fault| fault.although_sent(self.jar.names()));
        self.jar.take(&answer.headers, self.way.is_tls());
        read
    }

    /// Ends the session; whether the server hears it matters to nobody.
    pub(super) async fn close(mut self) {
        let _ = self.post("1").await;
    }

    fn address(&self) -> String {
        format!("{}?EIO=4&transport=polling&sid={}", self.path, self.open.sid)
    }
}

/// Whether this packet grants the namespace; anything else is passed over.
///
/// # Errors
/// [`Fault::Refused`].
pub(super) fn granted(text: &str, target: &Target) -> Result<Option<()>, Fault> {
    let Some(text) = text.strip_prefix('4') else { return Ok(None) };
    let Ok(packet) = packet::decode(text, &[]) else { return Ok(None) };
    match packet.body {
        _ if packet.namespace != target.namespace_name() => Ok(None),
        Body::Connect(_) => Ok(Some(())),
        Body::ConnectError(error) => Err(ClientError::refused(&error).into()),
        _ => Ok(None),
    }
}

/// A request.
pub(super) struct Ask {
    pub(super) method: Method,
    /// Path and query.
    pub(super) address: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Ask {
    /// A GET without headers of its own.
    pub(super) fn get(address: String) -> Ask {
        Ask { method: Method::GET, address, headers: HeaderMap::new(), body: String::new() }
    }

    /// With these cookies.
    fn cookies(mut self, jar: &Jar) -> Ask {
        self.headers.extend(jar.header().map(|cookies| (header::COOKIE, cookies)));
        self
    }

    /// Sends it on a connection of its own and reads the answer, within `limit`.
    ///
    /// # Errors
    /// Whatever is on the way; any status is an answer.
    pub(super) async fn send(
        self,
        way: &Way,
        what: &'static str,
        limit: Duration,
    ) -> Result<Answer, Fault> {
        let stream = way.dial().await?;
        let since = Instant::now();
        let cut = |error: &dyn std::fmt::Display| Fault::Cut {
            what,
            after: since.elapsed(),
            reason: error.to_string(),
        };
        let exchange = async {
            let made = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
            let (mut sender, connection) = made.map_err(|error| cut(&error))?;
            let request = self.request(way);
            let answer = async {
                let response = sender.send_request(request).await.map_err(|error| cut(&error))?;
                let (head, body) = response.into_parts();
                let body = Limited::new(body, MAX_ANSWER).collect().await;
                let body = body.map_err(|error| cut(&error))?.to_bytes();
                Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
            };
            match select(Box::pin(answer), Box::pin(connection)).await {
                Either::Left((answer, _)) => answer,
                // The answer knows how the connection ended.
                Either::Right((_, answer)) => answer.await,
            }
        };
        timeout(limit, exchange).await.unwrap_or(Err(Fault::Silent { what, limit }))
    }

    fn request(self, way: &Way) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(Bytes::from(self.body)));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.address.parse().unwrap_or_default();
        *request.headers_mut() = self.headers;
        let headers = request.headers_mut();
        headers.extend(HeaderValue::from_str(way.authority()).map(|host| (header::HOST, host)));
        let agent = HeaderValue::from_static(concat!("rookery-doctor/", env!("CARGO_PKG_VERSION")));
        headers.insert(header::USER_AGENT, agent);
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        if self.method == Method::POST {
            let text = HeaderValue::from_static("text/plain;charset=UTF-8");
            headers.insert(header::CONTENT_TYPE, text);
        }
        request
    }
}

fn readable<'a>(what: &'static str, answer: &'a Answer) -> Result<&'a str, Fault> {
    if answer.status != 200 {
        return Err(Fault::status(what, answer.status, &answer.body));
    }
    std::str::from_utf8(&answer.body).map_err(|_| Fault::foreign(what, &answer.body))
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
        let mut jar = Jar::default();
        jar.take(&headers, false);
        assert_eq!(jar.header().unwrap(), "a=1; c=");
        assert_eq!(jar.withheld, ["b"]);
        let mut jar = Jar::default();
        jar.take(&headers, true);
        assert_eq!(jar.names(), ["a", "b", "c"]);
        headers.clear();
        headers.insert(header::SET_COOKIE, HeaderValue::from_static("a=; Path=/; Max-Age=0"));
        jar.take(&headers, true);
        assert_eq!(jar.names(), ["b", "c"]);
    }
}
