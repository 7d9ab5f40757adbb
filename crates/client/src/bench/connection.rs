//! [`Connection`]: one client's socket, and its progress into its room.

use std::io::{self, Read, Write};

use mio::net::TcpStream;
use thiserror::Error;

use super::excerpt::excerpt;
use super::frames::{self, FrameError};
use super::server::Messages;

/// The largest response to the handshake, in bytes.
const MAX_HANDSHAKE: usize = 16 << 10;

/// The progress of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The TCP connection is being established.
    Dialing,
    /// The WebSocket handshake is sent.
    Upgrading,
    /// Waits for Engine.IO's open packet.
    Opening,
    /// Waits for the namespace's CONNECT packet.
    Connecting,
    /// Waits for the acknowledgement of its join.
    Joining,
    /// Joined its room, if it has one.
    Joined,
    /// The connection was lost.
    Lost,
}

/// Why a client cannot go on.
#[derive(Debug, Error)]
pub(super) enum ConnectionError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("the server closed the connection")]
    Closed,
    #[error("the server closed the session: {0}")]
    Disconnected(String),
    #[error("the server refused the request: {0}")]
    Refused(String),
    #[error("the server rejected the handshake: {0}")]
    Handshake(String),
    #[error("expected {expected}, the server sent: {found}")]
    Unexpected { expected: &'static str, found: String },
}

/// One client's connection.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) phase: Phase,
    /// The index of the client's room; `None`: it joins none.
    pub(super) room: Option<usize>,
    /// Whether the event loop reports when the socket is writable.
    pub(super) watches_writable: bool,
    /// The start of a frame whose end has not arrived.
    partial: Vec<u8>,
    /// Bytes that the kernel has not taken.
    unsent: Vec<u8>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, room: Option<usize>) -> Self {
        Connection {
            stream,
            phase: Phase::Dialing,
            room,
            watches_writable: true,
            partial: Vec::new(),
            unsent: Vec::new(),
        }
    }

    /// Fills `buffer` with the partial frame and what is read after it, and returns the length of
    /// both; `None` when there is nothing to read.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, ConnectionError> {
        let kept = self.partial.len();
        buffer[..kept].copy_from_slice(&self.partial);
        loop {
            match self.stream.read(&mut buffer[kept..]) {
                Ok(0) => return Err(ConnectionError::Closed),
                Ok(read) => return Ok(Some(kept + read)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Keeps the start of a frame for the next read.
    pub(super) fn keep_partial(&mut self, rest: &[u8]) {
        self.partial.clear();
        self.partial.extend_from_slice(rest);
    }

    /// Sends `bytes` as far as the kernel takes them. `true` when the rest has to be sent with
    /// [`Connection::flush`] once the socket is writable.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<bool, ConnectionError> {
        if self.unsent.is_empty() {
            let written = write(&mut self.stream, bytes)?;
            self.unsent.extend_from_slice(&bytes[written..]);
        } else {
            self.unsent.extend_from_slice(bytes);
        }
        Ok(!self.unsent.is_empty())
    }

    /// Sends what is unsent; `true` when some still is.
    pub(super) fn flush(&mut self) -> Result<bool, ConnectionError> {
        let written = write(&mut self.stream, &self.unsent)?;
        self.unsent.drain(..written);
        Ok(!self.unsent.is_empty())
    }

    /// Whether the TCP connection is established.
    ///
    /// # Errors
    /// When it failed.
    pub(super) fn is_connected(&self) -> Result<bool, ConnectionError> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error.into());
        }
        match self.stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the response to the handshake and returns its size, or zero when it is not whole.
    pub(super) fn finish_handshake(&mut self, bytes: &[u8]) -> Result<usize, ConnectionError> {
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
            return match bytes.len() {
                0..=MAX_HANDSHAKE => Ok(0),
                _ => Err(ConnectionError::Handshake("too large a header".to_owned())),
            };
        };
        if !bytes.starts_with(b"HTTP/1.1 101 ") {
            return Err(ConnectionError::Handshake(excerpt(bytes)));
        }
        self.phase = Phase::Opening;
        Ok(end + 4)
    }

    /// Handles a text frame that is not a delivery, and returns the frame to reply with.
    pub(super) fn handle_control(
        &mut self,
        text: &[u8],
        messages: &Messages,
        join: impl FnOnce(usize) -> Vec<u8>,
    ) -> Result<Option<Vec<u8>>, ConnectionError> {
        let unexpected = |expected| ConnectionError::Unexpected { expected, found: excerpt(text) };
        let [kind, packet @ ..] = text else { return Err(unexpected("a packet")) };
        match (kind, self.phase) {
            (b'2', _) => {
                let mut pong = Vec::new();
                frames::write(&mut pong, frames::TEXT, &[b"3", packet].concat());
                Ok(Some(pong))
            }
            (b'1', _) => Err(ConnectionError::Disconnected(excerpt(text))),
            (b'6', _) => Ok(None),
            (b'0', Phase::Opening) => {
                self.phase = Phase::Connecting;
                Ok(Some(messages.connect.clone()))
            }
            (b'4', Phase::Connecting | Phase::Joining | Phase::Joined) => {
                self.handle_message(packet, messages, join)
            }
            (_, Phase::Opening) => Err(unexpected("the open packet")),
            _ => Err(unexpected("an Engine.IO 4 packet")),
        }
    }

    fn handle_message(
        &mut self,
        packet: &[u8],
        messages: &Messages,
        join: impl FnOnce(usize) -> Vec<u8>,
    ) -> Result<Option<Vec<u8>>, ConnectionError> {
        let [kind, rest @ ..] = packet else {
            return Err(ConnectionError::Unexpected { expected: "a packet", found: String::new() });
        };
        let Some(body) = rest.strip_prefix(messages.namespace_prefix.as_bytes()) else {
            return Ok(None);
        };
        match (kind, self.phase) {
            (b'0', Phase::Connecting) => {
                self.phase = if self.room.is_some() { Phase::Joining } else { Phase::Joined };
                Ok(self.room.map(join))
            }
            (b'3', Phase::Joining) if memchr::memmem::find(body, br#""ERROR""#).is_none() => {
                self.phase = Phase::Joined;
                Ok(None)
            }
            (b'3' | b'4', _) => Err(ConnectionError::Refused(excerpt(body))),
            (b'1', _) => Err(ConnectionError::Disconnected(excerpt(packet))),
            (b'2', _) if memchr::memmem::find(body, b"[\"rookery:error\"").is_some() => {
                Err(ConnectionError::Refused(excerpt(body)))
            }
            _ => Ok(None),
        }
    }
}

fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}
