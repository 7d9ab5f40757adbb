//! Scrapes one server over a connection that is kept between scrapes.

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

/// The metrics request, restricted to the families that are needed, which makes it cheap for
/// the server.
const PATH: &str = "/metrics?name[]=rookery_connections&name[]=rookery_redis_up\
    &name[]=rookery_build_info&name[]=rookery_deliveries_total&name[]=rookery_outbox_bytes";

/// Maximum response size, in bytes. A server that does not support `name[]` sends all its metrics.
const MAX_RESPONSE_BYTES: usize = 4 << 20;

/// Why a scrape failed.
#[derive(Debug, Error)]
pub enum ScrapeError {
    /// The TCP connection failed.
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    /// The HTTP exchange failed.
    #[error("no response: {0}")]
    Http(#[from] hyper::Error),
    /// The response status is not 200.
    #[error("unexpected status {0}")]
    Status(StatusCode),
    /// The body was cut off, or exceeds [`MAX_RESPONSE_BYTES`].
    #[error("cannot read the response: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// The body has no valid counts.
    #[error(transparent)]
    Sample(#[from] SampleError),
}

/// Scrapes the server at one address.
pub struct Scraper {
    address: SocketAddr,
    connection: Option<Connection>,
}

/// An HTTP/1.1 connection. It is driven only while a request is in progress.
struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    connection: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>,
}

impl Scraper {
    /// Creates a scraper that connects on its first scrape.
    pub fn new(address: SocketAddr) -> Self {
        Scraper { address, connection: None }
    }

    /// The address of the server.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Scrapes the counts. If the kept connection turns out to be closed, reconnects once.
    ///
    /// # Errors
    /// See [`ScrapeError`]. The connection is closed after an error.
    pub async fn scrape(&mut self) -> Result<Sample, ScrapeError> {
        if let Some(connection) = self.connection.take()
            && let Ok(sample) = self.exchange(connection).await
        {
            return Ok(sample);
        }
        let connection = Connection::connect(self.address).await?;
        self.exchange(connection).await
    }

    /// Closes the connection. Call it after abandoning a scrape.
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
            // The connection may end before its last response has been read.
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
