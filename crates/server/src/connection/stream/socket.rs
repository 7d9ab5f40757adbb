//! Reading a client's socket.

use std::cell::Cell;
use std::io;
use std::task::{Context, Poll, ready};

use rustix::net::RecvFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes that are read at once.
const READ_BUFFER: usize = 64 << 10;

thread_local! {
    /// What was read from the socket at hand: all sessions of a shard share it.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Reads what is available, and passes it to `handle`. Returns the number of bytes; 0 is the end.
///
/// # Errors
/// When the connection is broken.
pub(super) fn poll_read(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    handle: impl FnOnce(&mut [u8]),
) -> Poll<io::Result<usize>> {
    let mut buffer = BUFFER.take();
    buffer.resize(READ_BUFFER, 0);
    let read = poll_read_some(socket, cx, &mut buffer);
    if let Poll::Ready(Ok(n)) = read {
        handle(&mut buffer[..n]);
    }
    BUFFER.set(buffer);
    read
}

/// Where a read does not fill the buffer, the socket is marked as empty until the kernel reports
/// otherwise, which saves a system call.
fn poll_read_some(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_read_ready(cx))?;
        let mut read = None;
        let tried = socket.try_io(Interest::READABLE, || {
            let (n, _) = rustix::net::recv(socket, &mut *buffer, RecvFlags::empty())?;
            read = Some(n);
            if n > 0 && n < buffer.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(n) }
        });
        match (read, tried) {
            (Some(n), _) => return Poll::Ready(Ok(n)),
            (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            (None, tried) => return Poll::Ready(tried),
        }
    }
}
