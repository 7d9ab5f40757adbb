//! Publishing by the HTTP API: some HTTP/1.1 connections on the swarm's own loop, requests
//! pipelined.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, bail};
use mio::net::TcpStream;

use super::Api;
use super::peer::shown;

/// How long connecting may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The largest answer, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// One connection to the API.
pub(super) struct Publisher {
    pub(super) stream: TcpStream,
    head: String,
    out: VecDeque<u8>,
    answer: Vec<u8>,
}

impl Publisher {
    /// Connects; blocks for it.
    pub(super) fn connect(api: &Api) -> anyhow::Result<Publisher> {
        let (authority, address) = resolve(&api.url)?;
        let stream = std::net::TcpStream::connect_timeout(&address, TIMEOUT)
            .with_context(|| format!("no HTTP API at {}; name it with --api", api.url))?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let key = api.key.as_ref().map(|key| format!("Authorization: Bearer {key}\r\n"));
        Ok(Publisher {
            stream: TcpStream::from_std(stream),
            head: format!(
                "POST /api/publish HTTP/1.1\r\nHost: {authority}\r\n{}\
                 Content-Type: application/json\r\nContent-Length: ",
                key.unwrap_or_default()
            ),
            out: VecDeque::new(),
            answer: Vec::new(),
        })
    }

    /// Sends a publication, or keeps it until the kernel takes it: true when [`Publisher::flush`]
    /// has to be called then.
    pub(super) fn send(&mut self, body: &[u8]) -> io::Result<bool> {
        self.out.extend(self.head.as_bytes());
        self.out.extend(format!("{}\r\n\r\n", body.len()).as_bytes());
        self.out.extend(body);
        self.flush()
    }

    /// Sends what waits; true when some still does.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        while !self.out.is_empty() {
            match self.stream.write(self.out.as_slices().0) {
                Ok(written) => drop(self.out.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Takes the answers that have come.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> anyhow::Result<()> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => bail!("the HTTP API closed the connection"),
                Ok(read) => self.answer.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            let mut rest = self.answer.as_slice();
            while let Some(size) = answer(rest)? {
                rest = &rest[size..];
            }
            let taken = self.answer.len() - rest.len();
            self.answer.drain(..taken);
        }
        Ok(())
    }
}

/// Host and port as HTTP writes them, and the first address they have.
pub(super) fn resolve(url: &reqwest::Url) -> anyhow::Result<(String, SocketAddr)> {
    if !matches!(url.scheme(), "http" | "ws") {
        bail!("{url}: bench measures over plain http, without TLS");
    }
    let host = url.host_str().context("a URL has a host")?;
    let port = url.port_or_known_default().unwrap_or(80);
    let authority = format!("{host}:{port}");
    let address = authority
        .to_socket_addrs()
        .with_context(|| format!("{host} has no address"))?
        .next()
        .with_context(|| format!("{host} has no address"))?;
    Ok((authority, address))
}

/// The size of the answer at the start of some bytes, when it is whole.
fn answer(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        if bytes.len() > MAX_ANSWER {
            bail!("the HTTP API sent a header without end");
        }
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .filter(|length| *length <= MAX_ANSWER)
        .context("the HTTP API sent an answer without a Content-Length that can be followed")?;
    let size = end + 4 + length;
    if bytes.len() < size {
        return Ok(None);
    }
    if !head.starts_with("HTTP/1.1 200 ") {
        bail!("the HTTP API refused: {}", shown(&bytes[end + 4..size]));
    }
    Ok(Some(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let one = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        let two = [one.as_slice(), one].concat();
        assert_eq!(answer(&two).unwrap(), Some(one.len()));
        for cut in 0..one.len() {
            assert_eq!(answer(&one[..cut]).unwrap(), None, "{cut}");
        }
        let refused = answer(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nnope");
        assert!(refused.unwrap_err().to_string().contains("nope"));
        assert!(answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }

    #[test]
    fn only_plain_http_can_be_measured() {
        let url = |text: &str| reqwest::Url::parse(text).unwrap();
        assert!(resolve(&url("https://127.0.0.1")).is_err());
        let (authority, address) = resolve(&url("ws://127.0.0.1")).unwrap();
        assert_eq!((authority.as_str(), address.port()), ("127.0.0.1:80", 80));
        assert!(resolve(&url("http://[::1]:5")).unwrap().1.is_ipv6());
    }
}
