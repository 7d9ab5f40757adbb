//! WebSocket frames.

use rookery_protocol::frames::{Opcode, put_client_frame};

/// The opcode and the payload of the first frame, once it is whole, and its size. Frames of a server have
/// no mask.
pub fn next_frame(bytes: &[u8]) -> anyhow::Result<Option<(u8, &[u8], usize)>> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    let (length, header) = match (second, bytes) {
        (126, [_, _, a, b, ..]) => (usize::from(u16::from_be_bytes([*a, *b])), 4),
        (127, [_, _, long @ ..]) => match long.first_chunk::<8>() {
            Some(long) => (usize::try_from(u64::from_be_bytes(*long))?, 10),
            None => return Ok(None),
        },
        (126, _) => return Ok(None),
        (short, _) => (usize::from(short), 2),
    };
    let payload = bytes.get(header..header + length);
    Ok(payload.map(|payload| (first & 0x0f, payload, header + length)))
}

/// A text frame of a client, masked with zeros.
pub fn text_frame(text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    put_client_frame(&mut frame, Opcode::Text, text.as_bytes());
    frame
}
