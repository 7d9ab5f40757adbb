//! [`Request`]: one HTTP request on a connection of its own, and its [`Response`].

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::Method;
use http::header::{self, HeaderMap, HeaderValue};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout};

use super::connector::Connector;
use super::cookies::CookieJar;
use crate::cli::doctor::fault::Fault;

/// The largest response body, in bytes.
const MAX_BODY: usize = 1 << 20;

/// An HTTP request.
pub(in crate::cli::doctor) struct Request {
    method: Method,
    path_and_query: String,
    /// Headers beside those that every request has.
    pub(in crate::cli::doctor) headers: HeaderMap,
    body: String,
}

/// An HTTP response.
#[derive(Debug)]
pub(in crate::cli::doctor) struct Response {
    /// The status code.
    pub(in crate::cli::doctor) status: u16,
    pub(in crate::cli::doctor) headers: HeaderMap,
    /// The whole body, at most 1 MiB.
    pub(in crate::cli::doctor) body: Bytes,
}

impl Request {
    pub(in crate::cli::doctor) fn get(path_and_query: String) -> Request {
        let (method, headers) = (Method::GET, HeaderMap::new());
        Request { method, path_and_query, headers, body: String::new() }
    }

    pub(super) fn post(path_and_query: String, body: String) -> Request {
        Request { method: Method::POST, body, ..Request::get(path_and_query) }
    }

    /// Adds the cookies of `jar`.
    pub(super) fn with_cookies(mut self, jar: &CookieJar) -> Request {
        self.headers.extend(jar.header().map(|cookies| (header::COOKIE, cookies)));
        self
    }

    /// Sends the request on a new connection and reads the response, within `limit`; `what` names
    /// the request for errors.
    ///
    /// # Errors
    /// When no response arrives; its status does not matter.
    pub(in crate::cli::doctor) async fn send(
        self,
        connector: &Connector,
        what: &'static str,
        limit: Duration,
    ) -> Result<Response, Fault> {
        let stream = connector.connect().await?;
        let since = Instant::now();
        let cut_off = |error: &dyn std::fmt::Display| Fault::CutOff {
            what,
            after: since.elapsed(),
            reason: error.to_string(),
        };
        let exchange = async {
            let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
            let (mut sender, connection) = handshake.map_err(|error| cut_off(&error))?;
            let request = self.into_http(connector);
            let response = async {
                let sent = sender.send_request(request).await;
                let (head, body) = sent.map_err(|error| cut_off(&error))?.into_parts();
                let body = Limited::new(body, MAX_BODY).collect().await;
                let body = body.map_err(|error| cut_off(&error))?.to_bytes();
                Ok(Response { status: head.status.as_u16(), headers: head.headers, body })
            };
            match select(Box::pin(response), Box::pin(connection)).await {
                Either::Left((response, _)) => response,
                // The response fails with the connection's error, if there is one.
                Either::Right((_, response)) => response.await,
            }
        };
        timeout(limit, exchange).await.unwrap_or(Err(Fault::TimedOut { what, limit }))
    }

    fn into_http(self, connector: &Connector) -> http::Request<Full<Bytes>> {
        let mut request = http::Request::new(Full::new(Bytes::from(self.body)));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path_and_query.parse().unwrap_or_default();
        *request.headers_mut() = self.headers;
        let headers = request.headers_mut();
        let host = HeaderValue::from_str(connector.authority());
        headers.extend(host.map(|host| (header::HOST, host)));
        let agent = HeaderValue::from_static(concat!("rookery-doctor/", env!("CARGO_PKG_VERSION")));
        headers.insert(header::USER_AGENT, agent);
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        if self.method == Method::POST {
            let text = HeaderValue::from_static("text/plain;charset=UTF-8");
            headers.insert(header::CONTENT_TYPE, text);
        }
        request
    }
}

impl Response {
    /// The body as text.
    ///
    /// # Errors
    /// When the status is not 200, or the body is not text.
    pub(super) fn text(&self, what: &'static str) -> Result<&str, Fault> {
        if self.status != 200 {
            return Err(Fault::status(what, self.status, &self.body));
        }
        std::str::from_utf8(&self.body).map_err(|_| Fault::not_engine_io(what, &self.body))
    }
}
