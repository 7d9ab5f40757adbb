//! [`excerpt`]: a part of what the server sent, for an error message.

/// Bytes that an excerpt has at most.
const MAX_BYTES: usize = 300;

/// The start of `bytes` as text, with control characters escaped.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_BYTES)]);
    text.trim().escape_debug().to_string()
}
