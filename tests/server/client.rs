//! Socket.IO clients: one over a WebSocket, one that polls.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::harness::Rookery;
use crate::http::{Request, Response};
use crate::websocket::{Frame, WebSocket, handshake};

/// A client of Engine.IO 4 over a WebSocket, in the namespace `/`.
pub struct Member {
    pub socket: WebSocket,
    asked: u64,
}

impl Member {
    pub async fn connect(server: &Rookery) -> Self {
        Self::connect_with(server, "").await
    }

    /// Connects with more parameters, each with a `&` before it.
    pub async fn connect_with(server: &Rookery, parameters: &str) -> Self {
        let target = format!("/socket.io/?EIO=4&transport=websocket{parameters}");
        Self::request(server, &handshake(&target)).await
    }

    /// Connects with a request of its own.
    pub async fn request(server: &Rookery, request: &Request) -> Self {
        let opened = WebSocket::request(server.clients, request).await;
        let mut socket = opened.unwrap_or_else(|refused| panic!("{refused:?}"));
        assert!(socket.text().await.starts_with("0{"));
        socket.send("40").await;
        let connected = socket.text().await;
        assert!(connected.starts_with("40{\"sid\":\""), "{connected}");
        Member { socket, asked: 0 }
    }

    /// The next Socket.IO packet as text, answering heartbeats; `None` when the connection ends.
    pub async fn packet(&mut self) -> Option<String> {
        loop {
            match self.socket.next().await? {
                Frame::Text(text) if text == "2" => self.socket.send("3").await,
                Frame::Text(text) => return Some(text),
                Frame::Close => return None,
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    /// The next event's name and first argument.
    pub async fn event(&mut self) -> (String, Value) {
        let packet = self.packet().await.expect("still connected");
        parse_event(&packet).unwrap_or_else(|| panic!("no event: {packet}"))
    }

    pub async fn emit(&mut self, event: &str, arg: Value) {
        self.socket.send(&format!("42{}", json!([event, arg]))).await;
    }

    /// Emits with an ack callback; returns the events received before the ack, and the ack.
    pub async fn ask(&mut self, event: &str, arg: Value) -> (Vec<(String, Value)>, Value) {
        self.asked += 1;
        let id = self.asked;
        self.socket.send(&format!("42{id}{}", json!([event, arg]))).await;
        let mut before = Vec::new();
        loop {
            let packet = self.packet().await.expect("still connected");
            match packet.strip_prefix(&format!("43{id}[")) {
                Some(body) => {
                    let answer = serde_json::from_str(body.strip_suffix(']').unwrap()).unwrap();
                    return (before, answer);
                }
                None => before.push(parse_event(&packet).unwrap_or_else(|| panic!("{packet}"))),
            }
        }
    }

    /// Joins a room; no event may arrive before the reply.
    pub async fn join(&mut self, room: &str) {
        let (before, answer) = self.ask("join", json!({ "room": room })).await;
        assert_eq!(before, []);
        assert_eq!(answer["status"], "SUCCESS", "{answer}");
    }
}

/// Splits `42["name",arg]`.
pub fn parse_event(packet: &str) -> Option<(String, Value)> {
    let items: Vec<Value> = serde_json::from_str(packet.strip_prefix("42")?).ok()?;
    let mut items = items.into_iter();
    Some((items.next()?.as_str()?.to_owned(), items.next().unwrap_or(Value::Null)))
}

/// A polling session of Engine.IO 4 or 3.
pub struct Poller {
    to: SocketAddr,
    eio: u8,
    pub sid: String,
    /// The open packet.
    pub open: Value,
}

impl Poller {
    /// Opens a session.
    pub async fn open(server: &Rookery, eio: u8) -> Self {
        let target = format!("/socket.io/?EIO={eio}&transport=polling");
        let answer = Request::get(&target).send(server.clients).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let packets = packets(&answer, eio);
        let open = packets[0].strip_prefix('0').unwrap();
        let open: Value = serde_json::from_str(open).unwrap();
        let sid = open["sid"].as_str().unwrap().to_owned();
        Poller { to: server.clients, eio, sid, open }
    }

    /// Opens a session and connects to the namespace `/`.
    pub async fn connect(server: &Rookery, eio: u8) -> Self {
        let poller = Poller::open(server, eio).await;
        if eio == 4 {
            poller.send("40").await;
        }
        let connected = poller.packets().await;
        assert!(connected[0].starts_with("40"), "{connected:?}");
        poller
    }

    /// The request's target for a transport.
    pub fn target(&self, transport: &str) -> String {
        format!("/socket.io/?EIO={}&transport={transport}&sid={}", self.eio, self.sid)
    }

    pub async fn get(&self) -> Response {
        Request::get(&self.target("polling")).send(self.to).await.unwrap()
    }

    pub async fn post(&self, body: impl Into<Vec<u8>>) -> Response {
        Request::post(&self.target("polling"), body).send(self.to).await.unwrap()
    }

    /// Posts packets; the server must accept them.
    pub async fn send(&self, packet: &str) {
        let body = match self.eio {
            4 => packet.to_owned(),
            _ => format!("{}:{packet}", packet.encode_utf16().count()),
        };
        let answer = self.post(body).await;
        assert_eq!((answer.status, &*answer.text()), (200, "ok"));
    }

    /// The packets of the next GET.
    pub async fn packets(&self) -> Vec<String> {
        let answer = self.get().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        packets(&answer, self.eio)
    }

    /// The next events, answering heartbeats; empty if the server closed the session.
    pub async fn events(&self) -> Vec<(String, Value)> {
        loop {
            let packets = self.packets().await;
            if packets.iter().any(|p| p == "2") {
                self.send("3").await;
            }
            let events: Vec<_> = packets.iter().filter_map(|p| parse_event(p)).collect();
            if !events.is_empty() || packets.iter().any(|p| p == "1") {
                return events;
            }
        }
    }

    /// Whether the server still knows the session, found out by a request without side effects.
    pub async fn is_known(&self) -> bool {
        let answer = Request::get(&self.target("websocket")).send(self.to).await.unwrap();
        answer.json()["code"] != 1
    }

    /// Joins a room.
    pub async fn join(&self, room: &str) {
        self.send(&format!("421{}", json!(["join", { "room": room }]))).await;
        let mut answered = false;
        while !answered {
            answered = self.packets().await.iter().any(|p| p.starts_with("431["));
        }
    }

    /// Starts an upgrade: opens a WebSocket for the polling session.
    pub async fn upgrade(&self) -> Result<WebSocket, Response> {
        WebSocket::open(self.to, &self.target("websocket")).await
    }
}

/// Splits a text payload into packets.
pub fn packets(answer: &Response, eio: u8) -> Vec<String> {
    let text = answer.text();
    if eio == 4 {
        return text.split('\u{1e}').map(str::to_owned).collect();
    }
    let mut rest: Vec<u16> = text.encode_utf16().collect();
    let mut packets = Vec::new();
    while !rest.is_empty() {
        let colon = rest.iter().position(|c| *c == u16::from(b':')).unwrap();
        let length: usize = String::from_utf16(&rest[..colon]).unwrap().parse().unwrap();
        let end = colon + 1 + length;
        packets.push(String::from_utf16(&rest[colon + 1..end]).unwrap());
        rest.drain(..end);
    }
    packets
}
