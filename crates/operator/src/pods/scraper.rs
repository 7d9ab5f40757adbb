//! Reads one server's counts, over one connection that is kept between reads.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;

use super::sample::{Sample, SampleError};

/// What is asked for: only the families that are needed, which cost a server next to nothing.
const PATH: &str = "/metrics?name[]=rookery_connections&name[]=rookery_redis_up";

/// Longest answer, in bytes. A server that does not know `name[]` sends all it has.
const MAX_ANSWER: usize = 4 << 20;

/// Why a server could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    /// The exchange broke off.
    #[error("no answer: {0}")]
    Http(#[from] hyper::Error),
    /// Another answer than 200.
    #[error("the answer is {0}")]
    Status(StatusCode),
    /// The body broke off, or is longer than [`MAX_ANSWER`].
    #[error("the answer cannot be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// The body has no counts.
    #[error(transparent)]
    Sample(#[from] SampleError),
}

/// Reads the server at one address.
pub struct Reader {
    address: SocketAddr,
    wire: Option<Wire>,
}

/// A connection: it moves only while a request is being answered.
struct Wire {
    sender: SendRequest<Empty<Bytes>>,
    connection: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>,
}

impl Reader {
    /// Connects at the first read.
    pub fn new(address: SocketAddr) -> Self {
        Reader { address, wire: None }
    }

    /// Where the server is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Reads the counts. A kept connection that turns out to be closed is made again, once.
    ///
    /// # Errors
    /// See [`ReadError`]. The connection is closed then.
    pub async fn read(&mut self) -> Result<Sample, ReadError> {
        if let Some(wire) = self.wire.take()
            && let Ok(sample) = self.exchange(wire).await
        {
            return Ok(sample);
        }
        let wire = Wire::connect(self.address).await?;
        self.exchange(wire).await
    }

    /// Closes the connection, as after a read that was given up.
    pub fn close(&mut self) {
        self.wire = None;
    }

    async fn exchange(&mut self, mut wire: Wire) -> Result<Sample, ReadError> {
        let body = wire.get(self.address).await?;
        let sample = Sample::parse(&String::from_utf8_lossy(&body))?;
        if wire.sender.is_ready() {
            self.wire = Some(wire);
        }
        Ok(sample)
    }
}

impl Wire {
    async fn connect(address: SocketAddr) -> Result<Self, ReadError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Wire { sender, connection: Box::pin(connection) })
    }

    async fn get(&mut self, address: SocketAddr) -> Result<Bytes, ReadError> {
        let request = Request::get(PATH)
            .header(header::HOST, address.to_string())
            .header(header::USER_AGENT, "rookery-operator")
            .body(Empty::new())
            .expect("the path and the headers are valid");
        let exchange = answer(self.sender.send_request(request));
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            // The connection's end may come before its last answer has been taken from it.
            _ = &mut self.connection => exchange.await,
        }
    }
}

async fn answer(
    response: impl Future<Output = hyper::Result<http::Response<hyper::body::Incoming>>>,
) -> Result<Bytes, ReadError> {
    let response = response.await?;
    if response.status() != StatusCode::OK {
        return Err(ReadError::Status(response.status()));
    }
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    body.map(|body| body.to_bytes()).map_err(ReadError::Body)
}
