//! The handshake: a new session, and the open packet that tells the client about it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, Uri};
use http_body_util::Full;

use super::Gateway;
use super::http::{Answer, Call};
use super::limits::Slot;
use super::query::parameter;
use super::session::{Credentials, Session, client_address};
use rookery_config::Transport;
use rookery_protocol::Revision;
use rookery_protocol::encoded::Part;
use rookery_protocol::payload::Form;

/// Opens a session that starts with polling; the answer is its open packet.
pub fn polling(call: &Call, revision: Revision, base64: bool, slot: Slot) -> Answer {
    let gateway = &call.gateway;
    let credentials = credentials(gateway, call.request.headers(), call.request.uri());
    let session =
        Session::open(gateway, call.shard, revision, Transport::Polling, credentials, slot);
    let open = open_packet(gateway, &session, Transport::Polling);
    call.engine.start(&session);
    let form = Form::of(revision, base64, false);
    let mut body = Vec::new();
    form.put(&mut body, Part::Text(open.as_bytes()));
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// The open packet (Engine.IO protocol, "Handshake"); times in milliseconds.
pub fn open_packet(gateway: &Gateway, session: &Session, transport: Transport) -> String {
    let config = &gateway.config.socketio;
    let upgrade =
        transport == Transport::Polling && config.transports.contains(&Transport::Websocket);
    let upgrades: &[&str] = if upgrade { &["websocket"] } else { &[] };
    let open = serde_json::json!({
        "sid": session.sid,
        "upgrades": upgrades,
        "pingInterval": u64::try_from(config.ping_interval.0.as_millis()).unwrap_or(u64::MAX),
        "pingTimeout": u64::try_from(config.ping_timeout.0.as_millis()).unwrap_or(u64::MAX),
        "maxPayload": config.max_payload.0,
    });
    format!("0{open}")
}

/// What a request brings for authentication, where it brings something.
pub fn credentials(gateway: &Gateway, headers: &HeaderMap, uri: &Uri) -> Option<Box<Credentials>> {
    let header = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let bearer = header.and_then(|v| v.split_once(' '));
    let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let name = gateway.config.auth.query_param.as_deref();
    let header = bearer.map(|(_, token)| token.trim().to_owned());
    let query = name.and_then(|name| parameter(uri.query().unwrap_or_default(), name));
    let some = header.is_some() || query.is_some();
    some.then(|| Box::new(Credentials { header, query }))
}

/// The client's address, behind trusted proxies.
pub fn address(gateway: &Arc<Gateway>, peer: &SocketAddr, headers: &HeaderMap) -> IpAddr {
    let forwarded: Vec<_> =
        headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok()).collect();
    let forwarded = (!forwarded.is_empty()).then(|| forwarded.join(","));
    client_address(peer.ip().to_canonical(), forwarded.as_deref(), &gateway.config.trusted_proxies)
}
