//! Who likely sent what is not understood: for the log.

use super::{classic, sharded};

/// What likely sent a message on a channel of broadcasts or requests, by how it starts.
pub fn likely(bytes: &[u8]) -> &'static str {
    match bytes {
        // PROTO of Python's pickle, protocols 2 to 5.
        [0x80, 2..=5, ..] => "python-socketio before 5.14, which pickles",
        [b'a' | b'O' | b's', b':', ..] => "an emitter that writes PHP's serialize()",
        [b'{' | b'[', ..] => "a server or emitter that writes JSON",
        [0x92, ..] => "an emitter for Socket.IO 1",
        _ => match classic::sender(bytes).or_else(|| sharded::sender(bytes)) {
            Some(b"emitter") => "an emitter, such as @socket.io/redis-emitter or one for PHP",
            Some(uid) if uid.len() == 6 => "a Node server with @socket.io/redis-adapter",
            Some(uid) if uid.len() == 8 => "another instance of Rookery",
            _ => "unknown",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_are_named_by_how_their_messages_start() {
        for (bytes, part) in [
            (&b"\x80\x04\x95"[..], "pickles"),
            (b"a:3:{", "serialize()"),
            (b"{\"method\":", "JSON"),
            (b"\x92\x83", "Socket.IO 1"),
            (b"\x93\xa7emitter\xc0", "redis-emitter"),
            (b"\x93\xa6abcdef\xc0", "Node"),
            (b"\x94\xa8podpodpo\xc0", "Rookery"),
            (b"", "unknown"),
            (b"\xc1", "unknown"),
        ] {
            assert!(likely(bytes).contains(part), "{bytes:?}: {}", likely(bytes));
        }
    }
}
