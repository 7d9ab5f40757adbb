//! [`Received`]: what a server sends, in the protocols of Socket.IO and of Centrifugo.

use memchr::memmem::find;

/// A message of the server.
#[derive(Debug, PartialEq)]
pub enum Received {
    Open,
    Connected,
    Ping,
    Acknowledged,
    Refused,
    Other,
}

pub fn of_socket_io(text: &[u8]) -> Received {
    match text {
        [b'0', ..] => Received::Open,
        [b'2'] => Received::Ping,
        [b'4', b'0', ..] => Received::Connected,
        [b'4', b'4', ..] => Received::Refused,
        [b'4', b'3', ..] if find(&text[..text.len().min(256)], b"\"ERROR\"").is_some() => {
            Received::Refused
        }
        [b'4', b'3', ..] => Received::Acknowledged,
        _ if text.starts_with(br#"42["rookery:error""#) => Received::Refused,
        _ => Received::Other,
    }
}

pub fn of_centrifugo(text: &[u8]) -> Received {
    match text {
        b"{}" => Received::Ping,
        _ if find(text, b"\"error\"").is_some() => Received::Refused,
        _ if find(text, b"\"connect\"").is_some() => Received::Connected,
        _ if find(text, b"\"rpc\"").is_some() => Received::Acknowledged,
        _ => Received::Other,
    }
}
