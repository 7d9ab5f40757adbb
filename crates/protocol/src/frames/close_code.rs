//! [`CloseCode`]: why a WebSocket is closed.

use super::FrameError;

/// The status code of a Close frame (RFC 6455, section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the session is over.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// 1002: the client broke the WebSocket protocol.
    pub const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    /// 1007: a message is not what its type says, such as text that is not UTF-8.
    pub const INVALID_DATA: CloseCode = CloseCode(1007);
    /// 1008: a message breaks a rule of this server.
    pub const POLICY_VIOLATION: CloseCode = CloseCode(1008);
    /// 1009: a message is longer than the limit.
    pub const TOO_BIG: CloseCode = CloseCode(1009);
    /// 1013: the server is overloaded (registry of RFC 6455, section 11.7).
    pub const TRY_AGAIN_LATER: CloseCode = CloseCode(1013);

    /// The code in the answer to a client's Close frame with this payload: the client's own, or none
    /// where the client sent none (RFC 6455, section 5.5.1).
    pub fn answer(payload: &[u8]) -> Option<CloseCode> {
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            return (!payload.is_empty()).then_some(CloseCode::PROTOCOL_ERROR);
        };
        let code = u16::from_be_bytes(*code);
        Some(match code {
            _ if !may_be_sent(code) => CloseCode::PROTOCOL_ERROR,
            _ if std::str::from_utf8(reason).is_err() => CloseCode::INVALID_DATA,
            _ => CloseCode(code),
        })
    }

    /// The payload of a Close frame with this code.
    pub fn payload(self) -> [u8; 2] {
        self.0.to_be_bytes()
    }
}

/// Whether a Close frame may have this code: one that the protocol or its registry defines, or one
/// of a library or application (RFC 6455, section 7.4.2). 1004, 1005, 1006 and 1015 are reserved.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

impl FrameError {
    /// The status code that tells the client of the error (RFC 6455, section 7.4.1).
    pub fn close_code(self) -> CloseCode {
        match self {
            FrameError::TooLong => CloseCode::TOO_BIG,
            FrameError::Utf8 | FrameError::Deflate => CloseCode::INVALID_DATA,
            FrameError::Blocks => CloseCode::POLICY_VIOLATION,
            FrameError::Reserved
            | FrameError::Masking
            | FrameError::Control
            | FrameError::Fragments => CloseCode::PROTOCOL_ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `ws` answers, which Node's server uses.
    #[test]
    fn a_close_is_answered_with_its_own_code_or_why_it_is_invalid() {
        assert_eq!(CloseCode::answer(b""), None);
        assert_eq!(CloseCode::answer(&[3]), Some(CloseCode::PROTOCOL_ERROR));
        for code in [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4000, 4999] {
            let payload = [&u16::to_be_bytes(code)[..], "bye €".as_bytes()].concat();
            assert_eq!(CloseCode::answer(&payload), Some(CloseCode(code)));
            assert_eq!(CloseCode::answer(&payload[..2]), Some(CloseCode(code)));
            let cut = &payload[..payload.len() - 1];
            assert_eq!(CloseCode::answer(cut), Some(CloseCode::INVALID_DATA));
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
            let answer = CloseCode::answer(&code.to_be_bytes());
            assert_eq!(answer, Some(CloseCode::PROTOCOL_ERROR), "{code}");
        }
    }
}
