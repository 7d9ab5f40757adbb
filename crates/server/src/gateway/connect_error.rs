//! CONNECT_ERROR packets. socketioxide can only send an error message, so a refusal crosses it as
//! JSON in that message and is rewritten for the client's protocol revision on the way out.

use rookery_policy::Refusal;
use rookery_protocol::encoded::Encoded;
use rookery_protocol::packet::PacketHead;
use rookery_protocol::{Data, Revision, packet};

/// A refusal as the message of socketioxide's error: JSON that [`rewrite`] reads back.
pub struct RefusalMessage(pub Refusal);

impl std::fmt::Display for RefusalMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Refusal { code, message } = &self.0;
        write!(f, "{}", serde_json::json!({ "code": code.as_str(), "message": message }))
    }
}

/// Rewrites a CONNECT_ERROR of socketioxide, without Engine.IO's type. The payload is
/// `{message, data: {code, message}}` in Engine.IO revision 4 and the bare data in revision 3
/// (Socket.IO protocol, revisions 5 and 4).
pub fn rewrite(packet: &[u8], revision: Revision) -> Encoded {
    let text = String::from_utf8_lossy(packet);
    let head = PacketHead::parse(&text);
    let (namespace, json) = head.map_or(("/", ""), |head| (head.namespace, head.payload));
    let message = |json: &str| -> Option<String> {
        let error: serde_json::Value = serde_json::from_str(json).ok()?;
        Some(error.get("message")?.as_str()?.to_owned())
    };
    let engine_message = message(json).unwrap_or_default();
    let field = |key: &str| -> Option<Data> {
        let refusal: serde_json::Value = serde_json::from_str(&engine_message).ok()?;
        Some(Data::from(refusal.get(key)?.as_str()?))
    };
    let payload = match (field("code"), field("message"), revision) {
        (Some(code), Some(message), revision) => {
            let data =
                Data::Object(vec![("code".into(), code), ("message".into(), message.clone())]);
            match revision {
                Revision::V3 => data,
                Revision::V4 => {
                    Data::Object(vec![("message".into(), message), ("data".into(), data)])
                }
            }
        }
        (_, _, Revision::V3) => Data::from(engine_message),
        (_, _, Revision::V4) => Data::Object(vec![("message".into(), Data::from(engine_message))]),
    };
    Encoded::message(&packet::encode_connect_error(namespace, &payload), Vec::new())
}

#[cfg(test)]
mod tests {
    use rookery_policy::Code;

    use super::*;

    fn rewritten(engine: &str, revision: Revision) -> String {
        let packet = rewrite(engine.as_bytes(), revision);
        String::from_utf8(packet.text().to_vec()).unwrap()
    }

    #[test]
    fn a_refusal_keeps_its_code_in_both_revisions() {
        let inner = RefusalMessage(Refusal::new(Code::TokenExpired, "over")).to_string();
        let engine = format!("4/chat,{}", serde_json::json!({ "message": inner }));
        assert_eq!(
            rewritten(&engine, Revision::V4),
            r#"44/chat,{"message":"over","data":{"code":"token_expired","message":"over"}}"#
        );
        assert_eq!(
            rewritten(&engine, Revision::V3),
            r#"44/chat,{"code":"token_expired","message":"over"}"#
        );
    }

    #[test]
    fn errors_of_the_engine_keep_their_message() {
        let engine = r#"4/x,{"message":"Invalid namespace"}"#;
        assert_eq!(rewritten(engine, Revision::V4), format!("4{engine}"));
        assert_eq!(rewritten(engine, Revision::V3), r#"44/x,"Invalid namespace""#);
    }
}
