//! The [`EngineError`]s that answer an invalid Engine.IO request. Pure.

/// Engine.IO's error codes, as Node's server numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineError {
    /// 0: the transport is unknown or not enabled.
    UnknownTransport,
    /// 1: this instance has no such session.
    UnknownSid,
    /// 2: a handshake with a method other than GET.
    BadHandshakeMethod,
    /// 3: any other invalid request.
    BadRequest,
    /// 4: the origin is not allowed to connect.
    Forbidden,
    /// 5: the protocol revision is not supported.
    UnsupportedVersion,
}

impl EngineError {
    /// The code in the JSON body.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The message in the JSON body.
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

    /// How to fix it, where the message does not say so.
    pub fn hint(self) -> Option<&'static str> {
        (self == EngineError::UnknownSid).then_some(
            "The session ended, or belongs to another instance. With several instances, requests \
             of a polling client must reach the same one: the ingress needs a sticky cookie, and \
             cross-origin clients need cors.origins named, cors.credentials: true and \
             withCredentials: true.",
        )
    }

    /// The JSON body of the response.
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
    fn codes_are_those_of_node() {
        assert_eq!(
            EngineError::UnknownTransport.body(),
            r#"{"code":0,"message":"Transport unknown"}"#
        );
        assert_eq!(EngineError::UnsupportedVersion.code(), 5);
        assert!(EngineError::UnknownSid.body().contains("withCredentials"));
    }
}
