//! [`Peer`]: one client's socket, and where it is on its way into its room.

use std::io::{self, Read, Write};

use mio::net::TcpStream;
use thiserror::Error;

use super::frames::{self, FrameError};
use super::script::Script;

/// How much of a refusal is shown.
const SHOWN: usize = 300;

/// The largest answer to the handshake, in bytes.
const MAX_HANDSHAKE: usize = 16 << 10;

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// TCP is connecting.
    Dialing,
    /// The WebSocket's handshake is sent.
    Upgrading,
    /// Engine.IO's open packet is awaited.
    Opening,
    /// The namespace's answer is awaited.
    Connecting,
    /// The answer to the join is awaited.
    Joining,
    /// In its room.
    Ready,
    /// The connection is gone.
    Gone,
}

/// Why a client is no longer one.
#[derive(Debug, Error)]
pub(super) enum PeerError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("the server closed the connection")]
    Closed,
    #[error("the server closed the session: {0}")]
    Dismissed(String),
    #[error("the server refused: {0}")]
    Refused(String),
    #[error("the server answered the handshake with: {0}")]
    Handshake(String),
    #[error("expected {expected}, the server sent: {found}")]
    Unexpected { expected: &'static str, found: String },
}

/// One client.
pub(super) struct Peer {
    pub(super) stream: TcpStream,
    pub(super) phase: Phase,
    /// Its room's position.
    pub(super) room: usize,
    /// The start of a frame whose end has not come.
    pub(super) tail: Vec<u8>,
    /// Whether a wake-up is asked for when the kernel takes more.
    pub(super) watched: bool,
    /// What the kernel has not taken.
    out: Vec<u8>,
}

impl Peer {
    pub(super) fn new(stream: TcpStream, room: usize) -> Self {
        Peer {
            stream,
            phase: Phase::Dialing,
            room,
            tail: Vec::new(),
            watched: true,
            out: Vec::new(),
        }
    }

    /// Reads behind the kept tail; the bytes of both. Nothing: there is no more for now.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, PeerError> {
        let kept = self.tail.len();
        buffer[..kept].copy_from_slice(&self.tail);
        loop {
            match self.stream.read(&mut buffer[kept..]) {
                Ok(0) => return Err(PeerError::Closed),
                Ok(read) => return Ok(Some(kept + read)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Keeps what is only the start of a frame.
    pub(super) fn keep(&mut self, rest: &[u8]) {
        self.tail.clear();
        self.tail.extend_from_slice(rest);
    }

    /// Sends now, or when the kernel takes it: true when [`Peer::flush`] has to be called then.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<bool, PeerError> {
        if self.out.is_empty() {
            let written = write(&mut self.stream, bytes)?;
            self.out.extend_from_slice(&bytes[written..]);
        } else {
            self.out.extend_from_slice(bytes);
        }
        Ok(!self.out.is_empty())
    }

    /// Sends what waits; true when some still does.
    pub(super) fn flush(&mut self) -> Result<bool, PeerError> {
        let written = write(&mut self.stream, &self.out)?;
        self.out.drain(..written);
        Ok(!self.out.is_empty())
    }

    /// Whether the TCP connection stands; an error when it failed.
    pub(super) fn connected(&self) -> Result<bool, PeerError> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error.into());
        }
        match self.stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the answer to the handshake: how many bytes it had, or zero when it is not whole.
    pub(super) fn upgraded(&mut self, bytes: &[u8]) -> Result<usize, PeerError> {
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
            return match bytes.len() {
                0..=MAX_HANDSHAKE => Ok(0),
                _ => Err(PeerError::Handshake("a header without end".to_owned())),
            };
        };
        if !bytes.starts_with(b"HTTP/1.1 101 ") {
            return Err(PeerError::Handshake(shown(bytes)));
        }
        self.phase = Phase::Opening;
        Ok(end + 4)
    }

    /// Takes a text frame that is no publication; what is to be answered.
    pub(super) fn control(
        &mut self,
        text: &[u8],
        script: &Script,
        join: impl FnOnce(usize) -> Vec<u8>,
    ) -> Result<Option<Vec<u8>>, PeerError> {
        let unexpected = |expected| PeerError::Unexpected { expected, found: shown(text) };
        let [kind, packet @ ..] = text else { return Err(unexpected("a packet")) };
        match (kind, self.phase) {
            (b'2', _) => {
                let mut pong = Vec::new();
                frames::write(&mut pong, frames::TEXT, &[b"3", packet].concat());
                Ok(Some(pong))
            }
            (b'1', _) => Err(PeerError::Dismissed(shown(text))),
            (b'6', _) => Ok(None),
            (b'0', Phase::Opening) => {
                self.phase = Phase::Connecting;
                Ok(Some(script.connect.clone()))
            }
            (b'4', Phase::Connecting | Phase::Joining | Phase::Ready) => {
                self.message(packet, script, join)
            }
            (_, Phase::Opening) => Err(unexpected("the open packet")),
            _ => Err(unexpected("a packet of Engine.IO 4")),
        }
    }

    fn message(
        &mut self,
        packet: &[u8],
        script: &Script,
        join: impl FnOnce(usize) -> Vec<u8>,
    ) -> Result<Option<Vec<u8>>, PeerError> {
        let [kind, rest @ ..] = packet else {
            return Err(PeerError::Unexpected { expected: "a packet", found: String::new() });
        };
        let Some(body) = rest.strip_prefix(script.address.as_bytes()) else { return Ok(None) };
        match (kind, self.phase) {
            (b'0', Phase::Connecting) => {
                self.phase = Phase::Joining;
                Ok(Some(join(self.room)))
            }
            (b'3', Phase::Joining) if memchr::memmem::find(body, br#""ERROR""#).is_none() => {
                self.phase = Phase::Ready;
                Ok(None)
            }
            (b'3' | b'4', _) => Err(PeerError::Refused(shown(body))),
            (b'1', _) => Err(PeerError::Dismissed(shown(packet))),
            (b'2', _) if memchr::memmem::find(body, b"[\"rookery:error\"").is_some() => {
                Err(PeerError::Refused(shown(body)))
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

pub(super) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]);
    text.trim().escape_debug().to_string()
}
