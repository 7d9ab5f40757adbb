//! A baseline for `rookery bench`: one epoll loop, and one send(2) for each delivery.
//!
//! It implements just enough Socket.IO over WebSocket: the events `join` and `publish`. An event
//! costs one recv(2), is unmasked and parsed where it was read, and is neither copied nor decoded:
//! what its members receive is put together from slices of it. Other transports, heartbeats, limits
//! and slow clients cost nothing. So it shows what an event and a delivery cost without batching
//! several publications into one write.
//!
//! ```text
//! cargo run --release --example bare_loop -- 127.0.0.1:3000
//! ```

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::ops::Range;

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha1::{Digest, Sha1};

const LISTENER: Token = Token(usize::MAX);
const OPEN: &str = r#"0{"sid":"bare","upgrades":[],"pingInterval":2000000000,"pingTimeout":20000,"maxPayload":1000000}"#;

/// The size of the shared read buffer, in bytes: more than the largest frame.
const BUFFER: usize = 1 << 17;

fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let address: SocketAddr = address.parse().context("expected an address and a port")?;
    let mut listener = TcpListener::bind(address)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening on {}", listener.local_addr()?);
    let mut server = Server { connections: Vec::new(), rooms: HashMap::new(), frame: Vec::new() };
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; BUFFER];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let token = event.token();
            if token == LISTENER {
                server.accept(&listener, &poll)?;
            } else if let Err(error) = server.read(token.0, event.is_read_closed(), &mut buffer)
                && let Some(mut connection) = server.connections[token.0].take()
            {
                server.rooms.values_mut().for_each(|room| room.retain(|m| *m != token.0));
                let _ = poll.registry().deregister(&mut connection.stream);
                if !error.to_string().is_empty() {
                    eprintln!("{error}");
                }
            }
        }
    }
}

/// A client's connection.
struct Connection {
    stream: TcpStream,
    /// The start of a handshake or frame whose end has not arrived.
    partial: Vec<u8>,
    upgraded: bool,
}

/// The argument of `join` and `publish`, as slices of what was read.
#[derive(Deserialize)]
struct Request<'a> {
    room: &'a str,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

struct Server {
    /// By token; `None` where the connection has ended.
    connections: Vec<Option<Connection>>,
    /// The tokens of each room's members.
    rooms: HashMap<String, Vec<usize>>,
    /// The frame of the delivery at hand.
    frame: Vec<u8>,
}

impl Server {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> anyhow::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nodelay(true)?;
            let token = Token(self.connections.len());
            poll.registry().register(&mut stream, token, Interest::READABLE)?;
            let connection = Connection { stream, partial: Vec::new(), upgraded: false };
            self.connections.push(Some(connection));
        }
    }

    /// Reads and handles what a client has sent; an error ends its connection. A read that does not
    /// fill the buffer has emptied the socket (epoll(7), questions and answers, 9), unless the
    /// client has closed it.
    fn read(&mut self, index: usize, closed: bool, buffer: &mut [u8]) -> anyhow::Result<()> {
        loop {
            let Some(connection) = &mut self.connections[index] else { return Ok(()) };
            let kept = connection.partial.len();
            buffer[..kept].copy_from_slice(&connection.partial);
            let filled = match connection.stream.read(&mut buffer[kept..]) {
                Ok(0) => bail!(""),
                Ok(read) => kept + read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let mut start = 0;
            if !connection.upgraded
                && let Some((response, size)) = upgrade(&buffer[..filled])?
            {
                connection.upgraded = true;
                connection.stream.write_all(response.as_bytes())?;
                connection.stream.write_all(&text_frame(OPEN))?;
                start = size;
            }
            if connection.upgraded {
                while let Some((text, size)) = unmask_frame(&mut buffer[start..filled])? {
                    let text = str::from_utf8(&buffer[start..][text])?;
                    self.packet(index, text)?;
                    start += size;
                }
            }
            let partial = &mut self.connection(index)?.partial;
            partial.clear();
            partial.extend_from_slice(&buffer[start..filled]);
            if filled < buffer.len() && !closed {
                return Ok(());
            }
        }
    }

    fn connection(&mut self, index: usize) -> anyhow::Result<&mut Connection> {
        self.connections[index].as_mut().context("")
    }

    fn packet(&mut self, index: usize, text: &str) -> anyhow::Result<()> {
        if text.starts_with("40") {
            self.connection(index)?.stream.write_all(&text_frame(r#"40{"sid":"bare"}"#))?;
        }
        let Some(packet) = text.strip_prefix("42") else { return Ok(()) };
        let (id, json) = packet.split_at(packet.find('[').context("expected an event")?);
        let (event, request): (&str, Request) = serde_json::from_str(json)?;
        match event {
            "join" => self.rooms.entry(request.room.to_owned()).or_default().push(index),
            "publish" => self.publish(&request)?,
            _ => {}
        }
        if !id.is_empty() {
            self.connection(index)?.stream.write_all(&text_frame(&format!("43{id}[]")))?;
        }
        Ok(())
    }

    fn publish(&mut self, request: &Request) -> anyhow::Result<()> {
        let event = request.event.context("expected an event")?.get();
        let data = request.data.map_or("null", RawValue::get);
        self.frame.clear();
        let parts = ["42[", event, ",", data, "]"];
        write_header(&mut self.frame, parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| self.frame.extend_from_slice(part.as_bytes()));
        for member in self.rooms.get(request.room).into_iter().flatten() {
            if let Some(connection) = &mut self.connections[*member] {
                let written = connection.stream.write(&self.frame)?;
                ensure!(written == self.frame.len(), "a client reads too slowly");
            }
        }
        Ok(())
    }
}

/// The response to the handshake and the size of the request, once it is whole (RFC 6455, section
/// 4.2.2).
fn upgrade(received: &[u8]) -> anyhow::Result<Option<(String, usize)>> {
    let Some(end) = memchr::memmem::find(received, b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&received[..end]);
    let key = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .context("expected a WebSocket handshake")?
        .1
        .trim();
    let accept = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        STANDARD.encode(accept)
    );
    Ok(Some((response, end + 4)))
}

/// Unmasks the first frame in place, once it is whole: where its text is, and its size. Frames other
/// than text count as empty text.
fn unmask_frame(received: &mut [u8]) -> anyhow::Result<Option<(Range<usize>, usize)>> {
    let [first, second, ..] = *received else { return Ok(None) };
    let (length, header) = match second & 0x7f {
        126 if received.len() >= 4 => {
            (usize::from(u16::from_be_bytes([received[2], received[3]])), 4)
        }
        126 => return Ok(None),
        127 => bail!("a frame is too large"),
        short => (usize::from(short), 2),
    };
    let (start, end) = (header + 4, header + 4 + length);
    if received.len() < end {
        return Ok(None);
    }
    let mut key = [0; 4];
    key.copy_from_slice(&received[header..start]);
    for (i, byte) in received[start..end].iter_mut().enumerate() {
        *byte ^= key[i & 3];
    }
    match first & 0x0f {
        8 => bail!(""),
        1 => Ok(Some((start..end, end))),
        _ => Ok(Some((start..start, end))),
    }
}

/// A text frame as a server sends it, without a mask.
fn text_frame(text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    write_header(&mut frame, text.len());
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// Appends the header of a text frame without a mask.
fn write_header(frame: &mut Vec<u8>, length: usize) {
    frame.push(0x81);
    match length {
        0..=125 => frame.push(length as u8),
        126..=0xffff => {
            frame.push(126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}
