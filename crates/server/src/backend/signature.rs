//! [`SigningKey`]: the signature of requests to the backend. Pure.

use std::fmt;
use std::fmt::Write as _;

use aws_lc_rs::hmac;

/// The key that signs requests: HMAC-SHA256 (RFC 2104, FIPS 180-4).
pub struct SigningKey(hmac::Key);

impl SigningKey {
    /// The key of these bytes.
    pub fn new(secret: &[u8]) -> Self {
        SigningKey(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The value of `Rookery-Signature` for a body that is sent at a time, in seconds since 1970:
    /// `t=<seconds>,v1=<HMAC of "<seconds>.<body>" in hexadecimal>`.
    pub fn sign(&self, seconds: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{seconds}.").as_bytes());
        context.update(body);
        let mut header = format!("t={seconds},v1=");
        for byte in context.sign().as_ref() {
            // Writing to a String cannot fail.
            let _ = write!(header, "{byte:02x}");
        }
        header
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_of_the_time_and_the_body() {
        let signature = SigningKey::new(b"secret").sign(1_700_000_000, br#"{"type":"check"}"#);
        // Made with Python's hmac.
        let expected = "a22a50e5d1f7b21a58c7b8438826528e94a1962aaf2066996d12851835028bf9";
        assert_eq!(signature, format!("t=1700000000,v1={expected}"));
        assert_ne!(
            SigningKey::new(b"secre").sign(1_700_000_000, br#"{"type":"check"}"#),
            signature
        );
    }
}
