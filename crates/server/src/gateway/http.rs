//! The Engine.IO endpoint: routes the clients' HTTP requests and refuses invalid ones.

pub(super) mod body;
mod cors;
mod engine_error;
mod handshake;
mod polling;
pub(super) mod query;
mod request;
mod response;
mod upgrade;

use std::sync::Arc;
use std::time::Instant;

use http::header::{self, HeaderMap};
use http::{Method, StatusCode};

use super::drain_state::DrainPhase;
use super::forwarded::Source;
use super::log_throttles::LogSubject;
use super::session::Session;
use crate::telemetry::metrics::Rejected;
use cors::PageOrigin;
use engine_error::EngineError;
use polling::Post;
use query::Query;
pub use request::EngineRequest;
pub use response::{EngineResponse, expired_cookies};
use response::{draining, health, limit_reached, rebalancing, text};
use rookery_config::Transport;
use rookery_protocol::Revision;
pub use upgrade::PendingUpgrade;

/// Why a request is refused.
const NOT_OF_TRANSPORT: &str = "the method or the Upgrade header does not fit the transport";

/// Answers a request of the clients' listener. Where the answer is a 101, the connection's upgrade
/// is put into `pending`. While a poll or a body is waited for, nothing of the request's head is
/// kept.
pub async fn serve(request: EngineRequest, pending: &PendingUpgrade) -> EngineResponse {
    let behind_proxy = request.origin().source != Source::Peer;
    let page = PageOrigin::of(&request.gateway().config, request.headers(), behind_proxy);
    let mut response = match route(request, &page, pending) {
        Route::Answered(response) => return response,
        Route::Ready(response) => response,
        Route::Get { session, base64 } => polling::get(&session, base64).await,
        Route::Post { post, session } => polling::post(post, &session).await,
    };
    page.allow(response.headers_mut());
    response
}

/// What is to be done for a request.
enum Route {
    /// Nothing more: this is the response, which no page of another origin reads.
    Answered(EngineResponse),
    /// Nothing more: this is the response.
    Ready(EngineResponse),
    /// A polling GET of a session.
    Get { session: Arc<Session>, base64: bool },
    /// A polling POST of a session.
    Post { post: Post, session: Arc<Session> },
}

fn route(request: EngineRequest, page: &PageOrigin, pending: &PendingUpgrade) -> Route {
    let gateway = request.gateway().clone();
    let config = &gateway.config.socketio;
    let uri = request.http.uri().clone();
    if !is_endpoint(uri.path(), &config.path) {
        if gateway.config.health_path.as_deref() == Some(uri.path()) {
            return Route::Answered(health(request.http.method(), &gateway.readiness));
        }
        let body = format!("Socket.IO answers at {}/\n", config.path);
        return Route::Answered(text(StatusCode::NOT_FOUND, body));
    }
    if request.http.method() == Method::OPTIONS {
        return Route::Ready(cors::preflight(request.headers()));
    }
    if *page != PageOrigin::Refused {
        return dispatch(request, &Query::parse(uri.query().unwrap_or_default()), pending);
    }
    let problem = "the page's origin is not the server's own (Host), and not in \
                   socketio.cors.origins";
    Route::Ready(request.refuse(EngineError::Forbidden, problem))
}

/// The checks and their order are those of Node's server.
fn dispatch(request: EngineRequest, query: &Query<'_>, pending: &PendingUpgrade) -> Route {
    let transports = &request.gateway().config.socketio.transports;
    let transport = query.transport().filter(|t| transports.contains(t) && !query.jsonp);
    let Some(transport) = transport else {
        let problem = "the transport is none, or not in socketio.transports";
        return Route::Ready(request.refuse(EngineError::UnknownTransport, problem));
    };
    let upgrade = is_upgrade(request.headers());
    let Some(sid) = &query.sid else {
        return Route::Ready(if request.http.method() != Method::GET {
            let problem = "a request without a session has another method than GET";
            request.refuse(EngineError::BadHandshakeMethod, problem)
        } else if (transport == Transport::Websocket) != upgrade {
            request.refuse(EngineError::BadRequest, NOT_OF_TRANSPORT)
        } else {
            open(request, query, transport, pending)
        });
    };
    let Some(session) = request.engine.sessions().get(sid) else {
        let problem = "the session ended, or belongs to another instance";
        return Route::Ready(request.refuse(EngineError::UnknownSid, problem));
    };
    if session.outbox.revision() != query.revision() {
        let problem = "a request has another EIO than its session";
        return Route::Ready(request.refuse(EngineError::BadRequest, problem));
    }
    match (transport, request.http.method()) {
        (Transport::Websocket, &Method::GET) if upgrade => {
            Route::Ready(upgrade::upgrade_session(request, session, query.base64, pending))
        }
        (Transport::Polling, &Method::GET) => Route::Get { session, base64: query.base64 },
        (Transport::Polling, &Method::POST) => Route::Post { post: Post::of(request), session },
        _ => Route::Ready(request.refuse(EngineError::BadRequest, NOT_OF_TRANSPORT)),
    }
}

/// Answers a handshake.
fn open(
    request: EngineRequest,
    query: &Query<'_>,
    transport: Transport,
    pending: &PendingUpgrade,
) -> EngineResponse {
    let gateway = request.gateway();
    let revision = query.revision();
    if revision == Revision::V3 && !gateway.config.socketio.eio3 {
        let problem = "the client speaks revision 3 (socketio.eio3 is off)";
        return request.refuse(EngineError::UnsupportedVersion, problem);
    }
    let origin = request.origin();
    request.record_unreadable(origin);
    let subject = LogSubject::address(origin.address);
    if gateway.drain.phase() == DrainPhase::Window {
        gateway.refused(Rejected::Draining, subject, &"this instance is draining");
        return draining(&gateway.config);
    }
    let has_cookie = request.has_sticky_cookie();
    if gateway.rebalance.sends_elsewhere(has_cookie, Instant::now()) {
        let explanation = "this instance has more sessions than others and gives some away";
        gateway.refused(Rejected::Rebalancing, subject, &explanation);
        return rebalancing(&gateway.config);
    }
    let permit = match gateway.limits.acquire(origin) {
        Ok(permit) => permit,
        Err(limit) => {
            gateway.refused(limit.reason, subject, &limit.explanation);
            return limit_reached(&limit, &gateway.config);
        }
    };
    match transport {
        Transport::Polling => handshake::open_polling(&request, revision, query.base64, permit),
        Transport::Websocket => {
            upgrade::open_websocket(request, revision, query.base64, permit, pending)
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
