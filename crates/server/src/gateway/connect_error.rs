//! CONNECT_ERROR packets. socketioxide can only send an error message, so a refusal crosses it as
//! JSON in that message and is rewritten for the client's protocol revision on the way out.

use crate::backend::ReplyError;
use rookery_policy::Refusal;
use rookery_protocol::encoded::Encoded;
use rookery_protocol::json::parse_plain_json;
use rookery_protocol::packet::PacketHead;
use rookery_protocol::{Data, Revision, packet};

/// Why a namespace refuses a client. Its text is the message of socketioxide's error: JSON that
/// [`rewrite`] reads back.
#[derive(Debug)]
pub enum ConnectRefusal {
    /// The server refuses it.
    Server(Refusal),
    /// The application's backend does.
    Backend(ReplyError),
}

impl From<Refusal> for ConnectRefusal {
    fn from(refusal: Refusal) -> Self {
        ConnectRefusal::Server(refusal)
    }
}

impl std::fmt::Display for ConnectRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let mut fields = Vec::new();
        match self {
            ConnectRefusal::Server(Refusal { code, message }) => {
                let data = [(CODE, code.as_str()), (MESSAGE, message)];
                let data = data.map(|(name, value)| (name.into(), Data::from(value)));
                fields.push((MESSAGE.into(), Data::from(message.as_str())));
                fields.push((DATA.into(), Data::Object(data.into())));
            }
            ConnectRefusal::Backend(ReplyError { message, data }) => {
                fields.push((MESSAGE.into(), Data::from(message.as_str())));
                fields.extend(data.clone().map(|data| (DATA.into(), data)));
            }
        }
        // Binary values, which the packet cannot hold, stay objects with base64.
        let json = serde_json::to_string(&Data::Object(fields));
        f.write_str(&json.map_err(|_| std::fmt::Error)?)
    }
}

const CODE: &str = "code";
const MESSAGE: &str = "message";
const DATA: &str = "data";

/// Rewrites a CONNECT_ERROR of socketioxide, without Engine.IO's type. The payload is
/// `{message, data}` in Engine.IO revision 4 and the bare data, or without any the message, in
/// revision 3 (Socket.IO protocol, revisions 5 and 4). `data` is `{code, message}` where the server
/// refuses the client, and whatever the backend says where that does.
pub fn rewrite(packet: &[u8], revision: Revision) -> Encoded {
    let text = String::from_utf8_lossy(packet);
    let head = PacketHead::parse(&text);
    let (namespace, json) = head.map_or(("/", ""), |head| (head.namespace, head.payload));
    let message = |json: &str| -> Option<String> {
        let error: serde_json::Value = serde_json::from_str(json).ok()?;
        Some(error.get(MESSAGE)?.as_str()?.to_owned())
    };
    encode_message(namespace, message(json).unwrap_or_default(), revision)
}

/// A CONNECT_ERROR that the engine has no part in, as [`rewrite`] makes it.
pub fn encode(namespace: &str, refusal: ConnectRefusal, revision: Revision) -> Encoded {
    encode_message(namespace, refusal.to_string(), revision)
}

fn encode_message(namespace: &str, engine_message: String, revision: Revision) -> Encoded {
    let refusal = parse_plain_json(engine_message.as_bytes()).ok();
    let payload = match (refusal.filter(|r| r.get(MESSAGE).is_some()), revision) {
        (Some(refusal), Revision::V4) => refusal,
        (Some(refusal), Revision::V3) => {
            let bare = refusal.get(DATA).or_else(|| refusal.get(MESSAGE));
            bare.cloned().unwrap_or(Data::Null)
        }
        (None, Revision::V3) => Data::from(engine_message),
        (None, Revision::V4) => Data::Object(vec![(MESSAGE.into(), Data::from(engine_message))]),
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
        let inner = ConnectRefusal::from(Refusal::new(Code::TokenExpired, "over")).to_string();
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
    fn a_refusal_of_the_backend_has_the_data_that_it_gave() {
        let error = |data: Option<&str>| {
            let data =
                data.map(|json| rookery_protocol::json::parse_json(json.as_bytes()).unwrap());
            let refusal = ConnectRefusal::Backend(ReplyError { message: "no".to_owned(), data });
            let engine = format!("4{}", serde_json::json!({ "message": refusal.to_string() }));
            [Revision::V4, Revision::V3].map(|revision| rewritten(&engine, revision))
        };
        assert_eq!(
            error(Some(r#"{"z":1,"a":{"$binary":"AQI="}}"#)),
            [
                r#"44{"message":"no","data":{"z":1,"a":{"$binary":"AQI="}}}"#,
                r#"44{"z":1,"a":{"$binary":"AQI="}}"#,
            ]
        );
        assert_eq!(error(None), [r#"44{"message":"no"}"#, r#"44"no""#]);
    }

    #[test]
    fn errors_of_the_engine_keep_their_message() {
        let engine = r#"4/x,{"message":"Invalid namespace"}"#;
        assert_eq!(rewritten(engine, Revision::V4), format!("4{engine}"));
        assert_eq!(rewritten(engine, Revision::V3), r#"44/x,"Invalid namespace""#);
    }
}
