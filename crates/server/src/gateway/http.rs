//! The Engine.IO endpoint: which request does what, and what answers a bad one.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;

use super::drain::Phase;
use super::engine::Engine;
use super::lines::About;
use super::query::{EngineError, Query};
use super::session::Session;
use super::{Gateway, handshake, upgrade};
use crate::connection::outbox::{Ending, NotPolling, Polled};
use crate::telemetry::metrics::{Disconnected, Rejected};
use rookery_config::Transport;
use rookery_protocol::Revision;
use rookery_protocol::payload;

/// What a request is answered with.
pub type Answer = Response<Full<Bytes>>;

/// A request and where it came in.
pub struct Call {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// The protocol engine.
    pub engine: Engine,
    /// The shard on which the connection was accepted.
    pub shard: usize,
    /// Who sent it, as the socket says.
    pub peer: SocketAddr,
    /// The request.
    pub request: Request<Incoming>,
}

/// Answers a request of the clients' listener.
pub async fn serve(call: Call) -> Answer {
    let gateway = call.gateway.clone();
    let origin = call.request.headers().get(header::ORIGIN).cloned();
    let (method, uri) = (call.request.method().clone(), call.request.uri().clone());
    if !is_endpoint(uri.path(), &gateway.config.socketio.path) {
        let path = &gateway.config.socketio.path;
        return text(StatusCode::NOT_FOUND, format!("Socket.IO answers at {path}/\n"));
    }
    let mut answer = match method {
        Method::OPTIONS => preflight(call.request.headers()),
        _ if !origin_allowed(&gateway, call.request.headers()) => {
            let client = handshake::address(&gateway, &call.peer, call.request.headers());
            let why = "the origin is not in socketio.cors.origins";
            gateway.refused(Rejected::Forbidden, About::address(client), &why);
            error(EngineError::Forbidden)
        }
        _ => dispatch(call, Query::parse(uri.query().unwrap_or_default())).await,
    };
    allow_origin(&gateway, origin, answer.headers_mut());
    answer
}

/// The checks and their order are those of Node's server.
async fn dispatch(call: Call, query: Query<'_>) -> Answer {
    let gateway = &call.gateway;
    let transport = query.transport();
    let Some(transport) =
        transport.filter(|t| gateway.config.socketio.transports.contains(t) && !query.jsonp)
    else {
        return error(EngineError::UnknownTransport);
    };
    let upgrade = is_upgrade(call.request.headers());
    let Some(sid) = &query.sid else {
        return if call.request.method() != Method::GET {
            error(EngineError::BadHandshakeMethod)
        } else if (transport == Transport::Websocket) != upgrade {
            error(EngineError::BadRequest)
        } else {
            open(call, &query, transport)
        };
    };
    let Some(session) = gateway.sessions.get(sid) else {
        return error(EngineError::UnknownSid);
    };
    match (transport, call.request.method()) {
        (Transport::Websocket, &Method::GET) if upgrade => upgrade::existing(call, session),
        (Transport::Polling, &Method::GET) => poll(&session, query.base64).await,
        (Transport::Polling, &Method::POST) => post(call, &session).await,
        _ => error(EngineError::BadRequest),
    }
}

fn open(call: Call, query: &Query<'_>, transport: Transport) -> Answer {
    let gateway = &call.gateway;
    let revision = match query.eio.as_deref() {
        Some("4") => Revision::V4,
        Some("3") if gateway.config.socketio.eio3 => Revision::V3,
        _ => return error(EngineError::UnsupportedVersion),
    };
    let address = handshake::address(gateway, &call.peer, call.request.headers());
    let about = About::address(address);
    if gateway.drain.phase() == Phase::Window {
        gateway.refused(Rejected::Draining, about, &"this instance is about to stop");
        return draining(gateway);
    }
    let slot = match gateway.limits.open(address) {
        Ok(slot) => slot,
        Err(full) => {
            gateway.refused(full.reason, about, &"at a limit");
            let mut answer = text(StatusCode::SERVICE_UNAVAILABLE, "at a limit; try again\n");
            let seconds = full.retry_after.as_secs().max(1);
            answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            return answer;
        }
    };
    match transport {
        Transport::Polling => handshake::polling(&call, revision, query.base64, slot),
        Transport::Websocket => upgrade::fresh(call, revision, slot),
    }
}

async fn poll(session: &Arc<Session>, base64: bool) -> Answer {
    match session.outbox.poll(base64).await {
        Ok(polled) => polled_answer(session, polled),
        Err(NotPolling::Elsewhere | NotPolling::Overlap) => error(EngineError::BadRequest),
    }
}

fn polled_answer(session: &Session, polled: Polled) -> Answer {
    let mut answer = Response::new(Full::new(polled.body.into()));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(polled.form.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if polled.last == Some(Disconnected::Drain) {
        send_elsewhere(session.gateway(), headers);
    }
    answer
}

async fn post(call: Call, session: &Arc<Session>) -> Answer {
    if !session.outbox.takes_posts() {
        return error(EngineError::BadRequest);
    }
    let gateway = &call.gateway;
    let bytes = call
        .request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|v| v.as_bytes().starts_with(b"application/octet-stream"));
    let max = gateway.config.socketio.max_payload.bytes();
    let read = Limited::new(call.request.into_body(), max).collect();
    let read = tokio::time::timeout(gateway.limits.config().header_read.0, read);
    let body = match read.await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let why = "a request is larger than socketio.maxPayload";
            gateway.refused(Rejected::Payload, session.about(), &why);
            let mut answer = text(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("a request may have {max} bytes (socketio.maxPayload)\n"),
            );
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return answer;
        }
        Ok(Err(_)) | Err(_) => return error(EngineError::BadRequest),
    };
    let packets = match payload::decode(&body, session.outbox.revision(), bytes) {
        Ok(packets) => packets,
        Err(problem) => {
            gateway.refused(Rejected::BadPacket, session.about(), &problem);
            session.outbox.close(Disconnected::TransportError, Ending::Finish);
            return error(EngineError::BadRequest);
        }
    };
    match session.outbox.feed(packets).await {
        Ok(()) => {
            let mut answer = Response::new(Full::new(Bytes::from_static(b"ok")));
            // Node's answer has this type; a browser must not take it for a page.
            let html = HeaderValue::from_static("text/html");
            answer.headers_mut().insert(header::CONTENT_TYPE, html);
            answer
        }
        Err(_) => error(EngineError::BadRequest),
    }
}

/// An answer in text.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=UTF-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, plain);
    answer
}

/// The answer to a request that Engine.IO cannot serve.
pub fn error(error: EngineError) -> Answer {
    let status = match error {
        EngineError::Forbidden => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_REQUEST,
    };
    let mut answer = text(status, error.body());
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    answer
}

fn draining(gateway: &Gateway) -> Answer {
    let mut answer = text(StatusCode::SERVICE_UNAVAILABLE, "this instance is about to stop\n");
    let headers = answer.headers_mut();
    headers.insert(header::RETRY_AFTER, 1.into());
    send_elsewhere(gateway, headers);
    answer
}

/// Lets the client's next request reach another instance: not by this connection, and not by
/// the ingress's sticky cookie.
fn send_elsewhere(gateway: &Gateway, headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let Some(cookie) = &gateway.config.drain.sticky_cookie else { return };
    // Browsers take a cookie from another site's answer only with these.
    let other_sites = gateway.config.socketio.cors.credentials.then_some("; SameSite=None; Secure");
    for attributes in std::iter::once("").chain(other_sites) {
        let expired = format!("{cookie}=; Path=/; Max-Age=0{attributes}");
        if let Ok(expired) = HeaderValue::from_str(&expired) {
            headers.append(header::SET_COOKIE, expired);
        }
    }
}

fn is_endpoint(path: &str, endpoint: &str) -> bool {
    let endpoint = endpoint.trim_end_matches('/');
    path.strip_prefix(endpoint).is_some_and(|rest| rest.is_empty() || rest == "/")
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    let value = headers.get(header::UPGRADE).and_then(|v| v.to_str().ok());
    value.is_some_and(|v| v.eq_ignore_ascii_case("websocket"))
}

/// Browsers send no preflight for a WebSocket, so a named list of origins is kept here too.
fn origin_allowed(gateway: &Gateway, headers: &HeaderMap) -> bool {
    let origins = &gateway.config.socketio.cors.origins;
    let Some(origin) = headers.get(header::ORIGIN).and_then(|v| v.to_str().ok()) else {
        return true;
    };
    let host = headers.get(header::HOST).and_then(|v| v.to_str().ok());
    let own = origin.split_once("://").map(|(_, authority)| authority);
    origins.iter().any(|o| o == "*" || o == origin) || (own.is_some() && own == host)
}

fn allow_origin(gateway: &Gateway, origin: Option<HeaderValue>, headers: &mut HeaderMap) {
    let cors = &gateway.config.socketio.cors;
    let Some(origin) = origin else { return };
    if cors.origins.iter().any(|o| o == "*") {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        return;
    }
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if cors.origins.iter().any(|o| o.as_bytes() == origin.as_bytes()) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if cors.credentials {
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
    }
}

fn preflight(asked: &HeaderMap) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    let methods = HeaderValue::from_static("GET, POST, OPTIONS");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    if let Some(wanted) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, 600.into());
    answer
}
