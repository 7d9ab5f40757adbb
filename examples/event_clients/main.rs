//! A load generator for events with acks: clients over WebSocket, each of which sends its next event when
//! the last one was acknowledged. Prints what was acknowledged and what the server spent as JSON.
//!
//! ```text
//! cargo run --release --example event_clients -- --url http://127.0.0.1:3000 --clients 64 \
//!     --event '["say","hello"]' --pid "$(pidof rookery)"
//! ```

mod frames;
mod received;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use memchr::memmem::find;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rookery_client::bench::Usage;
use serde::Serialize;

use frames::{next_frame, text_frame};
use received::{Received, of_centrifugo, of_socket_io};

/// The size of the shared read buffer, in bytes: more than the largest frame.
const BUFFER: usize = 1 << 20;

/// How long the event loop waits at most.
const TICK: Duration = Duration::from_millis(10);

/// How long connecting, or one acknowledgement, may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Send events with acks.
#[derive(Parser)]
struct Args {
    /// The URL of the server.
    #[arg(long)]
    url: http::Uri,
    /// The number of clients.
    #[arg(long)]
    clients: usize,
    /// An event as a JSON array; several are sent in turn. `{n}` stands for the number of the client, `{k}`
    /// for how often it sent all of them.
    #[arg(long, required = true)]
    event: Vec<String>,
    /// The most events per second of all clients together; by default as many as are acknowledged.
    #[arg(long, conflicts_with = "every")]
    rate: Option<f64>,
    /// All clients send at the same time, every so many seconds.
    #[arg(long)]
    every: Option<f64>,
    /// Speak Centrifugo's protocol in JSON: an event is the object of an RPC.
    #[arg(long)]
    centrifugo: bool,
    /// The id of the server's process.
    #[arg(long)]
    pid: u32,
    /// The id of its backend's process.
    #[arg(long)]
    backend_pid: Option<u32>,
    /// How long to run before measuring, in seconds.
    #[arg(long, default_value_t = 2.0)]
    warmup: f64,
    /// How long to measure, in seconds.
    #[arg(long, default_value_t = 10.0)]
    duration: f64,
}

/// What was measured.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// Events that were acknowledged during the measurement.
    events: u64,
    /// The duration of the measurement, in seconds.
    seconds: f64,
    /// CPU time of the server during the measurement, in seconds.
    server_cpu_seconds: f64,
    /// CPU time of the clients, as a share of one core.
    generator_cpu: f64,
    /// The same of the backend.
    backend_cpu: f64,
    /// The time until an event was acknowledged.
    latency: Latency,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Latency {
    p50_ms: f64,
    p99_ms: f64,
}

struct Client {
    stream: TcpStream,
    /// The start of a frame whose end has not arrived.
    partial: Vec<u8>,
    is_upgraded: bool,
    sent: u64,
    sent_at: Instant,
}

struct Swarm<'a> {
    args: &'a Args,
    poll: Poll,
    clients: Vec<Client>,
    /// Clients that wait for nothing.
    idle: VecDeque<usize>,
    /// When the next events are due, with a rate or together.
    due: Instant,
    /// The number of events that were acknowledged.
    acknowledged: u64,
    /// Seconds until an event was acknowledged, of those that were measured.
    latencies: Vec<f32>,
    is_measuring: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut swarm = Swarm::connect(&args)?;
    swarm.run(Instant::now() + Duration::from_secs_f64(args.warmup))?;
    swarm.is_measuring = true;
    let backend: Vec<u32> = args.backend_pid.into_iter().collect();
    let usage = || anyhow::Ok((Usage::of(&[args.pid])?, Usage::own()?, Usage::of(&backend)?));
    let (from, start) = (usage()?, Instant::now());
    swarm.run(start + Duration::from_secs_f64(args.duration))?;
    let (to, seconds) = (usage()?, start.elapsed().as_secs_f64());
    let spent = |from: Usage, to: Usage| to.cpu.saturating_sub(from.cpu).as_secs_f64();
    let mut latencies = swarm.latencies;
    ensure!(!latencies.is_empty(), "nothing was acknowledged");
    latencies.sort_unstable_by(f32::total_cmp);
    let at =
        |share: f64| f64::from(latencies[((latencies.len() - 1) as f64 * share) as usize]) * 1000.0;
    let report = Report {
        events: latencies.len() as u64,
        seconds,
        server_cpu_seconds: spent(from.0, to.0),
        generator_cpu: spent(from.1, to.1) / seconds,
        backend_cpu: spent(from.2, to.2) / seconds,
        latency: Latency { p50_ms: at(0.5), p99_ms: at(0.99) },
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

impl<'a> Swarm<'a> {
    /// Connects all clients.
    fn connect(args: &'a Args) -> anyhow::Result<Self> {
        let authority = args.url.authority().context("the URL has no host")?.as_str();
        let address = authority.to_socket_addrs()?.next().context("the host has no address")?;
        let now = Instant::now();
        let mut swarm = Swarm {
            args,
            poll: Poll::new()?,
            clients: Vec::new(),
            idle: VecDeque::new(),
            due: now,
            acknowledged: 0,
            latencies: Vec::new(),
            is_measuring: false,
        };
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; BUFFER];
        while swarm.idle.len() < args.clients {
            ensure!(now.elapsed() < PATIENCE, "{} clients connected", swarm.idle.len());
            // Not more at once than a server has in its backlog.
            while swarm.clients.len() < (swarm.idle.len() + 50).min(args.clients) {
                swarm.dial(address, authority)?;
            }
            swarm.poll_once(&mut events, &mut buffer, TICK)?;
        }
        Ok(swarm)
    }

    fn dial(&mut self, address: SocketAddr, authority: &str) -> anyhow::Result<()> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let token = Token(self.clients.len());
        self.poll.registry().register(&mut stream, token, Interest::READABLE)?;
        let path = match self.args.centrifugo {
            true => "/connection/websocket",
            false => "/socket.io/?EIO=4&transport=websocket",
        };
        write_whole(
            &mut stream,
            format!(
                "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
            )
            .as_bytes(),
        )?;
        self.clients.push(Client {
            stream,
            partial: Vec::new(),
            is_upgraded: false,
            sent: 0,
            sent_at: Instant::now(),
        });
        Ok(())
    }

    /// Sends events until `end`.
    fn run(&mut self, end: Instant) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; BUFFER];
        let mut progress = Instant::now();
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            self.send_due(now)?;
            let before = self.acknowledged;
            let wait = self.due.min(end).saturating_duration_since(now).min(TICK);
            self.poll_once(&mut events, &mut buffer, if wait.is_zero() { TICK } else { wait })?;
            let waiting = self.clients.len() - self.idle.len();
            if waiting == 0 || self.acknowledged > before {
                progress = now;
            }
            ensure!(progress.elapsed() < PATIENCE, "{waiting} events are not acknowledged");
        }
    }

    /// Sends the events that are due.
    fn send_due(&mut self, now: Instant) -> anyhow::Result<()> {
        if let Some(every) = self.args.every {
            if now >= self.due && self.idle.len() == self.clients.len() {
                self.due = now + Duration::from_secs_f64(every);
                self.send_all()?;
            }
            return Ok(());
        }
        let Some(rate) = self.args.rate else { return self.send_all() };
        // What is late because nobody was free is not sent later.
        self.due = self.due.max(now.checked_sub(TICK).unwrap_or(now));
        while now >= self.due
            && let Some(index) = self.idle.pop_front()
        {
            self.due += Duration::from_secs_f64(1.0 / rate);
            self.send_event(index)?;
        }
        Ok(())
    }

    fn send_all(&mut self) -> anyhow::Result<()> {
        while let Some(index) = self.idle.pop_front() {
            self.send_event(index)?;
        }
        Ok(())
    }

    fn send_event(&mut self, index: usize) -> anyhow::Result<()> {
        let client = &mut self.clients[index];
        let events = &self.args.event;
        let (round, which) = (client.sent / events.len() as u64, client.sent % events.len() as u64);
        let event = events[which as usize]
            .replace("{n}", &index.to_string())
            .replace("{k}", &round.to_string());
        client.sent += 1;
        client.sent_at = Instant::now();
        // 1 is the id of Centrifugo's connect.
        let id = client.sent + 1;
        let text = match self.args.centrifugo {
            true => format!(r#"{{"id":{id},"rpc":{event}}}"#),
            false => format!("42{id}{event}"),
        };
        write_whole(&mut client.stream, &text_frame(&text))
    }

    fn poll_once(
        &mut self,
        events: &mut Events,
        buffer: &mut [u8],
        wait: Duration,
    ) -> anyhow::Result<()> {
        match self.poll.poll(events, Some(wait)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &*events {
            self.read(event.token().0, event.is_read_closed(), buffer)?;
        }
        Ok(())
    }

    /// Reads and handles what the server has sent to a client.
    fn read(&mut self, index: usize, closed: bool, buffer: &mut [u8]) -> anyhow::Result<()> {
        loop {
            let client = &mut self.clients[index];
            let kept = client.partial.len();
            ensure!(kept < buffer.len(), "a frame is too large");
            buffer[..kept].copy_from_slice(&client.partial);
            let filled = match client.stream.read(&mut buffer[kept..]) {
                Ok(0) => bail!("the server closed the connection of client {index}"),
                Ok(read) => kept + read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let start = self.handle(index, &buffer[..filled])?;
            let partial = &mut self.clients[index].partial;
            partial.clear();
            partial.extend_from_slice(&buffer[start..filled]);
            if filled < buffer.len() && !closed {
                return Ok(());
            }
        }
    }

    /// Handles whole frames; gives how many bytes they have.
    fn handle(&mut self, index: usize, bytes: &[u8]) -> anyhow::Result<usize> {
        let mut start = 0;
        if !self.clients[index].is_upgraded {
            let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(0) };
            ensure!(bytes.starts_with(b"HTTP/1.1 101"), "{}", excerpt(bytes));
            self.clients[index].is_upgraded = true;
            start = end + 4;
            if self.args.centrifugo {
                self.reply(index, r#"{"id":1,"connect":{}}"#)?;
            }
        }
        while let Some((opcode, payload, size)) = next_frame(&bytes[start..])? {
            start += size;
            ensure!(opcode != 8, "the server closed client {index}: {}", excerpt(payload));
            if opcode == 1 {
                self.message(index, payload)?;
            }
        }
        Ok(start)
    }

    fn message(&mut self, index: usize, text: &[u8]) -> anyhow::Result<()> {
        let is_centrifugo = self.args.centrifugo;
        // Centrifugo puts several into one frame.
        for text in text.split(|byte| is_centrifugo && *byte == b'\n').filter(|t| !t.is_empty()) {
            let received = if is_centrifugo { of_centrifugo(text) } else { of_socket_io(text) };
            match received {
                Received::Open => self.reply(index, "40")?,
                Received::Ping => self.reply(index, if is_centrifugo { "{}" } else { "3" })?,
                Received::Connected => self.idle.push_back(index),
                Received::Acknowledged => self.acknowledged(index)?,
                Received::Refused => bail!("the server refused: {}", excerpt(text)),
                Received::Other => {}
            }
        }
        Ok(())
    }

    fn acknowledged(&mut self, index: usize) -> anyhow::Result<()> {
        self.acknowledged += 1;
        if self.is_measuring {
            self.latencies.push(self.clients[index].sent_at.elapsed().as_secs_f32());
        }
        if self.args.rate.is_none() && self.args.every.is_none() {
            return self.send_event(index);
        }
        self.idle.push_back(index);
        Ok(())
    }

    fn reply(&mut self, index: usize, text: &str) -> anyhow::Result<()> {
        write_whole(&mut self.clients[index].stream, &text_frame(text))
    }
}

fn write_whole(stream: &mut TcpStream, bytes: &[u8]) -> anyhow::Result<()> {
    ensure!(stream.write(bytes)? == bytes.len(), "the server reads too slowly");
    Ok(())
}

fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned()
}
