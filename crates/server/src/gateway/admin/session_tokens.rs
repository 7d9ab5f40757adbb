//! The [`SessionTokens`], by which an admin connects again without a password. Pure.

use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// How long a session lasts after the login: that of the package's store in Redis.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The bytes of a token that differ from session to session.
const RANDOM_BYTES: usize = 16;

/// Makes and verifies tokens: `<random>.<seconds since 1970 when it expires>.<signature>`. The key is
/// derived from the hash of the password and the name, so that every instance accepts them, nothing is
/// stored, and they end when either changes.
pub struct SessionTokens(hmac::Key);

impl SessionTokens {
    /// The tokens of the admin with this name and hash of a password.
    pub fn new(username: &str, password_hash: &[u8]) -> Self {
        let hash = hmac::Key::new(hmac::HMAC_SHA256, password_hash);
        let derived = hmac::sign(&hash, format!("rookery admin session\0{username}").as_bytes());
        SessionTokens(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    /// A new session's token.
    ///
    /// # Panics
    /// When the operating system has no randomness.
    pub fn issue(&self, now: SystemTime) -> String {
        let mut random = [0; RANDOM_BYTES];
        getrandom::fill(&mut random).expect("the operating system has randomness");
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(random), seconds(now + LIFETIME));
        let signature = hmac::sign(&self.0, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Whether this is the token of a session that has not expired.
    pub fn accepts(&self, token: &str, now: SystemTime) -> bool {
        let Some((signed, signature)) = token.rsplit_once('.') else { return false };
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        if hmac::verify(&self.0, signed.as_bytes(), &signature).is_err() {
            return false;
        }
        let expires = signed.rsplit_once('.').and_then(|(_, expires)| expires.parse().ok());
        expires.is_some_and(|expires: u64| seconds(now) < expires)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn a_token_holds_on_every_instance_with_the_same_name_and_password_until_it_expires() {
        let token = SessionTokens::new("ada", b"hash").issue(NOW);
        let other_instance = SessionTokens::new("ada", b"hash");
        assert!(other_instance.accepts(&token, NOW));
        assert!(other_instance.accepts(&token, NOW + LIFETIME - Duration::from_secs(1)));
        assert!(!other_instance.accepts(&token, NOW + LIFETIME));
        assert!(!SessionTokens::new("ada", b"another").accepts(&token, NOW));
        assert!(!SessionTokens::new("bob", b"hash").accepts(&token, NOW));
        assert_ne!(SessionTokens::new("ada", b"hash").issue(NOW), token);
    }

    #[test]
    fn a_token_that_was_changed_is_refused() {
        let tokens = SessionTokens::new("ada", b"hash");
        let token = tokens.issue(NOW);
        let [random, expires, signature]: [&str; 3] =
            token.split('.').collect::<Vec<_>>().try_into().unwrap();
        let later: u64 = expires.parse::<u64>().unwrap() + 1;
        for bad in [
            String::new(),
            "..".to_owned(),
            random.to_owned(),
            format!("{random}.{expires}."),
            format!("{random}.{later}.{signature}"),
            format!("A{random}.{expires}.{signature}"),
            format!("{random}.{expires}.{signature}A"),
            format!("{random}.{signature}"),
        ] {
            assert!(!tokens.accepts(&bad, NOW), "{bad}");
        }
    }
}
