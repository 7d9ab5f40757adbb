//! [`Swarm`]: all clients on one epoll loop.

use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::api::Publisher;
use super::frames::{self, Frames};
use super::load::{self, Clock, Counts, Load, Shape, room_name};
use super::peer::{Peer, PeerError, Phase};
use super::script::{Server, join, server};
use super::{MAX_PAYLOAD, Pace, Plan};

mod publish;

/// The shared read buffer, in bytes: several of the largest frames.
const BUFFER: usize = 8 * MAX_PAYLOAD;

/// The largest frame that is followed.
const MAX_FRAME: usize = MAX_PAYLOAD + 1024;

/// The most clients that are on their way into their room at once.
const MAX_CONNECTING: usize = 128;

/// How long nothing may happen while something is awaited.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most connections to the HTTP API.
const MAX_PUBLISHERS: usize = 16;

/// The clients, and what they publish.
pub(super) struct Swarm {
    poll: Poll,
    buffer: Box<[u8]>,
    scratch: Vec<u8>,
    servers: Vec<Server>,
    peers: Vec<Peer>,
    publishers: Vec<Publisher>,
    next_publisher: usize,
    load: Load,
    pace: Option<Pace>,
    clock: Option<Clock>,
    rooms: usize,
    room_prefix: String,
    namespace: String,
    clients: usize,
    connect_rate: f64,
    ready: usize,
    lost: u64,
    last_progress: Instant,
}

impl Swarm {
    /// Nothing is connected yet, but the HTTP API's connections.
    pub(super) fn new(plan: &Plan) -> anyhow::Result<Swarm> {
        let poll = Poll::new()?;
        let in_flight = match plan.pace {
            Some(Pace::InFlight(in_flight)) => in_flight,
            _ => 1,
        };
        let namespace = plan.targets[0].namespace_name().to_owned();
        let mut publishers = Vec::new();
        if let Some(api) = &plan.api {
            for index in 0..(in_flight * plan.rooms).min(MAX_PUBLISHERS) {
                let mut publisher = Publisher::connect(api)?;
                let token = Token(plan.clients + index);
                poll.registry().register(&mut publisher.stream, token, Interest::READABLE)?;
                publishers.push(publisher);
            }
        }
        let load = Load::new(&Shape {
            clients: plan.clients,
            rooms: plan.rooms,
            room_prefix: &plan.room_prefix,
            namespace: &namespace,
            payload: plan.payload,
            in_flight,
            api: plan.api.is_some(),
        });
        Ok(Swarm {
            poll,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            scratch: Vec::new(),
            servers: plan.targets.iter().map(server).collect::<anyhow::Result<_>>()?,
            peers: Vec::with_capacity(plan.clients),
            publishers,
            next_publisher: 0,
            load,
            pace: plan.pace,
            clock: None,
            rooms: plan.rooms,
            room_prefix: plan.room_prefix.clone(),
            namespace,
            clients: plan.clients,
            connect_rate: f64::from(plan.connect_rate),
            ready: 0,
            lost: 0,
            last_progress: Instant::now(),
        })
    }

    /// Brings every client into its room.
    pub(super) fn connect(&mut self, mut progress: impl FnMut(usize)) -> anyhow::Result<()> {
        let mut clock = Clock::new(self.connect_rate);
        self.last_progress = Instant::now();
        let mut told = Instant::now();
        while self.ready < self.clients {
            let now = Instant::now();
            let room_for_more =
                |swarm: &Swarm| swarm.peers.len() < swarm.clients.min(swarm.ready + MAX_CONNECTING);
            while room_for_more(self) && clock.take(now).is_some() {
                self.dial()?;
            }
            let wake = if room_for_more(self) { clock.next() } else { now + super::TICK };
            let before = self.ready;
            self.poll_once(wake.min(now + super::TICK))?;
            if self.lost > 0 {
                bail!("a client was lost while others still connected");
            }
            if self.ready > before {
                self.last_progress = Instant::now();
            } else if self.last_progress.elapsed() > PATIENCE {
                bail!(
                    "{} of {} clients are in their room, and no other got there for {PATIENCE:?}",
                    self.ready,
                    self.clients
                );
            }
            if told.elapsed() >= super::TICK {
                told = Instant::now();
                progress(self.ready);
            }
        }
        progress(self.ready);
        self.last_progress = Instant::now();
        Ok(())
    }

    /// Publishes and receives until `until`.
    pub(super) fn run(&mut self, until: Instant) -> anyhow::Result<()> {
        if self.clock.is_none() {
            self.begin()?;
        }
        let delivered = self.load.counts.deliveries;
        loop {
            let now = Instant::now();
            if now >= until {
                break;
            }
            let mut wake = until;
            if let Some(Pace::Rate(_)) = self.pace {
                wake = until.min(self.publish_on_time(now)?);
            }
            self.poll_once(wake)?;
        }
        if self.load.counts.deliveries != delivered {
            self.last_progress = Instant::now();
        } else if matches!(self.pace, Some(Pace::InFlight(_)))
            && self.last_progress.elapsed() > PATIENCE
        {
            bail!(
                "nothing was delivered for {PATIENCE:?}; {} deliveries are missing",
                self.load.outstanding()
            );
        }
        Ok(())
    }

    /// Starts to count.
    pub(super) fn reset(&mut self) {
        self.load.reset();
    }

    /// What was counted so far.
    pub(super) fn counts(&self) -> &Counts {
        &self.load.counts
    }

    /// What was counted.
    pub(super) fn into_counts(self) -> (Counts, u64) {
        (self.load.counts, self.lost)
    }

    fn dial(&mut self) -> anyhow::Result<()> {
        let index = self.peers.len();
        let server = &self.servers[index % self.servers.len()];
        let mut stream = TcpStream::connect(server.address)
            .with_context(|| format!("client {index} cannot connect to {}", server.url))?;
        // Both, until TCP stands.
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(index), interest)?;
        let room = (0..self.rooms)
            .find(|room| load::members(*room, self.clients, self.rooms).contains(&index))
            .context("every client has a room")?;
        self.peers.push(Peer::new(stream, room));
        Ok(())
    }

    /// Waits until something happens or `until`, and handles what happened.
    fn poll_once(&mut self, until: Instant) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(256);
        let timeout = until.saturating_duration_since(Instant::now());
        match self.poll.poll(&mut events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &events {
            let index = event.token().0;
            if index >= self.clients {
                self.api_event(index - self.clients, event)?;
            } else if self.peers[index].phase != Phase::Gone
                && let Err(error) = self.peer_event(index, event)
            {
                self.lose(index, error)?;
            }
            while let Some(room) = self.load.due() {
                self.publish_in_flight(room)?;
            }
        }
        Ok(())
    }

    fn api_event(&mut self, index: usize, event: &Event) -> anyhow::Result<()> {
        let publisher = &mut self.publishers[index];
        if event.is_writable() {
            let waits = publisher.flush().context("the HTTP API is gone")?;
            let registry = self.poll.registry();
            registry.reregister(&mut publisher.stream, event.token(), interest(waits))?;
        }
        if event.is_readable() {
            publisher.read(&mut self.buffer)?;
        }
        Ok(())
    }

    fn peer_event(&mut self, index: usize, event: &Event) -> Result<(), PeerError> {
        let server = index % self.servers.len();
        let peer = &mut self.peers[index];
        if event.is_writable() {
            let waits = if peer.phase != Phase::Dialing {
                peer.flush()?
            } else if peer.connected()? {
                let _ = peer.stream.set_nodelay(true);
                peer.phase = Phase::Upgrading;
                peer.send(&self.servers[server].script.handshake)?
            } else {
                return Ok(());
            };
            self.watch_peer(index, waits)?;
        }
        if event.is_readable() {
            self.read(index, event.is_read_closed())?;
        }
        Ok(())
    }

    /// Reads until nothing is left. A read that does not fill the buffer has emptied the socket
    /// (epoll(7), questions and answers, 9), unless its end has been seen.
    fn read(&mut self, index: usize, to_the_end: bool) -> Result<(), PeerError> {
        loop {
            let Some(filled) = self.peers[index].read(&mut self.buffer)? else { return Ok(()) };
            let now = Instant::now();
            self.scan(index, filled, now)?;
            if filled < BUFFER && !to_the_end {
                return Ok(());
            }
        }
    }

    /// Takes the frames in the buffer.
    fn scan(&mut self, index: usize, filled: usize, now: Instant) -> Result<(), PeerError> {
        let script = &self.servers[index % self.servers.len()].script;
        let peer = &mut self.peers[index];
        let bytes = &self.buffer[..filled];
        let start = match peer.phase {
            Phase::Upgrading => peer.upgraded(bytes)?,
            _ => 0,
        };
        if peer.phase == Phase::Upgrading {
            peer.keep(bytes);
            return Ok(());
        }
        let mut frames = Frames::new(&bytes[start..], MAX_FRAME);
        let mut answers = Vec::new();
        while let Some(frame) = frames.next()? {
            match frame.opcode {
                frames::TEXT if self.load.take(frame.payload, now) => {}
                frames::TEXT => {
                    let join = |room| join(&self.namespace, &room_name(&self.room_prefix, room));
                    let was_ready = peer.phase == Phase::Ready;
                    answers.extend(peer.control(frame.payload, script, join)?.unwrap_or_default());
                    self.ready += usize::from(!was_ready && peer.phase == Phase::Ready);
                }
                frames::PING => frames::write(&mut answers, frames::PONG, frame.payload),
                frames::CLOSE => return Err(PeerError::Closed),
                _ => {}
            }
        }
        peer.keep(frames.rest());
        if !answers.is_empty() {
            let waits = peer.send(&answers)?;
            self.watch_peer(index, waits)?;
        }
        Ok(())
    }

    fn watch(&mut self, index: usize, waits: bool) -> anyhow::Result<()> {
        Ok(self.watch_peer(index, waits)?)
    }

    /// Asks for a wake-up when the kernel takes more, only where something waits for it.
    fn watch_peer(&mut self, index: usize, waits: bool) -> Result<(), PeerError> {
        let peer = &mut self.peers[index];
        if waits == peer.watched {
            return Ok(());
        }
        peer.watched = waits;
        let registry = self.poll.registry();
        Ok(registry.reregister(&mut peer.stream, Token(index), interest(waits))?)
    }

    /// A client is gone. Only a steady pace goes on without it.
    fn lose(&mut self, index: usize, error: PeerError) -> anyhow::Result<()> {
        let url = &self.servers[index % self.servers.len()].url;
        let peer = &mut self.peers[index];
        let ready = peer.phase == Phase::Ready;
        let goes_on = match error {
            PeerError::Io(_) | PeerError::Closed | PeerError::Dismissed(_) => {
                ready && !matches!(self.pace, Some(Pace::InFlight(_)))
            }
            _ => false,
        };
        if !goes_on {
            let fix = match &error {
                PeerError::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    "; start a server with `rookery serve`, or name another with --url"
                }
                _ => "",
            };
            return Err(anyhow!("client {index} at {url}: {error}{fix}"));
        }
        peer.phase = Phase::Gone;
        let _ = self.poll.registry().deregister(&mut peer.stream);
        self.lost += 1;
        self.load.lose(peer.room);
        Ok(())
    }
}

fn interest(waits: bool) -> Interest {
    if waits { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE }
}
