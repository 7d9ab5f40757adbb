//! Waiting for a client to end a connection that was closed for writing.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

/// How long a client may take to end the connection.
pub const LINGER: Duration = Duration::from_secs(2);

/// Discards what a client still sends, until it ends the connection, at most for [`LINGER`]. Closing the
/// socket earlier would make the kernel discard what the client has not read yet.
pub async fn linger(socket: &TcpStream) {
    let mut sink = [0; 512];
    let drain = async {
        while let Ok(()) = socket.readable().await {
            match socket.try_read(&mut sink) {
                Ok(0) => return,
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, drain).await;
}
