//! A [`Member`]: one client in one namespace.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use crate::delivery::outbox::Outbox;

/// Length of a public id.
pub const ID_LENGTH: usize = 20;

/// How many characters of a public id name the pod.
pub const POD_LENGTH: usize = 8;

/// Ends a client's stay in a namespace: the gateway's part of a member.
pub trait Dismiss: Send + Sync {
    /// Sends DISCONNECT, so that the client stays away; with `close` the transport ends too.
    fn dismiss(&self, close: bool);
}

/// One client in one namespace, as the fan-out sees it. Shared as an `Arc`.
pub struct Member {
    /// The public id: 20 characters, of which the first 8 name the pod. Never the session's id.
    pub id: Arc<str>,
    /// The namespace.
    pub namespace: Arc<str>,
    /// The user, where the client presented a token.
    pub user: Option<Arc<str>>,
    /// When the namespace accepted it.
    pub connected_at: SystemTime,
    /// What is for it.
    pub outbox: Arc<Outbox>,
    /// How it is dismissed.
    pub client: Weak<dyn Dismiss>,
    /// Unique in this process.
    pub key: u64,
}

/// A number that this process has not given before.
pub fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Random text of letters, digits, `-` and `_` (6 bits a character), from the system's source.
///
/// # Panics
/// When the operating system has no randomness, without which nothing here would be safe.
pub fn random_id(length: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes.iter().map(|b| char::from(ALPHABET[usize::from(b & 63)])).collect()
}
