//! [`PollingSession`]: an Engine.IO session by polling. Every request has a connection of its own,
//! so that a load balancer is free to choose a server for each.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::connector::{Connector, TIMEOUT};
use super::cookies::CookieJar;
use super::open_packet::OpenPacket;
use super::request::{Request, Response};
use crate::cli::doctor::fault::Fault;
use rookery_client::{ClientError, Target};
use rookery_protocol::packet::{self, Body};

/// Separates the packets of one response (Engine.IO protocol, revision 4, "Payload encoding").
const SEPARATOR: char = '\u{1e}';

/// A session by polling.
pub(in crate::cli::doctor) struct PollingSession {
    pub(super) connector: Connector,
    /// The cookies of the session's responses.
    pub(in crate::cli::doctor) cookies: CookieJar,
    /// The session's first packet.
    pub(in crate::cli::doctor) open: OpenPacket,
    /// The path of the Socket.IO endpoint.
    pub(in crate::cli::doctor) path: String,
    /// Packets that were received together with an earlier one.
    received: VecDeque<String>,
}

impl PollingSession {
    /// Opens a session.
    ///
    /// # Errors
    /// When the request fails, or its response is not an open packet.
    pub(in crate::cli::doctor) async fn open(
        connector: &Connector,
        target: &Target,
    ) -> Result<PollingSession, Fault> {
        let what = "the handshake by polling";
        let path = target.endpoint().path().to_owned();
        let request = Request::get(format!("{path}?EIO=4&transport=polling"));
        let response = request.send(connector, what, TIMEOUT).await?;
        let mut packets = response.text(what)?.split(SEPARATOR).map(str::to_owned);
        let open = OpenPacket::parse(what, &packets.next().unwrap_or_default())?;
        let mut cookies = CookieJar::default();
        cookies.store(&response.headers, connector.is_tls());
        let received = packets.collect();
        Ok(PollingSession { connector: connector.clone(), cookies, open, path, received })
    }

    /// Connects to the namespace.
    ///
    /// # Errors
    /// [`Fault::Refused`], or any other fault of a request.
    pub(in crate::cli::doctor) async fn connect(&mut self, target: &Target) -> Result<(), Fault> {
        let auth = target.auth();
        let connect = packet::encode_connect(target.namespace(), auth.as_ref());
        self.post(&format!("4{connect}")).await?;
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if is_connect(&self.packet(left).await?, target)? {
                return Ok(());
            }
        }
    }

    /// Receives the next packet. `limit` bounds each GET request.
    pub(in crate::cli::doctor) async fn packet(
        &mut self,
        limit: Duration,
    ) -> Result<String, Fault> {
        loop {
            match self.received.pop_front() {
                Some(close) if close.starts_with('1') => return Err(Fault::SessionClosed),
                Some(packet) => return Ok(packet),
                None => {
                    let request = Request::get(self.path_and_query());
                    let body = self.exchange(request, "a poll", limit).await?;
                    self.received.extend(body.split(SEPARATOR).map(str::to_owned));
                }
            }
        }
    }

    /// Sends a packet.
    pub(in crate::cli::doctor) async fn post(&mut self, packet: &str) -> Result<(), Fault> {
        let request = Request::post(self.path_and_query(), packet.to_owned());
        self.exchange(request, "a POST", TIMEOUT).await.map(drop)
    }

    /// Closes the session, without regard to errors.
    pub(in crate::cli::doctor) async fn close(mut self) {
        let _ = self.post("1").await;
    }

    /// Sends a request with the session's cookies, and returns the body of the response.
    async fn exchange(
        &mut self,
        request: Request,
        what: &'static str,
        limit: Duration,
    ) -> Result<String, Fault> {
        let request = request.with_cookies(&self.cookies);
        let response: Response = request.send(&self.connector, what, limit).await?;
        let text = response.text(what).map(str::to_owned);
        let text = text.map_err(|fault| fault.with_cookies(self.cookies.names()));
        self.cookies.store(&response.headers, self.connector.is_tls());
        text
    }

    fn path_and_query(&self) -> String {
        format!("{}?EIO=4&transport=polling&sid={}", self.path, self.open.sid)
    }
}

/// Whether a packet is the CONNECT of the target's namespace.
///
/// # Errors
/// [`Fault::Refused`] when it is the namespace's CONNECT_ERROR.
pub(super) fn is_connect(text: &str, target: &Target) -> Result<bool, Fault> {
    let Some(text) = text.strip_prefix('4') else { return Ok(false) };
    let Ok(packet) = packet::decode(text, &[]) else { return Ok(false) };
    match packet.body {
        _ if packet.namespace != target.namespace() => Ok(false),
        Body::Connect(_) => Ok(true),
        Body::ConnectError(error) => Err(ClientError::refused(&error).into()),
        _ => Ok(false),
    }
}
