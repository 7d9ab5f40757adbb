//! The query of an Engine.IO request, and the errors that answer a bad one. Pure.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use rookery_config::Transport;

/// The parameters of a request (Engine.IO protocol, "Handshake").
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Query<'a> {
    /// `EIO`: the revision.
    pub eio: Option<Cow<'a, str>>,
    /// `transport`.
    pub transport: Option<Cow<'a, str>>,
    /// `sid`: the session; absent in a handshake.
    pub sid: Option<Cow<'a, str>>,
    /// `b64`: the client takes no bytes on polling.
    pub base64: bool,
    /// `j`: the client wants JSONP.
    pub jsonp: bool,
}

impl<'a> Query<'a> {
    /// Reads a query. Of a repeated parameter the first counts.
    pub fn parse(query: &'a str) -> Self {
        let mut parsed = Query::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = || Some(percent_decode_str(value).decode_utf8_lossy());
            match name {
                "EIO" => parsed.eio = parsed.eio.take().or_else(value),
                "transport" => parsed.transport = parsed.transport.take().or_else(value),
                "sid" => parsed.sid = parsed.sid.take().or_else(value),
                "b64" => parsed.base64 = value().is_some_and(|v| v == "1" || v == "true"),
                "j" => parsed.jsonp = true,
                _ => {}
            }
        }
        parsed
    }

    /// The transport that it names.
    pub fn transport(&self) -> Option<Transport> {
        match self.transport.as_deref() {
            Some("polling") => Some(Transport::Polling),
            Some("websocket") => Some(Transport::Websocket),
            _ => None,
        }
    }
}

/// The value of a parameter of a query, decoded.
pub fn parameter(query: &str, name: &str) -> Option<String> {
    let plus = |value: &str| value.replace('+', " ");
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| percent_decode_str(key).decode_utf8_lossy() == name)
        .map(|(_, value)| percent_decode_str(&plus(value)).decode_utf8_lossy().into_owned())
}

/// Engine.IO's error codes, as Node's server numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineError {
    /// 0: none of the transports that are allowed.
    UnknownTransport,
    /// 1: no such session on this instance.
    UnknownSid,
    /// 2: a handshake by another method than GET.
    BadHandshakeMethod,
    /// 3: anything else that cannot be served.
    BadRequest,
    /// 4: this origin may not connect.
    Forbidden,
    /// 5: a revision that is not spoken here.
    UnsupportedVersion,
}

impl EngineError {
    /// The number in the body.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The sentence in the body.
    pub fn message(self) -> &'static str {
        match self {
            EngineError::UnknownTransport => "Transport unknown",
            EngineError::UnknownSid => "Session ID unknown",
            EngineError::BadHandshakeMethod => "Bad handshake method",
            EngineError::BadRequest => "Bad request",
            EngineError::Forbidden => "Forbidden",
            EngineError::UnsupportedVersion => "Unsupported protocol version",
        }
    }

    /// What to do about it, where that is not plain.
    pub fn hint(self) -> Option<&'static str> {
        (self == EngineError::UnknownSid).then_some(
            "The session ended, or belongs to another instance. With several instances, requests \
             of a polling client must reach the same one: the ingress needs a sticky cookie, and \
             cross-origin clients need cors.origins named, cors.credentials: true and \
             withCredentials: true.",
        )
    }

    /// The JSON body.
    pub fn body(self) -> String {
        let mut body = serde_json::json!({ "code": self.code(), "message": self.message() });
        if let Some(hint) = self.hint() {
            body["hint"] = hint.into();
        }
        body.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read() {
        let query = Query::parse("EIO=4&transport=websocket&t=x&sid=a%2Fb&EIO=3");
        assert_eq!(query.eio.as_deref(), Some("4"));
        assert_eq!(query.sid.as_deref(), Some("a/b"));
        assert_eq!(query.transport(), Some(Transport::Websocket));
        assert_eq!(Query::parse("").transport(), None);
        assert_eq!(parameter("a=1&token=x%2By+z", "token").as_deref(), Some("x+y z"));
    }

    #[test]
    fn codes_are_nodes() {
        assert_eq!(
            EngineError::UnknownTransport.body(),
            r#"{"code":0,"message":"Transport unknown"}"#
        );
        assert_eq!(EngineError::UnsupportedVersion.code(), 5);
        assert!(EngineError::UnknownSid.body().contains("withCredentials"));
    }
}
