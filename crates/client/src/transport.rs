//! [`Transport`]: an Engine.IO session over one WebSocket, with its heartbeats and attachments.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::error::ClientError;
use crate::target::Target;
use rookery_protocol::packet;

/// Characters of a rejected handshake's body that an error quotes.
const MAX_QUOTED: usize = 300;

/// An Engine.IO session.
#[derive(Debug)]
pub(super) struct Transport {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The longest time without a message before the connection counts as lost; the timeout of the
    /// target until the open packet arrives.
    heartbeat_timeout: Duration,
    /// When the last message arrived.
    last_message: Instant,
    /// A packet whose attachments have not all arrived.
    partial: Option<Incoming>,
}

/// A Socket.IO packet: the text without its Engine.IO type, and the attachments.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) text: String,
    pub(super) attachments: Vec<Bytes>,
    /// The number of attachments that the text announces.
    announced: usize,
}

/// The fields of the Engine.IO open packet that the client uses, in milliseconds.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Open {
    ping_interval: u64,
    ping_timeout: u64,
}

impl Transport {
    /// Opens the WebSocket and reads the open packet.
    pub(super) async fn open(target: &Target) -> Result<Transport, ClientError> {
        let (socket, _) = connect_async(target.endpoint().as_str())
            .await
            .map_err(|error| handshake_error(target, error))?;
        let mut transport = Transport {
            socket,
            heartbeat_timeout: target.timeout(),
            last_message: Instant::now(),
            partial: None,
        };
        let open = loop {
            match transport.message().await? {
                Message::Text(text) => match text.strip_prefix('0') {
                    Some(json) => break json.to_owned(),
                    None => return Err(ClientError::Engine("the open packet did not come first")),
                },
                Message::Binary(_) => {
                    return Err(ClientError::Engine("the open packet did not come first"));
                }
                _ => {}
            }
        };
        let open: Open = serde_json::from_str(&open).map_err(|_| {
            ClientError::Engine("the open packet has no pingInterval and pingTimeout")
        })?;
        transport.heartbeat_timeout =
            Duration::from_millis(open.ping_interval.saturating_add(open.ping_timeout));
        Ok(transport)
    }

    /// Sends a packet and its attachments.
    pub(super) async fn send(
        &mut self,
        text: &str,
        attachments: Vec<Bytes>,
    ) -> Result<(), ClientError> {
        self.socket.feed(Message::text(format!("4{text}"))).await.map_err(lost)?;
        for bytes in attachments {
            self.socket.feed(Message::Binary(bytes)).await.map_err(lost)?;
        }
        self.socket.flush().await.map_err(lost)
    }

    /// Waits for the next whole packet and answers heartbeats meanwhile. Cancel safe.
    pub(super) async fn receive(&mut self) -> Result<Incoming, ClientError> {
        loop {
            match self.message().await? {
                Message::Text(text) => {
                    if let Some(incoming) = self.text(&text).await? {
                        return Ok(incoming);
                    }
                }
                Message::Binary(bytes) => {
                    let Some(partial) = &mut self.partial else {
                        return Err(ClientError::Engine("unexpected attachment"));
                    };
                    partial.attachments.push(bytes);
                    if partial.attachments.len() == partial.announced
                        && let Some(incoming) = self.partial.take()
                    {
                        return Ok(incoming);
                    }
                }
                _ => {}
            }
        }
    }

    /// Closes the WebSocket.
    pub(super) async fn close(&mut self) {
        let _ = self.socket.close(None).await;
    }

    async fn text(&mut self, text: &str) -> Result<Option<Incoming>, ClientError> {
        match text.as_bytes().first() {
            Some(b'4') if self.partial.is_some() => {
                Err(ClientError::Engine("expected an attachment, found a text packet"))
            }
            Some(b'4') => {
                let text = text[1..].to_owned();
                let announced = packet::announced_attachments(&text)?;
                let incoming = Incoming { text, attachments: Vec::new(), announced };
                if announced == 0 {
                    return Ok(Some(incoming));
                }
                self.partial = Some(incoming);
                Ok(None)
            }
            Some(b'2') => {
                self.socket.send(Message::text(format!("3{}", &text[1..]))).await.map_err(lost)?;
                Ok(None)
            }
            Some(b'1') => {
                Err(ClientError::ConnectionLost("the server closed the session".to_owned()))
            }
            Some(b'6') => Ok(None),
            _ => Err(ClientError::Engine("unknown packet type")),
        }
    }

    async fn message(&mut self) -> Result<Message, ClientError> {
        match tokio::time::timeout_at(
            self.last_message + self.heartbeat_timeout,
            self.socket.next(),
        )
        .await
        {
            Ok(Some(Ok(Message::Close(_))) | None) => {
                Err(ClientError::ConnectionLost("the server closed it".to_owned()))
            }
            Ok(Some(Ok(message))) => {
                self.last_message = Instant::now();
                Ok(message)
            }
            Ok(Some(Err(error))) => Err(lost(error)),
            Err(_) => Err(ClientError::ConnectionLost(format!(
                "no message for {}",
                humantime::format_duration(self.heartbeat_timeout)
            ))),
        }
    }
}

fn lost(error: WsError) -> ClientError {
    ClientError::ConnectionLost(error.to_string())
}

fn handshake_error(target: &Target, error: WsError) -> ClientError {
    match error {
        WsError::Http(response) => {
            let status = response.status().as_u16();
            let body = response.into_body().unwrap_or_default();
            let body = String::from_utf8_lossy(&body);
            ClientError::Handshake {
                url: target.url().to_owned(),
                status,
                body: body.trim().chars().take(MAX_QUOTED).collect(),
            }
        }
        WsError::Url(error) => ClientError::Target(format!("`{}`: {error}", target.url())),
        WsError::Io(error) => unreachable(target, io_reason(&error)),
        error => unreachable(target, error.to_string()),
    }
}

fn unreachable(target: &Target, reason: String) -> ClientError {
    ClientError::Unreachable { url: target.url().to_owned(), reason }
}

/// The operating system's message, without the error number.
fn io_reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    }
}
