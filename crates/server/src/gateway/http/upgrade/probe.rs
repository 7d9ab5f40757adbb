//! The probe of an upgrade (Engine.IO protocol, "Upgrade"): what a client and the server say on a
//! WebSocket that is not its session's transport yet.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::MissedTickBehavior;

use crate::connection::linger::{LINGER, linger};
use crate::connection::outbox::Outbox;
use rookery_protocol::frames::{ClientMessages, CloseCode, FrameError, Message, Opcode, put_frame};

/// How long a client may take from the WebSocket's start to its `5`.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a waiting GET is answered from the client's `2probe` to its `5`, as in Node. The client
/// sends `5` once no GET of its own waits.
const RELEASE_INTERVAL: Duration = Duration::from_millis(100);

/// The longest message of a probe in bytes; those of the protocol have at most six.
const MAX_PROBE: usize = 125;

/// Why an upgrade failed. Polling goes on.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The session ended meanwhile.
    #[error("the session ended before its upgrade was complete")]
    Ended,
    /// The connection broke.
    #[error("the connection broke before an upgrade was complete")]
    Broken(#[from] io::Error),
    /// The client closed the WebSocket; it is answered with this code.
    #[error("the client closed the WebSocket before an upgrade was complete")]
    Closed(Option<CloseCode>),
    /// The client sent what is no packet of an upgrade.
    #[error("an upgrade has other packets than 2probe and 5")]
    Unexpected,
    /// The client sent what is no WebSocket message.
    #[error("an upgrade has an invalid WebSocket message: {0}")]
    Invalid(FrameError),
    /// The client did not send its `5` in time.
    #[error("an upgrade was not complete within {} s", PROBE_TIMEOUT.as_secs())]
    TimedOut,
}

impl ProbeError {
    /// The code of the Close frame that tells the client.
    fn close_code(&self) -> Option<CloseCode> {
        match self {
            ProbeError::Closed(answer) => *answer,
            ProbeError::Invalid(error) => Some(error.close_code()),
            _ => Some(CloseCode::NORMAL),
        }
    }

    /// Closes the WebSocket as RFC 6455 has it, and waits until the client has ended the
    /// connection, so that it hears why.
    pub async fn close(&self, mut socket: TcpStream) {
        let mut close = Vec::new();
        let code = self.close_code().map(CloseCode::payload);
        put_frame(&mut close, Opcode::Close, code.as_ref().map_or(&[], |code| &code[..]));
        let ended = async {
            socket.write_all(&close).await?;
            socket.shutdown().await?;
            linger(&socket).await;
            io::Result::Ok(())
        };
        // It is over in any case.
        let _ = tokio::time::timeout(LINGER, ended).await;
    }
}

/// Waits for the client's `5`; the bytes that follow it stay in `read`. Until then the client may not
/// hear this socket, so what is for it goes on by polling.
///
/// # Errors
/// Why the WebSocket does not become the session's transport.
pub async fn probe(
    outbox: &Outbox,
    socket: &mut TcpStream,
    read: &mut Vec<u8>,
) -> Result<(), ProbeError> {
    let probed = AtomicBool::new(false);
    let mut messages = ClientMessages::new(MAX_PROBE);
    messages.set_deflate(outbox.is_compressed());
    tokio::select! {
        upgraded = exchange(socket, messages, read, &probed) => upgraded,
        () = release_polls(outbox, &probed) => Err(ProbeError::Ended),
        () = tokio::time::sleep(PROBE_TIMEOUT) => Err(ProbeError::TimedOut),
    }
}

/// Once `probed` is set, answers GETs at an interval. Returns when the session has ended.
async fn release_polls(outbox: &Outbox, probed: &AtomicBool) {
    let mut interval = tokio::time::interval(RELEASE_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let polling = match probed.load(Ordering::Relaxed) {
            true => outbox.release_poll(),
            false => outbox.takes_posts(),
        };
        if !polling {
            return;
        }
    }
}

/// Answers probes until the client's `5`. As in Node, a client need not probe before
/// (socket.io-client-csharp does not), and may probe again.
async fn exchange(
    socket: &mut TcpStream,
    mut messages: ClientMessages,
    read: &mut Vec<u8>,
    probed: &AtomicBool,
) -> Result<(), ProbeError> {
    while let ProbePacket::Probe = next_packet(socket, &mut messages, read).await? {
        let mut answer = Vec::new();
        put_frame(&mut answer, Opcode::Text, b"3probe");
        socket.write_all(&answer).await?;
        probed.store(true, Ordering::Relaxed);
    }
    Ok(())
}

/// A packet of the client on a socket that is not its transport yet.
enum ProbePacket {
    /// `2probe`
    Probe,
    /// `5`
    Upgrade,
}

/// Reads the next packet; the bytes that follow it stay in `read`.
async fn next_packet(
    socket: &mut TcpStream,
    messages: &mut ClientMessages,
    read: &mut Vec<u8>,
) -> Result<ProbePacket, ProbeError> {
    loop {
        let mut rest = &mut read[..];
        let message = messages.next(&mut rest).map_err(ProbeError::Invalid)?;
        let unread = rest.len();
        let taken = match &message {
            Some(message) => Taken::of(message)?,
            None => Taken::Nothing,
        };
        read.drain(..read.len() - unread);
        match taken {
            Taken::Packet(packet) => return Ok(packet),
            Taken::Pong(pong) => socket.write_all(&pong).await?,
            Taken::Ignored => {}
            Taken::Nothing if socket.read_buf(read).await? == 0 => {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            Taken::Nothing => {}
        }
    }
}

/// What a socket that is not its session's transport yet has sent.
enum Taken {
    /// A packet.
    Packet(ProbePacket),
    /// A ping, and the frame that answers it.
    Pong(Vec<u8>),
    /// A pong.
    Ignored,
    /// No whole message.
    Nothing,
}

impl Taken {
    fn of(message: &Message<'_>) -> Result<Self, ProbeError> {
        Ok(match (message.opcode, &*message.payload) {
            (Opcode::Text, b"2probe") => Taken::Packet(ProbePacket::Probe),
            // Node looks at the type alone.
            (Opcode::Text, [b'5', ..]) => Taken::Packet(ProbePacket::Upgrade),
            (Opcode::Ping, payload) => {
                let mut pong = Vec::new();
                put_frame(&mut pong, Opcode::Pong, payload);
                Taken::Pong(pong)
            }
            (Opcode::Pong, _) => Taken::Ignored,
            (Opcode::Close, payload) => return Err(ProbeError::Closed(CloseCode::answer(payload))),
            (Opcode::Text, text) if std::str::from_utf8(text).is_err() => {
                return Err(ProbeError::Invalid(FrameError::Utf8));
            }
            _ => return Err(ProbeError::Unexpected),
        })
    }
}
