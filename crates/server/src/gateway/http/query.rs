//! The query of an Engine.IO request. Pure.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use rookery_config::Transport;
use rookery_protocol::Revision;

/// The parameters of a request (Engine.IO protocol, "Handshake").
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Query<'a> {
    /// `EIO`: the protocol revision, as the client sent it.
    pub eio: Option<Cow<'a, str>>,
    /// `transport`: the transport's name, as the client sent it.
    pub transport: Option<Cow<'a, str>>,
    /// `sid`: the session's id; absent in a handshake.
    pub sid: Option<Cow<'a, str>>,
    /// `b64`, with any value: the client cannot receive binary data.
    pub base64: bool,
    /// `j`: the client asks for JSONP.
    pub jsonp: bool,
}

impl<'a> Query<'a> {
    /// Parses a query. Of a repeated parameter the first counts.
    pub fn parse(query: &'a str) -> Self {
        let mut parsed = Query::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = || Some(percent_decode_str(value).decode_utf8_lossy());
            match name {
                "EIO" => parsed.eio = parsed.eio.take().or_else(value),
                "transport" => parsed.transport = parsed.transport.take().or_else(value),
                // Node's server takes an empty one for none.
                "sid" => {
                    let sid = || value().filter(|sid| !sid.is_empty());
                    parsed.sid = parsed.sid.take().or_else(sid);
                }
                "b64" => parsed.base64 |= value().is_some_and(|v| !v.is_empty()),
                "j" => parsed.jsonp = true,
                _ => {}
            }
        }
        parsed
    }

    /// The protocol revision that the client speaks: without `EIO=4` it is 3, whose first clients
    /// did not name it, as in Node's server.
    pub fn revision(&self) -> Revision {
        match self.eio.as_deref() {
            Some("4") => Revision::V4,
            _ => Revision::V3,
        }
    }

    /// The transport that the query names; `None` for an unknown one.
    pub fn transport(&self) -> Option<Transport> {
        match self.transport.as_deref() {
            Some("polling") => Some(Transport::Polling),
            Some("websocket") => Some(Transport::Websocket),
            _ => None,
        }
    }
}

/// The decoded value of a parameter of a query.
pub fn parameter(query: &str, name: &str) -> Option<String> {
    let plus = |value: &str| value.replace('+', " ");
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| percent_decode_str(key).decode_utf8_lossy() == name)
        .map(|(_, value)| percent_decode_str(&plus(value)).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_repeated_parameter_counts() {
        let query = Query::parse("EIO=4&transport=websocket&t=x&sid=a%2Fb&EIO=3");
        assert_eq!(query.eio.as_deref(), Some("4"));
        assert_eq!(query.sid.as_deref(), Some("a/b"));
        assert_eq!(query.transport(), Some(Transport::Websocket));
        assert_eq!(Query::parse("").transport(), None);
        assert_eq!((Query::parse("sid=").sid, Query::parse("sid").sid), (None, None));
        assert!(Query::parse("b64=1").base64 && Query::parse("b64=true").base64);
        assert!(!Query::parse("b64=").base64 && !Query::parse("b64").base64);
        assert_eq!(query.revision(), Revision::V4);
        for other in ["", "EIO=", "EIO=3", "EIO=2", "EIO=5", "EIO=x", "EIO=04"] {
            assert_eq!(Query::parse(other).revision(), Revision::V3, "{other}");
        }
        assert_eq!(parameter("a=1&token=x%2By+z", "token").as_deref(), Some("x+y z"));
    }
}
