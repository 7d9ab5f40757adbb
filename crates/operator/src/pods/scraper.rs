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
const MAX_RESPONSE_BYTES: usize = 4 << 20;

/// Why a server could not be read.
#[derive(Debug, Error)]
pub enum ScrapeError {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    /// The exchange broke off.
    #[error("no answer: {0}")]
    Http(#[from] hyper::Error),
    /// Another answer than 200.
    #[error("the answer is {0}")]
    Status(StatusCode),
    /// The body broke off, or is longer than [`MAX_RESPONSE_BYTES`].
    #[error("the answer cannot be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// The body has no counts.
    #[error(transparent)]
    Sample(#[from] SampleError),
}

/// Reads the server at one address.
pub struct Scraper {
    address: SocketAddr,
    connection: Option<Connection>,
}

/// A connection: it moves only while a request is being answered.
struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    connection: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>,
}

impl Scraper {
    /// Connects at the first read.
    pub fn new(address: SocketAddr) -> Self {
        Scraper { address, connection: None }
    }

    /// Where the server is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Reads the counts. A kept connection that turns out to be closed is made again, once.
    ///
    /// # Errors
    /// See [`ScrapeError`]. The connection is closed then.
    pub async fn read(&mut self) -> Result<Sample, ScrapeError> {
        if let Some(connection) = self.connection.take()
            && let Ok(sample) = self.exchange(connection).await
        {
            return Ok(sample);
        }
        let connection = Connection::connect(self.address).await?;
        self.exchange(connection).await
    }

    /// Closes the connection, as after a read that was given up.
    pub fn close(&mut self) {
        self.connection = None;
    }

    async fn exchange(&mut self, mut connection: Connection) -> Result<Sample, ScrapeError> {
        let body = connection.get(self.address).await?;
        let sample = Sample::parse(&String::from_utf8_lossy(&body))?;
        if connection.sender.is_ready() {
            self.connection = Some(connection);
        }
        Ok(sample)
    }
}

impl Connection {
    async fn connect(address: SocketAddr) -> Result<Self, ScrapeError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Connection { sender, connection: Box::pin(connection) })
    }

    async fn get(&mut self, address: SocketAddr) -> Result<Bytes, ScrapeError> {
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
) -> Result<Bytes, ScrapeError> {
    let response = response.await?;
    if response.status() != StatusCode::OK {
        return Err(ScrapeError::Status(response.status()));
    }
    let body = Limited::new(response.into_body(), MAX_RESPONSE_BYTES).collect().await;
    body.map(|body| body.to_bytes()).map_err(ScrapeError::Body)
}
