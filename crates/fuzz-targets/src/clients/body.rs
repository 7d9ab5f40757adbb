//! Bodies of polling POSTs, in chunks.
//!
//! The first byte is the revision and the type of the body, the second the length of the chunks.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use rookery_config as config;
use rookery_protocol::Revision;
use rookery_protocol::payload::{self, MAX_PACKETS, Packet};
use rookery_server::gateway::Limits;
use rookery_server::gateway::fuzzing::{Origin, read_body};

use crate::repeat::repeated;
use crate::target::{Shape, Target};

/// The most bytes of a body here.
const MAX: usize = 1 << 18;

/// The target.
pub const TARGET: Target = Target {
    name: "body",
    run,
    shapes: &[
        Shape { name: "chunks of a byte", input: |n| repeated([0, 1], b"4", b"", n), max: MAX },
        Shape { name: "large chunks", input: |n| repeated([0, 255], b"4", b"", n), max: MAX },
        Shape { name: "packets", input: |n| repeated([0, 60, b'4'], b"\x1e4", b"", n), max: MAX },
    ],
};

/// Reads a body as chunks and as a whole.
pub fn run(input: &[u8]) {
    let &[kind, length, ref body @ ..] = input else { return };
    // A body may be too long by a little.
    let max = if kind & 4 == 0 { MAX } else { body.len().saturating_sub(usize::from(kind >> 3)) };
    let chunks = body.chunks(usize::from(length).max(1)).map(Bytes::copy_from_slice);
    let chunks = chunks.map(|chunk| Ok::<_, Infallible>(Frame::data(chunk)));
    let read = in_runtime(StreamBody::new(stream::iter(chunks)), max);
    match &read {
        Some(read) => {
            assert!(body.len() <= max && read == body);
            assert!(read.capacity() <= (2 * body.len()).max(16 << 10), "{}", read.capacity());
        }
        None => assert!(body.len() > max),
    }
    assert_eq!(in_runtime(Full::new(Bytes::copy_from_slice(body)), max), read);
    let Some(read) = read else { return };
    let revision = if kind & 1 == 0 { Revision::V4 } else { Revision::V3 };
    if let Ok(packets) = payload::decode(&read, revision, kind & 2 != 0) {
        assert!((1..=MAX_PACKETS).contains(&packets.len()));
        let held: usize = packets.iter().map(bytes_in).sum();
        assert!(held <= read.len(), "packets are no longer than their payload");
    }
}

/// The body, unless it is longer than `max`. No memory stays reserved.
fn in_runtime<B>(body: B, max: usize) -> Option<Vec<u8>>
where
    B: hyper::body::Body<Data = Bytes>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let limits = Limits::new(config::Limits::default());
    let origin = Origin::of(Ipv4Addr::LOCALHOST.into(), std::iter::empty(), &[]);
    runtime.expect("a runtime").block_on(read_body(body, max, &limits, origin))
}

fn bytes_in(packet: &Packet) -> usize {
    match packet {
        Packet::Message(text) | Packet::Ping(text) => text.len(),
        Packet::Binary(bytes) => bytes.len(),
        Packet::Pong | Packet::Close | Packet::Ignored => 0,
    }
}
