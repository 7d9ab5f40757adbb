//! The least that a publication takes from one server to a client of another: a message through
//! Redis, and a write to a socket. Each is sent at a steady rate, and the time until its receipt is
//! printed as JSON.
//!
//! ```text
//! cargo run --release --example bare_hop -- redis 127.0.0.1:6379
//! cargo run --release --example bare_hop -- read 127.0.0.1:7000
//! cargo run --release --example bare_hop -- write 127.0.0.1:7000     # to the one that reads
//! ```

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, ensure};
use clap::{Parser, Subcommand};
use serde::Serialize;

/// The channel that is published on; nothing else uses it.
const CHANNEL: &str = "bare-hop";

/// How long to wait for a message before the run fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// The size of the time of sending, at the start of each message, in bytes.
const TIME: usize = 8;

/// Measure how long a message takes through Redis, or from one process to another.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    role: Role,
    /// The size of a message, in bytes.
    #[arg(long, global = true, default_value_t = 256)]
    bytes: usize,
    /// Messages per second.
    #[arg(long, global = true, default_value_t = 1000)]
    rate: u32,
    /// How long to run before measuring, in seconds.
    #[arg(long, global = true, default_value_t = 2)]
    warmup: u32,
    /// How long to measure, in seconds.
    #[arg(long, global = true, default_value_t = 10)]
    duration: u32,
}

/// What this process does.
#[derive(Subcommand)]
enum Role {
    /// Publish on a Redis with one connection, and subscribe with another.
    Redis {
        /// Where Redis is.
        address: SocketAddr,
    },
    /// Listen for the process that writes.
    Read {
        /// Where to listen.
        address: SocketAddr,
    },
    /// Write to the process that reads.
    Write {
        /// Where it listens.
        address: SocketAddr,
    },
}

/// How long messages took, in milliseconds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// The number of messages.
    messages: usize,
    /// The time that 50 % of them did not exceed.
    p50_ms: f64,
    /// The time that 99 % of them did not exceed.
    p99_ms: f64,
    /// The longest time.
    max_ms: f64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!(args.bytes >= TIME, "a message has at least {TIME} bytes");
    ensure!(args.rate > 0 && args.duration > 0, "nothing would be sent");
    let times = match args.role {
        Role::Redis { address } => through_redis(&args, address)?,
        Role::Read { address } => {
            let listener = TcpListener::bind(address)?;
            println!("listening on {}", listener.local_addr()?);
            let (stream, _) = listener.accept()?;
            receive(&args, stream, args.bytes, 0)?
        }
        Role::Write { address } => {
            let mut message = vec![b'x'; args.bytes];
            return send(&args, &mut connect(address)?, &mut message, 0);
        }
    };
    println!("{}", serde_json::to_string(&Report::of(times)?)?);
    Ok(())
}

/// Publishes and subscribes, each on a connection and a thread of its own.
fn through_redis(args: &Args, address: SocketAddr) -> anyhow::Result<Vec<u64>> {
    let mut subscriber = connect(address)?;
    subscriber.write_all(command(&[b"SUBSCRIBE", CHANNEL.as_bytes()]).as_slice())?;
    let length = CHANNEL.len();
    let wanted = format!("*3\r\n$9\r\nsubscribe\r\n${length}\r\n{CHANNEL}\r\n:1\r\n");
    let mut answer = vec![0; wanted.len()];
    subscriber.read_exact(&mut answer).context("SUBSCRIBE")?;
    ensure!(answer == wanted.as_bytes(), "Redis answers {}", String::from_utf8_lossy(&answer));
    let mut publisher = connect(address)?;
    publisher.set_nonblocking(true)?;
    let payload = vec![b'x'; args.bytes];
    let mut publish = command(&[b"PUBLISH", CHANNEL.as_bytes(), &payload]);
    let (in_command, size) = (publish.len() - payload.len() - 2, args.bytes);
    let header = format!("*3\r\n$7\r\nmessage\r\n${length}\r\n{CHANNEL}\r\n${size}\r\n");
    let message = header.len() + size + 2;
    thread::scope(|scope| {
        let received = scope.spawn(|| receive(args, subscriber, message, header.len()));
        send(args, &mut publisher, &mut publish, in_command)?;
        received.join().map_err(|_| anyhow!("the subscriber failed"))?
    })
}

fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A command as Redis reads it.
fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Sends the message at the rate, each time with the time at `offset`; what comes back is discarded.
fn send(
    args: &Args,
    stream: &mut TcpStream,
    message: &mut [u8],
    offset: usize,
) -> anyhow::Result<()> {
    let (begin, interval) = (Instant::now(), Duration::from_secs(1) / args.rate);
    let mut answers = [0; 1024];
    for number in 0..args.total() {
        let due = begin + interval * number;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        message[offset..][..TIME].copy_from_slice(&now().to_le_bytes());
        stream.write_all(message).context("sending a message")?;
        if !matches!(args.role, Role::Redis { .. }) {
            continue;
        }
        match stream.read(&mut answers) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => ensure!(read? > 0, "Redis closed the connection"),
        }
    }
    Ok(())
}

/// The times of the messages after the warm-up, in nanoseconds. Each has `size` bytes, with the time
/// of sending at `offset`.
fn receive(
    args: &Args,
    mut stream: TcpStream,
    size: usize,
    offset: usize,
) -> anyhow::Result<Vec<u64>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let skipped = (args.warmup * args.rate) as usize;
    let mut times = Vec::with_capacity(args.total() as usize);
    let (mut buffer, mut filled) = (vec![0; 64 * size], 0);
    while times.len() < args.total() as usize {
        let read = stream.read(&mut buffer[filled..]).context("waiting for a message")?;
        ensure!(read > 0, "the connection was closed");
        filled += read;
        let received = now();
        for message in buffer[..filled].chunks_exact(size) {
            let sent: [u8; TIME] = message[offset..][..TIME].try_into()?;
            times.push(received.saturating_sub(u64::from_le_bytes(sent)));
        }
        let rest = filled - filled % size;
        buffer.copy_within(rest..filled, 0);
        filled %= size;
    }
    Ok(times.split_off(skipped))
}

/// Nanoseconds, on a clock that processes of one machine share.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Args {
    /// The number of messages, those of the warm-up included.
    fn total(&self) -> u32 {
        (self.warmup + self.duration) * self.rate
    }
}

impl Report {
    fn of(mut times: Vec<u64>) -> anyhow::Result<Report> {
        times.sort_unstable();
        let last = times.len().checked_sub(1).context("nothing was measured")?;
        let ms = |share: f64| times[(last as f64 * share) as usize] as f64 / 1e6;
        let messages = times.len();
        Ok(Report { messages, p50_ms: ms(0.5), p99_ms: ms(0.99), max_ms: ms(1.0) })
    }
}
