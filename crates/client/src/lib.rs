//! A Socket.IO client over WebSocket: what `rookery sub` and `rookery pub` speak.
//!
//! Engine.IO revision 4, Socket.IO revision 5. It has no task of its own: heartbeats are answered
//! while its owner waits in [`Client::next`] or [`Client::emit_with_ack`]. It does not reconnect.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use rookery_protocol::Data;
use rookery_protocol::packet::{self, Body, Packet};

mod backoff;
pub mod bench;
mod error;
mod target;
mod transport;

pub use backoff::Backoff;
pub use error::ClientError;
pub use target::Target;
use transport::Transport;

/// The most events that wait here while the owner waits for an answer.
const MAX_WAITING: usize = 4096;

/// An event from the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its arguments.
    pub args: Vec<Data>,
    /// Set when the server waits for an answer; see [`Client::answer`].
    pub id: Option<u64>,
}

/// A connection to one namespace of a Socket.IO server.
#[derive(Debug)]
pub struct Client {
    transport: Transport,
    namespace: String,
    session: String,
    next_id: u64,
    waiting: VecDeque<Event>,
}

impl Client {
    /// Connects, and asks for the namespace; both within [`Target::timeout`].
    ///
    /// # Errors
    /// When nobody listens there, the handshake is refused, the namespace is refused
    /// ([`ClientError::Refused`]), or it takes too long.
    pub async fn connect(target: &Target) -> Result<Client, ClientError> {
        within(target.timeout, "the connection", Client::open(target)).await
    }

    async fn open(target: &Target) -> Result<Client, ClientError> {
        let mut transport = Transport::open(target).await?;
        let connect = packet::encode_connect(&target.namespace, target.auth().as_ref());
        transport.send(&connect, Vec::new()).await?;
        loop {
            let packet = receive(&mut transport).await?;
            match packet.body {
                _ if packet.namespace != target.namespace => {}
                Body::Connect(answer) => {
                    let session = answer.as_ref().and_then(|a| a.get("sid")?.as_str());
                    return Ok(Client {
                        session: session.unwrap_or_default().to_owned(),
                        transport,
                        namespace: target.namespace.clone(),
                        next_id: 0,
                        waiting: VecDeque::new(),
                    });
                }
                Body::ConnectError(error) => return Err(ClientError::refused(&error)),
                _ => {}
            }
        }
    }

    /// The session's id in this namespace, as the server gave it.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Sends an event and asks for no answer.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn emit(&mut self, event: &str, args: &[Data]) -> Result<(), ClientError> {
        let (text, attachments) = packet::encode_event(&self.namespace, None, event, args);
        self.transport.send(&text, attachments).await
    }

    /// Sends an event and waits for its answer. Events that come first are kept for
    /// [`Client::next`].
    ///
    /// # Errors
    /// When the connection is lost, the server dismisses this client, there is no answer within
    /// `timeout`, or more than 4,096 events come before it ([`ClientError::Overrun`]).
    pub async fn emit_with_ack(
        &mut self,
        event: &str,
        args: &[Data],
        timeout: Duration,
    ) -> Result<Vec<Data>, ClientError> {
        let id = self.next_id;
        self.next_id += 1;
        let (text, attachments) = packet::encode_event(&self.namespace, Some(id), event, args);
        let answer = async {
            self.transport.send(&text, attachments).await?;
            loop {
                match self.receive().await? {
                    (Some(answered), Body::Ack(args)) if answered == id => return Ok(args),
                    (id, Body::Event { event, args }) => {
                        if self.waiting.len() == MAX_WAITING {
                            return Err(ClientError::Overrun);
                        }
                        self.waiting.push_back(Event { name: event, args, id });
                    }
                    _ => {}
                }
            }
        };
        within(timeout, "the answer", answer).await
    }

    /// Answers an event that has an id.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn answer(&mut self, id: u64, args: &[Data]) -> Result<(), ClientError> {
        let (text, attachments) = packet::encode_ack(&self.namespace, id, args);
        self.transport.send(&text, attachments).await
    }

    /// The next event. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the connection is lost, or the server dismisses this client.
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        if let Some(event) = self.waiting.pop_front() {
            return Ok(event);
        }
        loop {
            if let (id, Body::Event { event, args }) = self.receive().await? {
                return Ok(Event { name: event, args, id });
            }
        }
    }

    /// Leaves the namespace and closes the connection, waiting at most one second for it.
    pub async fn close(mut self) {
        let goodbye = async {
            let text = packet::encode_disconnect(&self.namespace);
            let _ = self.transport.send(&text, Vec::new()).await;
            self.transport.close().await;
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), goodbye).await;
    }

    /// The next packet of this namespace.
    async fn receive(&mut self) -> Result<(Option<u64>, Body), ClientError> {
        loop {
            let packet = receive(&mut self.transport).await?;
            match packet.body {
                _ if packet.namespace != self.namespace => {}
                Body::Disconnect => return Err(ClientError::Dismissed),
                Body::ConnectError(error) => return Err(ClientError::refused(&error)),
                body => return Ok((packet.id, body)),
            }
        }
    }
}

async fn receive(transport: &mut Transport) -> Result<Packet, ClientError> {
    let incoming = transport.receive().await?;
    Ok(packet::decode(&incoming.text, &incoming.attachments)?)
}

async fn within<T>(
    limit: Duration,
    what: &'static str,
    future: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    match tokio::time::timeout_at(Instant::now() + limit, future).await {
        Ok(result) => result,
        Err(_) => Err(ClientError::Timeout { what, limit }),
    }
}

#[cfg(test)]
mod tests;
