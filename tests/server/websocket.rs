//! A hand-written WebSocket (RFC 6455) that can be cut off or corrupted at any byte.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::within;
use crate::http::{Connection, Request, Response};

/// A nonzero masking key, so that masking is tested.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Close,
    Other(u8),
}

pub struct WebSocket {
    stream: TcpStream,
    read: Vec<u8>,
    /// The payload of the Close frame that was received.
    pub close: Option<Vec<u8>>,
    /// What the server agreed to of the extensions that the request offered.
    pub agreed: Option<String>,
    /// Messages that arrived compressed.
    pub compressed: usize,
}

/// The handshake's request (RFC 6455, section 4.1).
pub fn handshake(target: &str) -> Request {
    Request::get(target)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

impl WebSocket {
    /// Opens a WebSocket; returns the response if it is refused.
    pub async fn open(to: SocketAddr, target: &str) -> Result<Self, Response> {
        Self::request(to, &handshake(target)).await
    }

    /// Opens a WebSocket with a custom request.
    pub async fn request(to: SocketAddr, request: &Request) -> Result<Self, Response> {
        let mut connection = Connection::open(to).await.unwrap();
        let response = connection.send(request).await.unwrap();
        if response.status != 101 {
            return Err(response);
        }
        // The example of RFC 6455, section 1.3.
        let accept = response.header("sec-websocket-accept");
        assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        let agreed = response.header("sec-websocket-extensions").map(str::to_owned);
        let (stream, read) = connection.into_parts();
        Ok(WebSocket { stream, read, close: None, agreed, compressed: 0 })
    }

    pub async fn send(&mut self, text: &str) {
        // If the server has already closed, the next read reports it.
        let _ = self.write(&frame(0x81, text.as_bytes())).await;
    }

    pub async fn send_binary(&mut self, bytes: &[u8]) {
        let _ = self.write(&frame(0x82, bytes)).await;
    }

    /// Sends a text compressed, whether that makes it smaller or not.
    pub async fn send_compressed(&mut self, text: &str) {
        let _ = self.write(&compressed_frame(0xc1, text.as_bytes())).await;
    }

    /// Writes bytes that need not be a frame.
    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next frame; `None` at the end of the connection. Cancel-safe.
    pub async fn next(&mut self) -> Option<Frame> {
        within("a frame", async {
            loop {
                if let Some(frame) = self.parse() {
                    return Some(frame);
                }
                match self.stream.read_buf(&mut self.read).await {
                    Ok(0) | Err(_) => {
                        assert!(self.read.is_empty(), "torn: {:?}", self.read);
                        return None;
                    }
                    Ok(_) => {}
                }
            }
        })
        .await
    }

    /// The next frame, which must be text.
    pub async fn text(&mut self) -> String {
        match self.next().await {
            Some(Frame::Text(text)) => text,
            other => panic!("expected text, got {other:?}"),
        }
    }

    /// Waits until the server has closed the connection; returns what it received before.
    pub async fn closed(&mut self) -> Vec<Frame> {
        let mut before = Vec::new();
        while let Some(frame) = self.next().await {
            before.push(frame);
        }
        before
    }

    fn parse(&mut self) -> Option<Frame> {
        let (&[first, second], rest) = self.read.split_first_chunk::<2>()?;
        assert_eq!(second & 0x80, 0, "a server's frame is not masked");
        let (extra, length) = match second {
            126 => (2, u16::from_be_bytes(*rest.first_chunk()?) as usize),
            127 => (8, u64::from_be_bytes(*rest.first_chunk()?) as usize),
            n => (0, usize::from(n)),
        };
        let mut payload = rest.get(extra..extra + length)?.to_vec();
        self.read.drain(..2 + extra + length);
        let is_compressed = self.agreed.is_some() && first & 0x40 != 0;
        if is_compressed {
            assert!(first & 0x0f <= 2, "a compressed control frame");
            self.compressed += 1;
            payload = decompressed(&payload);
        }
        let expected = if is_compressed { 0xc0 } else { 0x80 };
        assert_eq!(first & 0xf0, expected, "a whole frame with agreed extensions");
        Some(match first & 0x0f {
            1 => Frame::Text(String::from_utf8(payload).expect("UTF-8")),
            2 => Frame::Binary(payload),
            8 => {
                self.close = Some(payload);
                Frame::Close
            }
            other => Frame::Other(other),
        })
    }
}

/// What a compressed message stands for (RFC 7692, section 7.2.2): with the end that is not sent, and
/// an empty last block, it is a stream of DEFLATE.
fn decompressed(payload: &[u8]) -> Vec<u8> {
    let stream = [payload, b"\0\0\xff\xff\x03\0"].concat();
    miniz_oxide::inflate::decompress_to_vec(&stream).expect("a compressed message")
}

/// A message compressed, as one stream with a last block (RFC 7692, section 7.2.3.4).
pub fn compressed(payload: &[u8]) -> Vec<u8> {
    let mut stream = miniz_oxide::deflate::compress_to_vec(payload, 6);
    stream.push(0);
    stream
}

/// A masked frame of a compressed message.
pub fn compressed_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, &compressed(payload))
}

/// A masked frame with this first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        n @ 0..=125 => bytes.push(0x80 | n as u8),
        n @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((n as u16).to_be_bytes());
        }
        n => {
            bytes.push(0x80 | 127);
            bytes.extend((n as u64).to_be_bytes());
        }
    }
    bytes.extend(KEY);
    bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(b, k)| b ^ k));
    bytes
}
