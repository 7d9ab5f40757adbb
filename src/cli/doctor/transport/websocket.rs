//! [`WebSocketSession`]: an Engine.IO session over a WebSocket, from the start or upgraded.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::header;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::connector::{Connector, Stream, TIMEOUT, os_message};
use super::cookies::CookieJar;
use super::open_packet::OpenPacket;
use super::polling::{PollingSession, is_connect};
use crate::cli::doctor::fault::Fault;
use rookery_client::Target;
use rookery_protocol::packet;

/// A session over a WebSocket.
pub(in crate::cli::doctor) struct WebSocketSession {
    stream: WebSocketStream<Box<dyn Stream>>,
    /// The session's first packet.
    pub(in crate::cli::doctor) open: OpenPacket,
    /// When the WebSocket was established.
    since: Instant,
}

impl WebSocketSession {
    /// Opens a session with a WebSocket from the start.
    ///
    /// # Errors
    /// When the handshake fails, or the first packet is not an open packet.
    pub(in crate::cli::doctor) async fn open(
        connector: &Connector,
        target: &Target,
    ) -> Result<WebSocketSession, Fault> {
        let what = "the WebSocket";
        let path = format!("{}?EIO=4&transport=websocket", target.endpoint().path());
        let mut stream = handshake(connector, &path, &CookieJar::default()).await?;
        let since = Instant::now();
        let text = receive(&mut stream, what, since, TIMEOUT).await?;
        Ok(WebSocketSession { stream, open: OpenPacket::parse(what, &text)?, since })
    }

    /// Upgrades a polling session as stock clients do, with a poll in progress.
    ///
    /// # Errors
    /// When the handshake, the probe or the poll fails.
    pub(in crate::cli::doctor) async fn upgrade(
        mut polling: PollingSession,
    ) -> Result<WebSocketSession, Fault> {
        let what = "the upgrade";
        let path = format!("{}?EIO=4&transport=websocket&sid={}", polling.path, polling.open.sid);
        let (connector, cookies) = (polling.connector.clone(), polling.cookies.clone());
        let open = polling.open.clone();
        let probe = async {
            let mut stream = handshake(&connector, &path, &cookies).await?;
            let since = Instant::now();
            send(&mut stream, "2probe", since).await?;
            let reply = receive(&mut stream, what, since, TIMEOUT).await?;
            if reply != "3probe" {
                return Err(Fault::not_engine_io(what, reply.as_bytes()));
            }
            Ok((stream, since))
        };
        // The server completes the poll when it receives the probe.
        let poll = async { polling.packet(open.heartbeat_timeout()).await.map(drop) };
        let ((mut stream, since), ()) = tokio::try_join!(probe, poll)?;
        send(&mut stream, "5", since).await?;
        Ok(WebSocketSession { stream, open, since })
    }

    /// Connects to the namespace.
    ///
    /// # Errors
    /// [`Fault::Refused`], or when the connection is cut off.
    pub(in crate::cli::doctor) async fn connect(&mut self, target: &Target) -> Result<(), Fault> {
        let auth = target.auth();
        let connect = packet::encode_connect(target.namespace(), auth.as_ref());
        self.send(&format!("4{connect}")).await?;
        loop {
            if is_connect(&self.packet(TIMEOUT).await?, target)? {
                return Ok(());
            }
        }
    }

    /// Sends a packet.
    pub(in crate::cli::doctor) async fn send(&mut self, packet: &str) -> Result<(), Fault> {
        send(&mut self.stream, packet, self.since).await
    }

    /// Receives the next packet, within `limit`.
    pub(in crate::cli::doctor) async fn packet(
        &mut self,
        limit: Duration,
    ) -> Result<String, Fault> {
        match receive(&mut self.stream, "the WebSocket", self.since, limit).await? {
            close if close.starts_with('1') => Err(Fault::SessionClosed),
            packet => Ok(packet),
        }
    }

    /// Closes the session within one second, without regard to errors.
    pub(in crate::cli::doctor) async fn close(mut self) {
        let leave = async {
            let _ = self.send("1").await;
            let _ = self.stream.close(None).await;
        };
        let _ = timeout(Duration::from_secs(1), leave).await;
    }
}

async fn handshake(
    connector: &Connector,
    path_and_query: &str,
    cookies: &CookieJar,
) -> Result<WebSocketStream<Box<dyn Stream>>, Fault> {
    let what = "the WebSocket handshake";
    let url = format!("ws://{}{path_and_query}", connector.authority());
    let mut request = url
        .into_client_request()
        .map_err(|error| Fault::not_engine_io(what, error.to_string().as_bytes()))?;
    request.headers_mut().extend(cookies.header().map(|cookies| (header::COOKIE, cookies)));
    let stream = connector.connect().await?;
    let since = Instant::now();
    match timeout(TIMEOUT, client_async(request, stream)).await {
        Ok(Ok((stream, _))) => Ok(stream),
        Ok(Err(WsError::Http(response))) => {
            let status = response.status().as_u16();
            Err(Fault::status(what, status, &response.into_body().unwrap_or_default()))
        }
        Ok(Err(error)) => Err(cut_off(what, since, &error)),
        Err(_) => Err(Fault::TimedOut { what, limit: TIMEOUT }),
    }
}

async fn send(
    stream: &mut WebSocketStream<Box<dyn Stream>>,
    packet: &str,
    since: Instant,
) -> Result<(), Fault> {
    let what = "the WebSocket";
    match timeout(TIMEOUT, stream.send(Message::text(packet))).await {
        Ok(sent) => sent.map_err(|error| cut_off(what, since, &error)),
        Err(_) => Err(Fault::TimedOut { what, limit: TIMEOUT }),
    }
}

async fn receive(
    stream: &mut WebSocketStream<Box<dyn Stream>>,
    what: &'static str,
    since: Instant,
    limit: Duration,
) -> Result<String, Fault> {
    let next = async {
        loop {
            match stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Close(_))) | None => return Err(closed(what, since)),
                // Attachments of events, and pings of the WebSocket protocol.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(cut_off(what, since, &error)),
            }
        }
    };
    timeout(limit, next).await.unwrap_or(Err(Fault::TimedOut { what, limit }))
}

fn closed(what: &'static str, since: Instant) -> Fault {
    Fault::CutOff { what, after: since.elapsed(), reason: "it was closed".to_owned() }
}

fn cut_off(what: &'static str, since: Instant, error: &WsError) -> Fault {
    let reason = match error {
        WsError::Io(error) => os_message(error),
        error => error.to_string(),
    };
    Fault::CutOff { what, after: since.elapsed(), reason }
}
