//! A baseline for `rookery bench`: one epoll loop, and one send(2) for each delivery.
//!
//! It implements just enough Socket.IO over WebSocket: the events `join` and `publish`. Other
//! transports, heartbeats, limits and slow clients cost it nothing, so it shows what a delivery costs
//! without batching several publications into one write.
//!
//! ```text
//! cargo run --release --example bare_loop -- 127.0.0.1:3000
//! ```

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rookery_protocol::Data;
use rookery_protocol::packet::{self, Body};
use sha1::{Digest, Sha1};

const LISTENER: Token = Token(usize::MAX);
const OPEN: &str = r#"0{"sid":"bare","upgrades":[],"pingInterval":2000000000,"pingTimeout":20000,"maxPayload":1000000}"#;

fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let address: SocketAddr = address.parse().context("expected an address and a port")?;
    let mut listener = TcpListener::bind(address)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening on {}", listener.local_addr()?);
    let mut server = Server { connections: Vec::new(), rooms: HashMap::new() };
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 1 << 16];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                server.accept(&listener, &poll)?;
            } else if let Err(error) = server.read(event.token().0, &mut buffer)
                && let Some(mut connection) = server.connections[event.token().0].take()
            {
                server.rooms.values_mut().for_each(|room| room.retain(|m| *m != event.token().0));
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
    received: Vec<u8>,
    upgraded: bool,
}

struct Server {
    /// By token; `None` where the connection has ended.
    connections: Vec<Option<Connection>>,
    /// The tokens of each room's members.
    rooms: HashMap<String, Vec<usize>>,
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
            self.connections.push(Some(Connection {
                stream,
                received: Vec::new(),
                upgraded: false,
            }));
        }
    }

    /// Reads and handles what a client has sent; an error ends its connection.
    fn read(&mut self, index: usize, buffer: &mut [u8]) -> anyhow::Result<()> {
        loop {
            let Some(connection) = &mut self.connections[index] else { return Ok(()) };
            match connection.stream.read(buffer) {
                Ok(0) => bail!(""),
                Ok(read) => connection.received.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if !connection.upgraded {
                let Some(response) = upgrade(&mut connection.received)? else { continue };
                connection.upgraded = true;
                connection.stream.write_all(response.as_bytes())?;
                connection.stream.write_all(&text_frame(OPEN))?;
            }
            while let Some(text) = take_frame(&mut self.connection(index)?.received)? {
                self.packet(index, &text)?;
            }
        }
    }

    fn connection(&mut self, index: usize) -> anyhow::Result<&mut Connection> {
        self.connections[index].as_mut().context("")
    }

    fn packet(&mut self, index: usize, text: &str) -> anyhow::Result<()> {
        let Some(text) = text.strip_prefix('4') else { return Ok(()) };
        let packet = packet::decode(text, &[])?;
        match packet.body {
            Body::Connect(_) => {
                self.connection(index)?.stream.write_all(&text_frame(r#"40{"sid":"bare"}"#))?;
            }
            Body::Event { event, args } => {
                let request = args.first().context("expected an argument")?;
                let room = request.get("room").and_then(Data::as_str).context("expected a room")?;
                if event == "join" {
                    self.rooms.entry(room.to_owned()).or_default().push(index);
                } else if event == "publish" {
                    self.publish(room, request)?;
                }
                if let Some(id) = packet.id {
                    let ack = text_frame(&format!("4{}", packet::encode_ack("/", id, &[]).0));
                    self.connection(index)?.stream.write_all(&ack)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn publish(&mut self, room: &str, request: &Data) -> anyhow::Result<()> {
        let event = request.get("event").and_then(Data::as_str).context("expected an event")?;
        let data = request.get("data").cloned().unwrap_or(Data::Null);
        let (text, _) = packet::encode_event("/", None, event, &[data]);
        let frame = text_frame(&format!("4{text}"));
        for member in self.rooms.get(room).into_iter().flatten() {
            if let Some(connection) = &mut self.connections[*member] {
                let written = connection.stream.write(&frame)?;
                ensure!(written == frame.len(), "a client reads too slowly");
            }
        }
        Ok(())
    }
}

/// The response to the handshake, once the request is whole (RFC 6455, section 4.2.2).
fn upgrade(received: &mut Vec<u8>) -> anyhow::Result<Option<String>> {
    let Some(end) = memchr::memmem::find(received, b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&received[..end]).into_owned();
    received.drain(..end + 4);
    let key = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .context("expected a WebSocket handshake")?
        .1
        .trim();
    let accept = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    Ok(Some(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        STANDARD.encode(accept)
    )))
}

/// Takes the first frame, unmasked, once it is whole. The payload of other frames than text is
/// ignored.
fn take_frame(received: &mut Vec<u8>) -> anyhow::Result<Option<String>> {
    let [first, second, ..] = received[..] else { return Ok(None) };
    let (length, header) = match second & 0x7f {
        126 if received.len() >= 4 => {
            (usize::from(u16::from_be_bytes([received[2], received[3]])), 4)
        }
        126 => return Ok(None),
        127 => bail!("a frame is too large"),
        short => (usize::from(short), 2),
    };
    let end = header + 4 + length;
    if received.len() < end {
        return Ok(None);
    }
    let mut key = [0; 4];
    key.copy_from_slice(&received[header..header + 4]);
    let payload: Vec<u8> = received[header + 4..end]
        .iter()
        .zip(key.iter().cycle())
        .map(|(byte, key)| byte ^ key)
        .collect();
    received.drain(..end);
    match first & 0x0f {
        8 => bail!(""),
        1 => Ok(Some(String::from_utf8(payload)?)),
        _ => Ok(Some(String::new())),
    }
}

/// A text frame as a server sends it, without a mask.
fn text_frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        length @ 0..=125 => frame.push(length as u8),
        length @ 126..=0xffff => {
            frame.push(126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(text.as_bytes());
    frame
}
