//! [`Request`]: what the backend is sent. Pure.

use bytes::Bytes;
use rookery_policy::Params;
use rookery_protocol::Data;
use serde::Serialize;
use serde_json::{Map, Value};

/// The body of a request. Binary values of clients are `{"$binary": "<base64>"}`, at any depth.
#[derive(Debug, Serialize)]
pub struct Request<'a> {
    /// What happened.
    #[serde(rename = "type")]
    pub kind: RequestKind,
    /// The namespace that the client is in, or asks for.
    pub namespace: &'a str,
    /// What the pattern of the namespace captured from its name; absent for one that is named in the
    /// configuration.
    #[serde(skip_serializing_if = "Params::is_empty")]
    pub params: &'a Params,
    /// The client's public id, which is its `socket.id`.
    pub id: &'a str,
    /// The user that the client's token names.
    pub user: Option<&'a str>,
    /// The claims of the client's token; empty without one.
    pub claims: &'a Map<String, Value>,
    /// What belongs to the kind of request.
    #[serde(flatten)]
    pub content: Content<'a>,
}

/// What a request tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestKind {
    /// A client asks for a namespace.
    Connect,
    /// A client has sent an event.
    Event,
    /// A client is gone.
    Disconnect,
    /// Nothing: somebody tries whether the backend answers.
    Check,
}

/// The fields of one kind of request.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Content<'a> {
    /// Of a connect.
    Connect {
        /// The auth payload; absent where the client sent none.
        #[serde(skip_serializing_if = "Option::is_none")]
        auth: Option<&'a Data>,
    },
    /// Of an event.
    Event {
        /// The event's name.
        event: &'a str,
        /// The arguments after the name.
        args: &'a [Data],
        /// Whether the client waits for an acknowledgement.
        ack: bool,
    },
    /// Of a disconnect.
    Disconnect {
        /// Why the client is gone, as in `rookery_disconnects_total`.
        reason: &'a str,
    },
    /// Of a check.
    Check {},
}

impl Request<'_> {
    /// The request as JSON.
    pub fn to_json(&self) -> Bytes {
        serde_json::to_vec(self).expect("its keys are text, and writing to memory works").into()
    }
}

/// The request that tells events of rooms, each of which is JSON.
pub fn rooms_request<'a>(events: impl Iterator<Item = &'a [u8]>) -> Bytes {
    let mut body = br#"{"type":"rooms","events":["#.to_vec();
    for (at, event) in events.enumerate() {
        if at > 0 {
            body.push(b',');
        }
        body.extend_from_slice(event);
    }
    body.extend_from_slice(b"]}");
    body.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(kind: RequestKind, content: Content<'_>) -> Value {
        let claims = json!({ "sub": "ann", "roles": ["a"] });
        let request = Request {
            kind,
            namespace: "/chat",
            params: &Params::default(),
            id: "podpodpoA23456789012",
            user: Some("ann"),
            claims: claims.as_object().unwrap(),
            content,
        };
        serde_json::from_slice(&request.to_json()).unwrap()
    }

    #[test]
    fn what_the_pattern_of_the_namespace_captured_is_beside_its_name() {
        let namespaces = rookery_policy::Namespaces::compile(&["/{org}/{tenant}"]).unwrap();
        let namespace = namespaces.get("/acme/7").unwrap();
        let request = Request {
            kind: RequestKind::Check,
            namespace: namespace.name(),
            params: namespace.params(),
            id: "",
            user: None,
            claims: &Map::new(),
            content: Content::Check {},
        };
        let written: Value = serde_json::from_slice(&request.to_json()).unwrap();
        assert_eq!(written["namespace"], "/acme/7");
        assert_eq!(written["params"], json!({ "org": "acme", "tenant": "7" }));
    }

    fn with(fields: Value) -> Value {
        let mut all = json!({
            "namespace": "/chat", "id": "podpodpoA23456789012", "user": "ann",
            "claims": { "sub": "ann", "roles": ["a"] },
        });
        let fields = fields.as_object().unwrap().clone();
        all.as_object_mut().unwrap().extend(fields);
        all
    }

    #[test]
    fn each_kind_of_request_has_its_fields() {
        let auth = Data::Object(vec![("room".into(), "lobby".into())]);
        assert_eq!(
            written(RequestKind::Connect, Content::Connect { auth: Some(&auth) }),
            with(json!({ "type": "connect", "auth": { "room": "lobby" } }))
        );
        assert_eq!(
            written(RequestKind::Connect, Content::Connect { auth: None }),
            with(json!({ "type": "connect" }))
        );
        let args = [Data::Null, Data::Array(vec![Data::Binary(Bytes::from_static(b"\x01\x02"))])];
        assert_eq!(
            written(RequestKind::Event, Content::Event { event: "say", args: &args, ack: true }),
            with(json!({
                "type": "event", "event": "say", "args": [null, [{ "$binary": "AQI=" }]], "ack": true,
            }))
        );
        assert_eq!(
            written(RequestKind::Disconnect, Content::Disconnect { reason: "client" }),
            with(json!({ "type": "disconnect", "reason": "client" }))
        );
        let rooms = rooms_request([&br#"{"id":"a"}"#[..], br#"{"id":"b"}"#].into_iter());
        let rooms: Value = serde_json::from_slice(&rooms).unwrap();
        assert_eq!(rooms, json!({ "type": "rooms", "events": [{ "id": "a" }, { "id": "b" }] }));
        assert_eq!(
            written(RequestKind::Check, Content::Check {}),
            with(json!({ "type": "check" }))
        );
    }
}
