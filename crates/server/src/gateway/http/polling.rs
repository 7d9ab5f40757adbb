//! Polling: GET fetches what waits for the client, POST brings the client's packets.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use super::body::{BodyBounds, BodyError};
use super::engine_error::EngineError;
use super::request::EngineRequest;
use super::response::{EngineResponse, error, limit_reached, payload, release_client, text};
use crate::connection::outbox::{Ending, NotPolling};
use crate::gateway::limits::BodyPermit;
use crate::gateway::session::Session;
use crate::gateway::state::Gateway;
use crate::telemetry::metrics::{Disconnected, Rejected};
use rookery_protocol::payload as packets;

/// Answers a polling GET, once there is something to send. The wait ends with the session.
pub async fn get(session: &Arc<Session>, base64: bool) -> EngineResponse {
    match session.outbox.poll(base64).await {
        Ok(polled) => {
            let mut response = payload(polled.form, polled.body);
            if matches!(polled.last, Some(Disconnected::Drain | Disconnected::Rebalance)) {
                release_client(&session.gateway().config, response.headers_mut());
            }
            response
        }
        Err(NotPolling::Elsewhere) => not_polling(session),
        Err(NotPolling::Overlap) => {
            let problem = "a GET overlaps another one of the session, or follows one that broke";
            session.gateway().refused(Rejected::BadPacket, session.log_subject(), &problem);
            error(EngineError::BadRequest)
        }
    }
}

/// Refuses a request of a session that does not poll any more.
fn not_polling(session: &Session) -> EngineResponse {
    let problem = "a session polls that has ended, or moved to a WebSocket";
    session.gateway().refused(Rejected::BadRequest, session.log_subject(), &problem);
    error(EngineError::BadRequest)
}

/// What is kept of a polling POST's request.
pub struct Post {
    /// Whether the body is an `application/octet-stream`.
    binary: bool,
    /// Permits the memory of the body.
    permit: BodyPermit,
    body: Incoming,
}

impl Post {
    /// The POST of a request.
    pub fn of(request: EngineRequest) -> Self {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let octets = |v: &HeaderValue| v.as_bytes().starts_with(b"application/octet-stream");
        let binary = content_type.is_some_and(octets);
        let permit = request.gateway().limits.body(request.origin());
        Post { binary, permit, body: request.http.into_body() }
    }
}

/// Answers a polling POST. Like Node's server, it takes one at a time: another one, or one that
/// does not arrive, ends the session, because what it carried is lost.
pub async fn post(post: Post, session: &Arc<Session>) -> EngineResponse {
    if !session.outbox.takes_posts() {
        return not_polling(session);
    }
    let Some(in_progress) = PostInProgress::begin(session) else {
        return error(EngineError::BadRequest);
    };
    let Post { binary, mut permit, body } = post;
    let bounds = body_bounds(session.gateway());
    let body = match bounds.read(body, &mut permit).await {
        Ok(body) => body,
        Err(problem) => return in_progress.refuse(problem, &bounds),
    };
    let response = take_packets(session, &body, binary).await;
    in_progress.complete();
    response
}

/// Passes the packets of a POST on.
async fn take_packets(session: &Arc<Session>, body: &[u8], binary: bool) -> EngineResponse {
    let packets = match packets::decode(body, session.outbox.revision(), binary) {
        Ok(packets) => packets,
        Err(problem) => {
            session.gateway().refused(Rejected::BadPacket, session.log_subject(), &problem);
            session.outbox.close(Disconnected::TransportError, Ending::Finish);
            return error(EngineError::BadRequest);
        }
    };
    match session.outbox.feed(packets).await {
        Ok(()) => {
            let mut response = Response::new(Full::new(Bytes::from_static(b"ok")));
            // Node's response has this type; a browser must not take it for a page.
            let html = HeaderValue::from_static("text/html");
            response.headers_mut().insert(header::CONTENT_TYPE, html);
            response
        }
        Err(_) => not_polling(session),
    }
}

fn body_bounds(gateway: &Gateway) -> BodyBounds {
    let limits = gateway.limits.config();
    BodyBounds {
        max: gateway.config.socketio.max_payload.bytes(),
        idle: limits.body_idle.0,
        rate: limits.body_rate.0,
    }
}

/// The POST that a session takes. Dropping it before it is complete, as hyper does where the
/// connection breaks, ends the session.
struct PostInProgress<'a> {
    session: &'a Session,
    is_complete: bool,
}

impl<'a> PostInProgress<'a> {
    /// Begins a POST. `None` while there is another one; the session ends then.
    fn begin(session: &'a Session) -> Option<Self> {
        if session.posting.swap(true, Ordering::AcqRel) {
            let problem = "a POST overlaps another one of the session";
            session.gateway().refused(Rejected::BadPacket, session.log_subject(), &problem);
            session.outbox.close(Disconnected::TransportError, Ending::Abort);
            return None;
        }
        Some(PostInProgress { session, is_complete: false })
    }

    fn complete(mut self) {
        self.is_complete = true;
    }

    /// Answers a POST whose body was not read. The session goes on where the client knows the
    /// cause from the answer.
    fn refuse(mut self, problem: BodyError, bounds: &BodyBounds) -> EngineResponse {
        let (gateway, subject) = (self.session.gateway(), self.session.log_subject());
        match problem {
            BodyError::TooLarge => {
                self.is_complete = true;
                let problem = "a request is larger than socketio.maxPayload";
                gateway.refused(Rejected::Payload, subject, &problem);
                let max = bounds.max;
                let body = format!("a request may have {max} bytes (socketio.maxPayload)\n");
                last(text(StatusCode::PAYLOAD_TOO_LARGE, body))
            }
            BodyError::Limit(limit) => {
                self.is_complete = true;
                gateway.refused(limit.reason, subject, &limit.explanation);
                last(limit_reached(&limit, &gateway.config))
            }
            BodyError::TooSlow => {
                self.is_complete = true;
                let problem = "the body of a POST is slower than limits.bodyIdle and \
                               limits.bodyRate allow";
                gateway.refused(Rejected::BodyTimeout, subject, &problem);
                self.session.outbox.close(Disconnected::TransportError, Ending::Finish);
                last(text(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time\n"))
            }
            BodyError::Incomplete => error(EngineError::BadRequest),
        }
    }
}

impl Drop for PostInProgress<'_> {
    fn drop(&mut self) {
        self.session.posting.store(false, Ordering::Release);
        if !self.is_complete {
            let problem = "the connection broke before a POST was complete";
            let subject = self.session.log_subject();
            self.session.gateway().refused(Rejected::BadPacket, subject, &problem);
            self.session.outbox.close(Disconnected::TransportError, Ending::Finish);
        }
    }
}

/// The last response of a connection: what is left of the body is not read.
fn last(mut response: EngineResponse) -> EngineResponse {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
