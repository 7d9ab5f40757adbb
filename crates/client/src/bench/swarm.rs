//! [`Swarm`]: every client, on one epoll loop.

use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use mio::event::Event;
use mio::{Events, Interest, Poll, Token};

use super::api_connection::ApiConnection;
use super::connection::{Connection, ConnectionError, Phase};
use super::counts::Counts;
use super::frames::{self, Frames};
use super::plan::{Api, MAX_PAYLOAD, Pace, Plan};
use super::publications::{Layout, Publications, room_name};
use super::rate_clock::RateClock;
use super::server::{Server, join_frame};

mod connect;
mod publish;

/// The size of the shared read buffer in bytes: several of the largest frames.
const BUFFER: usize = 8 * MAX_PAYLOAD;

/// The largest frame that is accepted, in bytes of payload.
const MAX_FRAME: usize = MAX_PAYLOAD + 1024;

/// How long the swarm waits without any progress before it fails.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The most connections to the HTTP API.
const MAX_API_CONNECTIONS: usize = 16;

/// The clients and their publications.
pub(super) struct Swarm {
    poll: Poll,
    /// What was read from the socket at hand.
    read_buffer: Box<[u8]>,
    /// What is about to be written.
    write_buffer: Vec<u8>,
    /// The members' servers, and after them that of the publishers that are in no room.
    servers: Vec<Server>,
    /// The clients' connections, by token: those of the members, then those of the publishers that
    /// are in no room.
    connections: Vec<Connection>,
    /// Connections to the HTTP API; their tokens follow those of the clients.
    api_connections: Vec<ApiConnection>,
    /// The index of the next API connection to publish through.
    next_api_connection: usize,
    publications: Publications,
    pace: Option<Pace>,
    /// When to publish next; `None` before the first publication.
    clock: Option<RateClock>,
    rooms: usize,
    room_prefix: String,
    namespace: String,
    /// The number of members.
    members: usize,
    /// The number of members and of publishers that are in no room.
    clients: usize,
    /// Connections to open per second.
    connect_rate: f64,
    /// Clients that joined their room.
    joined: usize,
    /// Clients whose connection was lost since.
    lost: u64,
    last_progress: Instant,
}

impl Swarm {
    /// Connects to the HTTP API, if the plan publishes through it, but no client yet.
    pub(super) fn new(plan: &Plan) -> anyhow::Result<Swarm> {
        let poll = Poll::new()?;
        let in_flight = match plan.pace {
            Some(Pace::InFlight(in_flight)) => in_flight,
            _ => 1,
        };
        let namespace = plan.targets[0].namespace().to_owned();
        let clients = plan.clients + plan.publishers();
        let mut api_connections = Vec::new();
        if let Some(api) = &plan.api {
            let count = (in_flight * plan.rooms).min(MAX_API_CONNECTIONS);
            api_connections = connect_to_api(api, &poll, clients..clients + count)?;
        }
        let publications = Publications::new(&Layout {
            clients: plan.clients,
            rooms: plan.rooms,
            room_prefix: &plan.room_prefix,
            namespace: &namespace,
            payload: plan.payload,
            records: plan.deflate,
            in_flight,
            api: plan.api.is_some(),
        });
        let targets = plan.targets.iter().chain(&plan.publish_at);
        let servers = targets.map(|target| Server::new(target, plan.deflate));
        Ok(Swarm {
            poll,
            read_buffer: vec![0; BUFFER].into_boxed_slice(),
            write_buffer: Vec::new(),
            servers: servers.collect::<anyhow::Result<_>>()?,
            connections: Vec::with_capacity(clients),
            api_connections,
            next_api_connection: 0,
            publications,
            pace: plan.pace,
            clock: None,
            rooms: plan.rooms,
            room_prefix: plan.room_prefix.clone(),
            namespace,
            members: plan.clients,
            clients,
            connect_rate: f64::from(plan.connect_rate),
            joined: 0,
            lost: 0,
            last_progress: Instant::now(),
        })
    }

    /// Publishes and receives until `until`.
    ///
    /// # Errors
    /// When the server refuses a publication, or publications in flight are not delivered for
    /// [`STALL_TIMEOUT`].
    pub(super) fn run(&mut self, until: Instant) -> anyhow::Result<()> {
        if self.clock.is_none() {
            self.begin_publishing()?;
        }
        let delivered = self.publications.counts.deliveries;
        loop {
            let now = Instant::now();
            if now >= until {
                break;
            }
            let mut wake = until;
            if let Some(Pace::Rate(_)) = self.pace {
                wake = until.min(self.publish_due(now)?);
            }
            self.poll_once(wake)?;
        }
        if self.publications.counts.deliveries != delivered {
            self.last_progress = Instant::now();
        } else if matches!(self.pace, Some(Pace::InFlight(_)))
            && self.last_progress.elapsed() > STALL_TIMEOUT
        {
            bail!(
                "nothing was delivered for {STALL_TIMEOUT:?}; {} deliveries are missing",
                self.publications.outstanding()
            );
        }
        Ok(())
    }

    /// Sets the counts to zero.
    pub(super) fn reset(&mut self) {
        self.publications.reset();
    }

    /// The counts so far.
    pub(super) fn counts(&self) -> &Counts {
        &self.publications.counts
    }

    /// The counts, and the number of lost clients.
    pub(super) fn into_counts(self) -> (Counts, u64) {
        (self.publications.counts, self.lost)
    }

    /// Waits for events until `until` at the latest, and handles them.
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
            } else if self.connections[index].phase != Phase::Lost
                && let Err(error) = self.client_event(index, event)
            {
                self.lose(index, error)?;
            }
            while let Some(room) = self.publications.take_complete() {
                self.publish_in_flight(room)?;
            }
        }
        Ok(())
    }

    fn api_event(&mut self, index: usize, event: &Event) -> anyhow::Result<()> {
        let connection = &mut self.api_connections[index];
        if event.is_writable() {
            let unsent = connection.flush().context("the connection to the HTTP API was lost")?;
            let registry = self.poll.registry();
            registry.reregister(&mut connection.stream, event.token(), interest(unsent))?;
        }
        if event.is_readable() {
            connection.read_responses(&mut self.read_buffer)?;
        }
        Ok(())
    }

    fn client_event(&mut self, index: usize, event: &Event) -> Result<(), ConnectionError> {
        let server = self.server_of(index);
        let connection = &mut self.connections[index];
        if event.is_writable() {
            let unsent = if connection.phase != Phase::Dialing {
                connection.flush()?
            } else if connection.is_connected()? {
                let _ = connection.stream.set_nodelay(true);
                connection.phase = Phase::Upgrading;
                connection.send(&self.servers[server].messages.handshake)?
            } else {
                return Ok(());
            };
            self.watch_writable(index, unsent)?;
        }
        if event.is_readable() {
            self.read(index, event.is_read_closed())?;
        }
        Ok(())
    }

    /// Reads until the socket is empty. A read that does not fill the buffer has emptied it
    /// (epoll(7), questions and answers, 9), unless the server has closed it.
    fn read(&mut self, index: usize, closed: bool) -> Result<(), ConnectionError> {
        loop {
            let Some(filled) = self.connections[index].read(&mut self.read_buffer)? else {
                return Ok(());
            };
            let now = Instant::now();
            self.handle_frames(index, filled, now)?;
            if filled < BUFFER && !closed {
                return Ok(());
            }
        }
    }

    /// Handles the frames in the first `filled` bytes of the read buffer.
    fn handle_frames(
        &mut self,
        index: usize,
        filled: usize,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let messages = &self.servers[self.server_of(index)].messages;
        let connection = &mut self.connections[index];
        let bytes = &self.read_buffer[..filled];
        let start = match connection.phase {
            Phase::Upgrading => connection.finish_handshake(bytes)?,
            _ => 0,
        };
        if connection.phase == Phase::Upgrading {
            connection.keep_partial(bytes);
            return Ok(());
        }
        let mut frames = Frames::new(&bytes[start..], MAX_FRAME);
        let mut replies = Vec::new();
        while let Some(frame) = frames.next()? {
            let payload = frame.payload(MAX_FRAME)?;
            match frame.opcode {
                frames::TEXT if self.publications.receive(&payload, now) => {}
                frames::TEXT => {
                    let join =
                        |room| join_frame(&self.namespace, &room_name(&self.room_prefix, room));
                    let had_joined = connection.phase == Phase::Joined;
                    let reply = connection.handle_control(&payload, messages, join)?;
                    replies.extend(reply.unwrap_or_default());
                    self.joined += usize::from(!had_joined && connection.phase == Phase::Joined);
                }
                frames::PING => frames::write(&mut replies, frames::PONG, &payload),
                frames::CLOSE => return Err(ConnectionError::Closed),
                _ => {}
            }
        }
        connection.keep_partial(frames.rest());
        if !replies.is_empty() {
            let unsent = connection.send(&replies)?;
            self.watch_writable(index, unsent)?;
        }
        Ok(())
    }

    /// Has the event loop report a writable socket only while there is something to write.
    fn watch_writable(&mut self, index: usize, unsent: bool) -> io::Result<()> {
        let connection = &mut self.connections[index];
        if unsent == connection.watches_writable {
            return Ok(());
        }
        connection.watches_writable = unsent;
        let registry = self.poll.registry();
        registry.reregister(&mut connection.stream, Token(index), interest(unsent))
    }

    /// Closes a client that was lost.
    ///
    /// # Errors
    /// The reason, unless the load goes on without the client, as only a steady rate does without a
    /// member.
    fn lose(&mut self, index: usize, error: ConnectionError) -> anyhow::Result<()> {
        let url = &self.servers[self.server_of(index)].url;
        let connection = &mut self.connections[index];
        let member_of = connection.room.filter(|_| connection.phase == Phase::Joined);
        let goes_on = match error {
            ConnectionError::Io(_) | ConnectionError::Closed | ConnectionError::Disconnected(_) => {
                member_of.is_some() && !matches!(self.pace, Some(Pace::InFlight(_)))
            }
            _ => false,
        };
        if !goes_on {
            let fix = match &error {
                ConnectionError::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    "; start a server with `rookery serve`, or name another with --url"
                }
                _ => "",
            };
            return Err(anyhow!("client {index} at {url}: {error}{fix}"));
        }
        connection.phase = Phase::Lost;
        let _ = self.poll.registry().deregister(&mut connection.stream);
        self.lost += 1;
        if let Some(room) = member_of {
            self.publications.remove_member(room);
        }
        Ok(())
    }
}

/// A connection to the HTTP API for each of the tokens.
fn connect_to_api(
    api: &Api,
    poll: &Poll,
    tokens: Range<usize>,
) -> anyhow::Result<Vec<ApiConnection>> {
    let connect = |token| {
        let mut connection = ApiConnection::connect(api)?;
        poll.registry().register(&mut connection.stream, Token(token), Interest::READABLE)?;
        Ok(connection)
    };
    tokens.map(connect).collect()
}

fn interest(unsent: bool) -> Interest {
    if unsent { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE }
}
