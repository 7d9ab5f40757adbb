//! The encodings of messages: MessagePack, or JSON, which Node writes for most requests, and for
//! everything where the adapter's `parser` is JSON.

use bytes::Bytes;
use rookery_protocol::Data;
use rookery_protocol::json::parse_plain_json;
use rookery_protocol::msgpack::{self, WireError};

/// Reads a message in the encoding that it starts with. In MessagePack, `{` and `[` would be numbers.
///
/// # Errors
/// See [`WireError`].
pub fn read(bytes: &[u8]) -> Result<Data, WireError> {
    if !matches!(bytes.first(), Some(b'{' | b'[')) {
        return msgpack::read(bytes);
    }
    let mut message = read_json(bytes, msgpack::MAX_DEPTH)?;
    restore_buffers(&mut message);
    Ok(message)
}

/// Reads a message in JSON that nests at most `max_depth` levels, within the bounds of one in
/// MessagePack. Each value but the first of an array or object stands behind a comma, so that commas,
/// in texts too, tell before it is read how many values there may be.
///
/// # Errors
/// [`WireError::Large`], [`WireError::Deep`], or [`WireError::Shape`] for what is no JSON.
pub fn read_json(bytes: &[u8], max_depth: usize) -> Result<Data, WireError> {
    let is_large = bytes.len() > msgpack::MAX_MESSAGE
        || memchr::memchr_iter(b',', bytes).count() >= msgpack::MAX_VALUES;
    if is_large {
        return Err(WireError::Large);
    }
    let message = parse_plain_json(bytes).map_err(|_| WireError::Shape("no JSON"))?;
    if message.nests_within(max_depth) { Ok(message) } else { Err(WireError::Deep) }
}

/// Makes binary values of what `JSON.stringify` makes of a `Buffer`: `{"type": "Buffer", "data": […]}`.
fn restore_buffers(data: &mut Data) {
    if let Some(bytes) = buffer(data) {
        *data = Data::Binary(bytes);
        return;
    }
    match data {
        Data::Array(items) => items.iter_mut().for_each(restore_buffers),
        Data::Object(entries) => entries.iter_mut().for_each(|(_, value)| restore_buffers(value)),
        _ => {}
    }
}

fn buffer(data: &Data) -> Option<Bytes> {
    let Data::Object(entries) = data else { return None };
    let [(first, kind), (second, Data::Array(bytes))] = entries.as_slice() else { return None };
    if first != "type" || second != "data" || kind.as_str() != Some("Buffer") {
        return None;
    }
    let byte = |data: &Data| match data {
        Data::Number(n) => n.as_u64().and_then(|n| u8::try_from(n).ok()),
        _ => None,
    };
    bytes.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_are_read_and_buffers_are_restored() {
        let json = br#"["u",{"type":"Buffer","data":[0,255]},{"type":"Buffer","data":[256]}]"#;
        let Data::Array(parts) = read(json).unwrap() else { panic!("no array") };
        assert_eq!(parts[1], Data::Binary(Bytes::from_static(&[0, 255])));
        assert_eq!(parts[2].get("type"), Some(&Data::from("Buffer")));
        let mut packed = Vec::new();
        msgpack::write(&mut packed, &parts[1]);
        assert_eq!(read(&packed).as_ref(), Ok(&parts[1]));
        assert_eq!(read(b"[1"), Err(WireError::Shape("no JSON")));
        let deep = [vec![b'['; 90], vec![b']'; 90]].concat();
        assert_eq!(read(&deep), Err(WireError::Deep));
    }

    #[test]
    fn a_message_in_json_has_the_bounds_of_one_in_messagepack() {
        let numbers = |count: usize| format!("[{}0]", "0,".repeat(count - 1)).into_bytes();
        assert!(read(&numbers(1000)).is_ok());
        assert_eq!(read(&numbers(msgpack::MAX_VALUES + 1)), Err(WireError::Large));
        let text = [&b"[\""[..], &vec![b'a'; msgpack::MAX_MESSAGE], b"\"]"].concat();
        assert_eq!(read(&text), Err(WireError::Large));
    }
}
