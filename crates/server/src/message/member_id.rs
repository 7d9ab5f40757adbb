//! Public ids of members: how they are made and what is in them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Length of a public id.
pub const ID_LENGTH: usize = 20;

/// How many characters of a public id name the pod.
pub const POD_LENGTH: usize = 8;

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
