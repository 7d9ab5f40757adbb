//! Where ids come from: a counter, and the system's randomness.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that this process has not given out before.
pub fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Random text of letters, digits, `-` and `_` (6 bits a character), from the system's source.
///
/// # Panics
/// When the operating system has no randomness, without which no id would be safe.
pub fn random_id(length: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes.iter().map(|b| char::from(ALPHABET[usize::from(b & 63)])).collect()
}
