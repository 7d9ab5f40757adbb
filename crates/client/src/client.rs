//! [`Client`]: a connection to one namespace of a Socket.IO server.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::ClientError;
use crate::target::Target;
use crate::transport::Transport;
use rookery_protocol::Data;
use rookery_protocol::packet::{self, Body, Packet};

/// The most events that are buffered while the caller waits for an acknowledgement.
const MAX_BUFFERED: usize = 4096;

/// An event from the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The event's name.
    pub name: String,
    /// The event's arguments, in order, binary included.
    pub args: Vec<Data>,
    /// The id for [`Client::ack`], where the server expects an acknowledgement.
    pub ack_id: Option<u64>,
}

/// A connection to one namespace of a Socket.IO server: Engine.IO revision 4, Socket.IO revision 5.
///
/// It spawns no task: heartbeats are answered while the caller waits in [`Client::next`] or
/// [`Client::emit_with_ack`]. It does not reconnect.
#[derive(Debug)]
pub struct Client {
    transport: Transport,
    namespace: String,
    session_id: String,
    next_id: u64,
    buffered: VecDeque<Event>,
}

impl Client {
    /// Connects to the server and to the namespace, both within the target's timeout.
    ///
    /// # Errors
    /// When the server cannot be reached, it rejects the handshake or the namespace
    /// ([`ClientError::Refused`]), or the timeout expires.
    pub async fn connect(target: &Target) -> Result<Client, ClientError> {
        within(target.timeout(), "connecting", Client::open(target)).await
    }

    async fn open(target: &Target) -> Result<Client, ClientError> {
        let mut transport = Transport::open(target).await?;
        let connect = packet::encode_connect(target.namespace(), target.auth().as_ref());
        transport.send(&connect, Vec::new()).await?;
        loop {
            let packet = receive(&mut transport).await?;
            match packet.body {
                _ if packet.namespace != target.namespace() => {}
                Body::Connect(payload) => {
                    let sid = payload.as_ref().and_then(|payload| payload.get("sid")?.as_str());
                    return Ok(Client {
                        session_id: sid.unwrap_or_default().to_owned(),
                        transport,
                        namespace: target.namespace().to_owned(),
                        next_id: 0,
                        buffered: VecDeque::new(),
                    });
                }
                Body::ConnectError(error) => return Err(ClientError::refused(&error)),
                _ => {}
            }
        }
    }

    /// The id that the server gave this client in the namespace.
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// Sends an event without asking for an acknowledgement.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn emit(&mut self, event: &str, args: &[Data]) -> Result<(), ClientError> {
        let (text, attachments) = packet::encode_event(&self.namespace, None, event, args);
        self.transport.send(&text, attachments).await
    }

    /// Sends an event and waits for its acknowledgement. Events that arrive before it are kept for
    /// [`Client::next`].
    ///
    /// # Errors
    /// When the connection is lost, the server disconnects this client, no acknowledgement arrives
    /// within `timeout`, or more than 4,096 events arrive before it ([`ClientError::Overrun`]).
    pub async fn emit_with_ack(
        &mut self,
        event: &str,
        args: &[Data],
        timeout: Duration,
    ) -> Result<Vec<Data>, ClientError> {
        let id = self.next_id;
        self.next_id += 1;
        let (text, attachments) = packet::encode_event(&self.namespace, Some(id), event, args);
        let ack = async {
            self.transport.send(&text, attachments).await?;
            loop {
                match self.receive().await? {
                    (Some(acked), Body::Ack(args)) if acked == id => return Ok(args),
                    (ack_id, Body::Event { event, args }) => {
                        if self.buffered.len() == MAX_BUFFERED {
                            return Err(ClientError::Overrun);
                        }
                        self.buffered.push_back(Event { name: event, args, ack_id });
                    }
                    _ => {}
                }
            }
        };
        within(timeout, "the acknowledgement", ack).await
    }

    /// Acknowledges the event with this [`Event::ack_id`].
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn ack(&mut self, ack_id: u64, args: &[Data]) -> Result<(), ClientError> {
        let (text, attachments) = packet::encode_ack(&self.namespace, ack_id, args);
        self.transport.send(&text, attachments).await
    }

    /// Waits for the next event. Cancel safe: dropping the future loses no event.
    ///
    /// # Errors
    /// When the connection is lost, or the server disconnects this client.
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        if let Some(event) = self.buffered.pop_front() {
            return Ok(event);
        }
        loop {
            if let (ack_id, Body::Event { event, args }) = self.receive().await? {
                return Ok(Event { name: event, args, ack_id });
            }
        }
    }

    /// Leaves the namespace and closes the connection, within one second.
    pub async fn close(mut self) {
        let leave = async {
            let text = packet::encode_disconnect(&self.namespace);
            let _ = self.transport.send(&text, Vec::new()).await;
            self.transport.close().await;
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), leave).await;
    }

    /// The next packet of this namespace.
    async fn receive(&mut self) -> Result<(Option<u64>, Body), ClientError> {
        loop {
            let packet = receive(&mut self.transport).await?;
            match packet.body {
                _ if packet.namespace != self.namespace => {}
                Body::Disconnect => return Err(ClientError::Disconnected),
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
