//! [`ApiConnection`]: publishes through the HTTP API, with pipelined HTTP/1.1 requests on the
//! swarm's event loop.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use mio::net::TcpStream;

use super::excerpt::excerpt;
use super::plan::Api;
use super::server::resolve;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest response header or body, in bytes.
const MAX_RESPONSE: usize = 64 << 10;

/// One connection to the HTTP API.
pub(super) struct ApiConnection {
    pub(super) stream: TcpStream,
    /// The head of every request, up to the value of `Content-Length`.
    head: String,
    /// Bytes that the kernel has not taken.
    unsent: VecDeque<u8>,
    /// The start of a response whose end has not arrived.
    partial: Vec<u8>,
}

impl ApiConnection {
    /// Connects, blocking.
    pub(super) fn connect(api: &Api) -> anyhow::Result<ApiConnection> {
        let (authority, address) = resolve(&api.url)?;
        let stream =
            std::net::TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).with_context(|| {
                format!("cannot connect to the HTTP API at {}; set its address with --api", api.url)
            })?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let key = api.key.as_ref().map(|key| format!("Authorization: Bearer {key}\r\n"));
        Ok(ApiConnection {
            stream: TcpStream::from_std(stream),
            head: format!(
                "POST /api/publish HTTP/1.1\r\nHost: {authority}\r\n{}\
                 Content-Type: application/json\r\nContent-Length: ",
                key.unwrap_or_default()
            ),
            unsent: VecDeque::new(),
            partial: Vec::new(),
        })
    }

    /// Sends a publication as far as the kernel takes it. `true` when the rest has to be sent with
    /// [`ApiConnection::flush`] once the socket is writable.
    pub(super) fn send(&mut self, body: &[u8]) -> io::Result<bool> {
        self.unsent.extend(self.head.as_bytes());
        self.unsent.extend(format!("{}\r\n\r\n", body.len()).as_bytes());
        self.unsent.extend(body);
        self.flush()
    }

    /// Sends what is unsent; `true` when some still is.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        while !self.unsent.is_empty() {
            match self.stream.write(self.unsent.as_slices().0) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Reads the responses that have arrived.
    ///
    /// # Errors
    /// When one of them is not 200 or cannot be parsed, or the connection is closed.
    pub(super) fn read_responses(&mut self, buffer: &mut [u8]) -> anyhow::Result<()> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => bail!("the HTTP API closed the connection"),
                Ok(read) => self.partial.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            let mut rest = self.partial.as_slice();
            while let Some(size) = response_size(rest)? {
                rest = &rest[size..];
            }
            let taken = self.partial.len() - rest.len();
            self.partial.drain(..taken);
        }
        Ok(())
    }
}

/// The size of the response at the start of `bytes`; `None` when it is not whole.
fn response_size(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        if bytes.len() > MAX_RESPONSE {
            bail!("the HTTP API sent too large a header");
        }
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .filter(|length| *length <= MAX_RESPONSE)
        .context("the HTTP API sent a response without a usable Content-Length")?;
    let size = end + 4 + length;
    if bytes.len() < size {
        return Ok(None);
    }
    if !head.starts_with("HTTP/1.1 200 ") {
        bail!("the HTTP API refused a publication: {}", excerpt(&bytes[end + 4..size]));
    }
    Ok(Some(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipelined_responses_are_separated() {
        let one = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        let two = [one.as_slice(), one].concat();
        assert_eq!(response_size(&two).unwrap(), Some(one.len()));
        for cut in 0..one.len() {
            assert_eq!(response_size(&one[..cut]).unwrap(), None, "{cut}");
        }
        let refused = response_size(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nnope");
        assert!(refused.unwrap_err().to_string().contains("nope"));
        assert!(response_size(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }
}
