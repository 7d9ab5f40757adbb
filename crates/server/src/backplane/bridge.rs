//! The bridge: plain JSON on a Redis channel becomes a publication, without a library on the
//! publisher's side.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::message::{Publication, Source};
use rookery_config::BridgeRule;
use rookery_policy::{ArgTemplate, Template, TemplateError, TextTemplate};
use rookery_protocol::Data;
use rookery_protocol::json::parse_json;
use rookery_protocol::packet::check_args;
use rookery_protocol::{RESERVED_EVENTS, Room};
use smallvec::{SmallVec, smallvec};

/// What a message says: room, event and arguments; or why it cannot be used, as a sentence.
pub type Routed = Result<(Room, String, Vec<Data>), String>;

/// One entry of `redis.bridge`, with its templates compiled. Cloning is shallow.
#[derive(Clone)]
pub struct CompiledBridge {
    /// The Redis channel.
    pub channel: String,
    /// The namespace it is published in.
    pub namespace: Arc<str>,
    /// Makes room, event and arguments of a message.
    pub route: Arc<dyn Fn(Data) -> Routed + Send + Sync>,
}

impl fmt::Debug for CompiledBridge {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("CompiledBridge")
            .field("channel", &self.channel)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl CompiledBridge {
    /// Compiles an entry of `redis.bridge`.
    ///
    /// # Errors
    /// A template that cannot be parsed.
    pub fn compile(rule: &BridgeRule) -> Result<Self, TemplateError> {
        let room = Template::parse(&rule.room)?;
        let event = TextTemplate::parse(&rule.event)?;
        let args: Vec<_> =
            rule.args.iter().map(|arg| ArgTemplate::parse(arg)).collect::<Result<_, _>>()?;
        let route = move |message: Data| {
            let room = room.room(&message).map_err(|refusal| refusal.message)?;
            let event = event.text(&message).map_err(|refusal| refusal.message)?;
            Ok((room, event, args.iter().map(|arg| arg.value(&message)).collect()))
        };
        Ok(CompiledBridge {
            channel: rule.channel.clone(),
            namespace: rule.namespace.as_str().into(),
            route: Arc::new(route),
        })
    }

    /// The publication that a message is. Every pod makes it for itself, so its time of
    /// acceptance is `received`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the message.
    pub fn publication(
        &self,
        message: &[u8],
        id: Arc<str>,
        received: Instant,
    ) -> Result<Publication, String> {
        let message = parse_json(message).map_err(|e| format!("no JSON: {e}"))?;
        let (room, event, args) = (self.route)(message)?;
        if RESERVED_EVENTS.contains(&event.as_str()) {
            return Err(format!("`{event}` is an event that Socket.IO keeps for itself"));
        }
        check_args(&args).map_err(|error| error.to_string())?;
        Ok(Publication {
            id: id.into(),
            namespace: self.namespace.clone(),
            rooms: smallvec![room],
            except: SmallVec::new(),
            event,
            args: args.into(),
            volatile: false,
            compress: true,
            source: Source::Bridge,
            address: None,
            accepted: received,
            traceparent: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn bridge() -> CompiledBridge {
        CompiledBridge {
            channel: "c".into(),
            namespace: "/n".into(),
            route: Arc::new(|data| {
                let text = |key| data.get(key).and_then(Data::as_str).ok_or(format!("no {key}"));
                let payload = data.get("payload").cloned();
                Ok((text("room")?.into(), text("event")?.into(), payload.into_iter().collect()))
            }),
        }
    }

    #[test]
    fn a_message_becomes_a_publication() {
        let now = Instant::now();
        let json = br#"{"room": "r", "event": "e", "payload": {"$binary": "AQ=="}}"#;
        let publication = bridge().publication(json, "id".into(), now).unwrap();
        assert_eq!(publication.rooms[..], [Room::from("r")]);
        assert_eq!(publication.args[..], [Data::Binary(Bytes::from_static(&[1]))]);
        assert_eq!((publication.source, publication.accepted), (Source::Bridge, now));
        assert_eq!(&*publication.namespace, "/n");
    }

    #[test]
    fn an_unpaired_surrogate_is_replaced() {
        let json = br#"{"room": "r\ud83d", "event": "e", "payload": "\udc00"}"#;
        let publication = bridge().publication(json, "id".into(), Instant::now()).unwrap();
        assert_eq!(publication.rooms[..], [Room::from("r\u{fffd}")]);
        assert_eq!(publication.args[..], [Data::from("\u{fffd}")]);
    }

    #[test]
    fn a_bad_message_says_why() {
        for (bad, why) in [
            ("{", "no JSON"),
            (r#"{"event": "e"}"#, "no room"),
            (r#"{"room": "r", "event": "connect"}"#, "keeps for itself"),
        ] {
            let error = bridge().publication(bad.as_bytes(), "id".into(), Instant::now());
            assert!(error.unwrap_err().contains(why), "{bad}");
        }
    }
}
