//! The handshake: a new session, and the open packet that describes it to the client.

use http::Uri;
use http::header::{self, HeaderMap};

use super::query::parameter;
use super::request::EngineRequest;
use super::response::{EngineResponse, payload};
use crate::auth::bearer_token;
use crate::connection::outbox::Accepted;
use crate::gateway::authenticator::Credentials;
use crate::gateway::limits::Permit;
use crate::gateway::session::{NewSession, Session};
use rookery_config::{Config, Transport};
use rookery_protocol::Revision;
use rookery_protocol::encoded::Part;
use rookery_protocol::payload::Form;

/// Opens a session that starts with polling and answers with its open packet.
pub fn open_polling(
    request: &EngineRequest,
    revision: Revision,
    base64: bool,
    permit: Permit,
) -> EngineResponse {
    // Each request says for itself what it takes, the one for a WebSocket too.
    let accepted = Accepted { binary: !base64, compressed: false };
    let new = new_session(request, revision, accepted, Transport::Polling, permit);
    let session = request.engine.sessions().open(new);
    let open = open_packet(&session, Transport::Polling);
    request.engine.start(&session);
    let form = Form::of(revision, base64, false);
    let mut body = Vec::new();
    form.put(&mut body, Part::Text(open.as_bytes()));
    payload(form, body)
}

/// What a session is opened with that a request asks for.
pub fn new_session(
    request: &EngineRequest,
    revision: Revision,
    accepted: Accepted,
    transport: Transport,
    permit: Permit,
) -> NewSession {
    let config = &request.gateway().config;
    let credentials = credentials(config, request.headers(), request.http.uri());
    NewSession { shard: request.shard, revision, accepted, transport, credentials, permit }
}

/// The open packet (Engine.IO protocol, "Handshake"); times in milliseconds.
pub fn open_packet(session: &Session, transport: Transport) -> String {
    let config = &session.gateway().config.socketio;
    let upgrade =
        transport == Transport::Polling && config.transports.contains(&Transport::Websocket);
    let upgrades = if upgrade { "[\"websocket\"]" } else { "[]" };
    // An id has letters, digits, `-` and `_` only.
    format!(
        r#"0{{"maxPayload":{},"pingInterval":{},"pingTimeout":{},"sid":"{}","upgrades":{upgrades}}}"#,
        config.max_payload.0,
        config.ping_interval.0.as_millis(),
        config.ping_timeout.0.as_millis(),
        session.ids.announced(),
    )
}

/// The tokens that a request carries; `None` where it carries none.
fn credentials(config: &Config, headers: &HeaderMap, uri: &Uri) -> Option<Box<Credentials>> {
    let header = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let header = header.and_then(bearer_token).map(str::to_owned);
    let name = config.auth.query_param.as_deref();
    let query = name.and_then(|name| parameter(uri.query().unwrap_or_default(), name));
    let some = header.is_some() || query.is_some();
    some.then(|| Box::new(Credentials { header, query }))
}
