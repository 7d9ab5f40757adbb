//! Polling: GET fetches what waits for the client, POST brings the client's packets.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};

use super::engine_error::EngineError;
use super::request::EngineRequest;
use super::response::{EngineResponse, error, payload, release_client, text};
use crate::connection::outbox::{Ending, NotPolling};
use crate::gateway::session::Session;
use crate::telemetry::metrics::{Disconnected, Rejected};
use rookery_protocol::payload as packets;

/// Answers a polling GET, once there is something to send. The wait ends with the session.
pub async fn get(session: &Arc<Session>, base64: bool) -> EngineResponse {
    match session.outbox.poll(base64).await {
        Ok(polled) => {
            let mut response = payload(polled.form, polled.body);
            if polled.last == Some(Disconnected::Drain) {
                release_client(&session.gateway().config, response.headers_mut());
            }
            response
        }
        Err(NotPolling::Elsewhere | NotPolling::Overlap) => error(EngineError::BadRequest),
    }
}

/// Answers a polling POST. The body must be complete within `limits.headerRead`.
pub async fn post(request: EngineRequest, session: &Arc<Session>) -> EngineResponse {
    if !session.outbox.takes_posts() {
        return error(EngineError::BadRequest);
    }
    let binary = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|v| v.as_bytes().starts_with(b"application/octet-stream"));
    let body = match read_body(request).await {
        Ok(body) => body,
        Err(ReadError::TooLarge { max }) => return too_large(session, max),
        Err(ReadError::Incomplete) => return error(EngineError::BadRequest),
    };
    let packets = match packets::decode(&body, session.outbox.revision(), binary) {
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
        Err(_) => error(EngineError::BadRequest),
    }
}

enum ReadError {
    /// The body is longer than `socketio.maxPayload`, which is `max` bytes.
    TooLarge { max: usize },
    /// The connection broke, or the body did not come in time.
    Incomplete,
}

async fn read_body(request: EngineRequest) -> Result<Bytes, ReadError> {
    let gateway = request.gateway();
    let max = gateway.config.socketio.max_payload.bytes();
    let deadline = gateway.limits.config().header_read.0;
    let body = Limited::new(request.http.into_body(), max).collect();
    match tokio::time::timeout(deadline, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ReadError::TooLarge { max }),
        Ok(Err(_)) | Err(_) => Err(ReadError::Incomplete),
    }
}

fn too_large(session: &Session, max: usize) -> EngineResponse {
    let problem = "a request is larger than socketio.maxPayload";
    session.gateway().refused(Rejected::Payload, session.log_subject(), &problem);
    let body = format!("a request may have {max} bytes (socketio.maxPayload)\n");
    let mut response = text(StatusCode::PAYLOAD_TOO_LARGE, body);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
