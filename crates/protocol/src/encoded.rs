//! [`Encoded`]: a packet in every form that its recipients need, encoded once and shared.

use std::sync::OnceLock;

use base64::Engine as _;
use bytes::{Buf as _, Bytes};

use crate::base64_engine::BASE64;
use crate::data::DataRef;
use crate::frames::{self, CloseCode, Deflate, MAX_HEAD, Opcode, compress_frames, put_frame};
use crate::packet::{Message, msgpack};
use crate::parser::Parser;
use crate::revision::Revision;

/// What text frames of Socket.IO packets are written behind: room for the frame's head, and
/// Engine.IO's packet type `message`.
const PREFIX: [u8; MAX_HEAD + 1] = *b"\0\0\0\0\0\0\0\0\0\x004";

/// Any form, for packets that are the same in all.
const TEXT_FORM: FrameForm =
    FrameForm { revision: Revision::V4, base64: false, parser: Parser::Json, deflate: None };

/// A part of a Socket.IO packet, which is a packet of Engine.IO: the text, or one attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A text packet, which begins with its Engine.IO type.
    Text(&'a [u8]),
    /// The bytes of a binary message, without an Engine.IO type.
    Binary(&'a Bytes),
}

/// A packet for clients, shared by all its recipients.
#[derive(Debug)]
pub struct Encoded {
    /// The text as a WebSocket frame.
    text_frame: Bytes,
    /// Where the text begins in `text_frame`, after the frame's head.
    text_start: usize,
    attachments: Vec<Bytes>,
    /// Text and attachments as WebSocket frames, once a recipient needs them.
    binary_frames: FrameForms,
    /// The packet in MessagePack, once a recipient needs it.
    packed: OnceLock<Bytes>,
    /// Whether it may be compressed.
    compressible: bool,
}

/// How a client gets packets on its WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameForm {
    /// The protocol revision that the client speaks.
    pub revision: Revision,
    /// The client takes no binary frames: attachments are text, in base64.
    pub base64: bool,
    /// The form of Socket.IO packets.
    pub parser: Parser,
    /// Which messages are compressed, where the client takes compressed ones: the same for all
    /// clients of a server that do.
    pub deflate: Option<Deflate>,
}

/// Frames in each form that some recipient needs.
#[derive(Debug, Default)]
pub struct FrameForms {
    binary: [OnceLock<Bytes>; 2],
    /// Few clients need them.
    base64: OnceLock<Box<[OnceLock<Bytes>; 2]>>,
    /// Few servers speak it.
    msgpack: OnceLock<Box<[[OnceLock<Bytes>; 2]; 2]>>,
    /// The same once more, with compressed messages.
    deflated: OnceLock<Box<FrameForms>>,
}

impl FrameForms {
    /// The frames in a form, made by `make` when they are needed first.
    pub fn get_or_init(&self, form: FrameForm, make: impl FnOnce() -> Bytes) -> &Bytes {
        if form.deflate.is_some() {
            let plain = FrameForm { deflate: None, ..form };
            return self.deflated.get_or_init(Box::default).get_or_init(plain, make);
        }
        let forms = match (form.parser, form.base64) {
            (Parser::Json, false) => &self.binary,
            (Parser::Json, true) => &**self.base64.get_or_init(Box::default),
            (Parser::Msgpack, base64) => {
                &self.msgpack.get_or_init(Box::default)[usize::from(base64)]
            }
        };
        forms[form.revision as usize].get_or_init(make)
    }
}

impl Encoded {
    /// Encodes an event.
    pub fn event<'a>(
        namespace: &'a str,
        event: &'a str,
        args: impl IntoIterator<Item: Into<DataRef<'a>>, IntoIter: Clone>,
    ) -> Self {
        Self::packet(Message { namespace, id: None, event: Some(event) }, args)
    }

    /// Encodes an event that asks its recipients to acknowledge it as `id`.
    pub fn event_with_ack<'a>(
        namespace: &'a str,
        id: u64,
        event: &'a str,
        args: impl IntoIterator<Item: Into<DataRef<'a>>, IntoIter: Clone>,
    ) -> Self {
        Self::packet(Message { namespace, id: Some(id), event: Some(event) }, args)
    }

    /// Encodes the acknowledgement of the event with `id`.
    pub fn ack<'a>(
        namespace: &'a str,
        id: u64,
        args: impl IntoIterator<Item: Into<DataRef<'a>>, IntoIter: Clone>,
    ) -> Self {
        Self::packet(Message { namespace, id: Some(id), event: None }, args)
    }

    fn packet<'a>(
        message: Message<'a>,
        args: impl IntoIterator<Item: Into<DataRef<'a>>, IntoIter: Clone>,
    ) -> Self {
        let (text, attachments) = message.encode(&PREFIX, args.into_iter().map(Into::into));
        Self::framed(text, attachments)
    }

    /// Encodes a Socket.IO packet, such as `2["event",…]`, and its attachments. `packet` is without
    /// the Engine.IO type.
    pub fn message(packet: &str, attachments: Vec<Bytes>) -> Self {
        Self::framed([&PREFIX, packet.as_bytes()].concat(), attachments)
    }

    /// Encodes an Engine.IO text packet, such as `2` or `0{…}`.
    pub fn engine(text: &[u8]) -> Self {
        Self::new(text, Vec::new())
    }

    /// Encodes an Engine.IO text packet and the binary messages that follow it.
    pub fn new(text: &[u8], attachments: Vec<Bytes>) -> Self {
        Self::framed([&PREFIX[..MAX_HEAD], text].concat(), attachments)
    }

    /// A packet whose text follows [`MAX_HEAD`] bytes, of which the frame's head takes the last.
    fn framed(mut buffer: Vec<u8>, attachments: Vec<Bytes>) -> Self {
        let (head, start) = frames::head(Opcode::Text, buffer.len() - MAX_HEAD, false);
        buffer[..MAX_HEAD].copy_from_slice(&head);
        let mut text_frame = Bytes::from(buffer);
        text_frame.advance(start);
        Encoded {
            text_start: MAX_HEAD - start,
            text_frame,
            attachments,
            binary_frames: FrameForms::default(),
            packed: OnceLock::new(),
            compressible: true,
        }
    }

    /// The same, never compressed.
    pub fn uncompressed(self) -> Self {
        Encoded { compressible: false, ..self }
    }

    /// A WebSocket Close frame, with or without a status code (RFC 6455, section 5.5.1). It has no
    /// form on long-polling.
    pub fn close_frame(code: Option<CloseCode>) -> Self {
        match code {
            Some(code) => Self::control_frame(Opcode::Close, &code.payload()),
            None => Self::control_frame(Opcode::Close, b""),
        }
    }

    /// A WebSocket Pong frame, which answers a Ping with the same payload (RFC 6455, section
    /// 5.5.3). It has no form on long-polling.
    pub fn pong_frame(payload: &[u8]) -> Self {
        Self::control_frame(Opcode::Pong, payload)
    }

    fn control_frame(opcode: Opcode, payload: &[u8]) -> Self {
        let mut frame = Vec::with_capacity(payload.len() + MAX_HEAD);
        put_frame(&mut frame, opcode, payload);
        Encoded {
            text_start: frame.len(),
            text_frame: frame.into(),
            attachments: Vec::new(),
            binary_frames: FrameForms::default(),
            packed: OnceLock::new(),
            compressible: true,
        }
    }

    /// The text, which begins with its Engine.IO type.
    pub fn text(&self) -> &[u8] {
        &self.text_frame[self.text_start..]
    }

    /// The number of bytes that the packet counts for in a queue.
    pub fn size(&self) -> usize {
        self.text_frame.len() + self.attachments.iter().map(|a| a.len() + MAX_HEAD).sum::<usize>()
    }

    /// The text, then the attachments; or the packet in MessagePack.
    pub fn parts(&self, parser: Parser) -> impl Iterator<Item = Part<'_>> {
        let packed = self.packed(parser);
        let unpacked = packed.is_none().then(|| {
            let attachments = self.attachments.iter().map(Part::Binary);
            std::iter::once(Part::Text(self.text())).chain(attachments)
        });
        packed.map(Part::Binary).into_iter().chain(unpacked.into_iter().flatten())
    }

    /// A Socket.IO packet in MessagePack, if clients get it so; other packets of Engine.IO are always
    /// text.
    fn packed(&self, parser: Parser) -> Option<&Bytes> {
        let packet = self.text().strip_prefix(b"4").filter(|_| parser == Parser::Msgpack)?;
        Some(self.packed.get_or_init(|| {
            let text = std::str::from_utf8(packet).unwrap_or_default();
            // It was written here or by the engine, so it is a packet; an empty message is none.
            msgpack::from_text(text, &self.attachments).unwrap_or_default().into()
        }))
    }

    /// The packet as WebSocket frames. Text is the same in all forms; a binary message of Engine.IO 3
    /// begins with its type (Engine.IO protocol, revision 3, "Binary packets"). In base64, it is text
    /// that begins with `b`. Where that makes it smaller, a long message is compressed for clients that
    /// take compressed ones.
    pub fn websocket(&self, form: FrameForm) -> &Bytes {
        let frames = self.frames(form);
        let Some(deflate) = form.deflate else { return frames };
        if !self.compressible || frames.len() < deflate.threshold {
            return frames;
        }
        let is_text = self.attachments.is_empty() && self.packed(form.parser).is_none();
        // Text is the same in all forms.
        let form = if is_text { FrameForm { deflate: Some(deflate), ..TEXT_FORM } } else { form };
        self.binary_frames.get_or_init(form, || compress_frames(frames, deflate))
    }

    /// The packet as WebSocket frames, not compressed.
    fn frames(&self, form: FrameForm) -> &Bytes {
        let form = FrameForm { deflate: None, ..form };
        if let Some(packed) = self.packed(form.parser) {
            return self.binary_frames.get_or_init(form, || {
                let mut out = Vec::with_capacity(packed.len() + MAX_HEAD + 1);
                put_attachment(&mut out, form, packed);
                out.into()
            });
        }
        if self.attachments.is_empty() {
            return &self.text_frame;
        }
        self.binary_frames.get_or_init(form, || {
            let mut out = Vec::with_capacity(self.size());
            out.extend_from_slice(&self.text_frame);
            for attachment in &self.attachments {
                put_attachment(&mut out, form, attachment);
            }
            out.into()
        })
    }
}

fn put_attachment(out: &mut Vec<u8>, form: FrameForm, attachment: &[u8]) {
    match (form.base64, form.revision) {
        (false, Revision::V4) => put_frame(out, Opcode::Binary, attachment),
        (false, Revision::V3) => {
            put_frame(out, Opcode::Binary, &[&[MESSAGE_V3], attachment].concat());
        }
        (true, revision) => {
            let prefix = if revision == Revision::V4 { "b" } else { "b4" };
            let mut text = prefix.to_owned();
            BASE64.encode_string(attachment, &mut text);
            put_frame(out, Opcode::Text, text.as_bytes());
        }
    }
}

/// The type byte of a binary message in Engine.IO 3.
pub const MESSAGE_V3: u8 = 0x04;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Data;
    use crate::packet::{encode_ack, encode_event};

    const BINARY_V4: FrameForm = TEXT_FORM;

    #[test]
    fn an_event_is_encoded_as_a_frame_of_its_text() {
        for length in [0, 100, 200, 70_000] {
            let args = [Data::from("x".repeat(length))];
            let (text, _) = encode_event("/n", None, "e", &args);
            let packet = Encoded::event("/n", "e", &args);
            let mut frame = Vec::new();
            put_frame(&mut frame, Opcode::Text, format!("4{text}").as_bytes());
            assert_eq!(packet.websocket(BINARY_V4), &frame);
            assert_eq!(packet.text(), format!("4{text}").as_bytes());
        }
    }

    #[test]
    fn borrowed_values_are_encoded_as_the_values_they_stand_for() {
        let payload = Data::Array(vec![Data::Binary(Bytes::from_static(b"x")), Data::Null]);
        let borrowed = [
            ("text", DataRef::Text("a\n")),
            ("payload", DataRef::Value(&payload)),
            ("json", DataRef::Json(r#"{"a":["b\n",1]}"#)),
        ];
        let json = Data::Array(vec!["b\n".into(), Data::Number(1.into())]);
        let args = [Data::Object(vec![
            ("text".into(), "a\n".into()),
            ("payload".into(), payload.clone()),
            ("json".into(), Data::Object(vec![("a".into(), json)])),
        ])];
        let ack = Encoded::ack("/", 7, [DataRef::Object(&borrowed)]);
        let (text, attachments) = encode_ack("/", 7, &args);
        assert_eq!(ack.text(), format!("4{text}").as_bytes());
        assert_eq!(ack.attachments, attachments);
    }

    #[test]
    fn attachments_follow_the_text_in_the_form_of_each_revision() {
        let packet = Encoded::message(
            "51-[\"e\",{\"_placeholder\":true,\"num\":0}]",
            vec![Bytes::from_static(&[7, 8])],
        );
        let v4 = packet.websocket(BINARY_V4);
        let v3 = packet.websocket(FrameForm { revision: Revision::V3, ..BINARY_V4 });
        assert!(v4.starts_with(&packet.text_frame) && v3.starts_with(&packet.text_frame));
        assert_eq!(v4[packet.text_frame.len()..], [0x82, 2, 7, 8]);
        assert_eq!(v3[packet.text_frame.len()..], [0x82, 3, 4, 7, 8]);
        let base64 = FrameForm { base64: true, ..BINARY_V4 };
        let v4 = packet.websocket(base64);
        let v3 = packet.websocket(FrameForm { revision: Revision::V3, ..base64 });
        assert_eq!(v4[packet.text_frame.len()..], *b"\x81\x05bBwg=");
        assert_eq!(v3[packet.text_frame.len()..], *b"\x81\x06b4Bwg=");
    }

    #[test]
    fn long_messages_are_compressed_once_for_all_that_take_them() {
        let deflate = Some(Deflate { threshold: 100 });
        let text = "x".repeat(1_000);
        let args = [Data::from(&*text), Data::Binary(vec![7; 1_000].into())];
        let event = Encoded::event("/", "e", &args);
        let plain = event.websocket(BINARY_V4).clone();
        let compressed = event.websocket(FrameForm { deflate, ..BINARY_V4 });
        assert!(compressed.len() < 100 && compressed[0] == 0xC1, "{compressed:?}");
        let again = event.websocket(FrameForm { deflate, ..BINARY_V4 });
        assert_eq!(again.as_ptr(), compressed.as_ptr(), "made once");
        assert_eq!(event.websocket(BINARY_V4), &plain);
        let packed = FrameForm { deflate, parser: Parser::Msgpack, ..BINARY_V4 };
        assert_eq!(event.websocket(packed)[0], 0xC2);
        // Without attachments it is the same in every form.
        let event = Encoded::event("/", "e", &args[..1]);
        let form = |revision, base64| FrameForm { revision, base64, deflate, ..BINARY_V4 };
        let first = event.websocket(form(Revision::V4, false));
        assert_eq!(event.websocket(form(Revision::V3, true)).as_ptr(), first.as_ptr());
        // A short packet, and one that may not be compressed, are the plain ones.
        for other in [
            Encoded::event("/", "e", [Data::from("x")].iter()),
            Encoded::event("/", "e", &args).uncompressed(),
            Encoded::close_frame(Some(CloseCode::NORMAL)),
            Encoded::pong_frame(&[b'x'; 125]),
        ] {
            let form = FrameForm { deflate, ..BINARY_V4 };
            assert_eq!(other.websocket(form), other.websocket(BINARY_V4));
        }
    }

    #[test]
    fn in_messagepack_a_packet_is_one_binary_message_and_other_packets_stay_text() {
        let packed = FrameForm { parser: Parser::Msgpack, ..BINARY_V4 };
        let args = [Data::Binary(Bytes::from_static(b"\x07")), Data::Bool(true)];
        let event = Encoded::event("/n", "e", &args);
        let message = msgpack::from_text(
            "51-/n,[\"e\",{\"_placeholder\":true,\"num\":0},true]",
            &[Bytes::from_static(b"\x07")],
        )
        .unwrap();
        let mut frame = Vec::new();
        put_frame(&mut frame, Opcode::Binary, &message);
        assert_eq!(event.websocket(packed), &frame);
        let parts: Vec<_> = event.parts(Parser::Msgpack).collect();
        assert_eq!(parts, [Part::Binary(&Bytes::from(message.clone()))]);
        assert_eq!(event.parts(Parser::Json).count(), 2);
        let base64 = event.websocket(FrameForm { base64: true, ..packed });
        assert!(base64.starts_with(&[0x81]) && base64[2] == b'b', "{base64:?}");
        let v3 = event.websocket(FrameForm { revision: Revision::V3, ..packed });
        assert_eq!(v3[2..], [&[MESSAGE_V3][..], &message].concat());
        for other in [Encoded::engine(b"2"), Encoded::close_frame(None), Encoded::pong_frame(b"4")]
        {
            assert_eq!(other.websocket(packed), other.websocket(BINARY_V4));
        }
    }
}
