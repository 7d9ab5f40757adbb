//! Where ids come from: a counter, and a generator of random numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use rand::Rng as _;

/// A number that this process has not given out before.
pub fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Random text of letters, digits, `-` and `_` (6 bits a character) that nobody can guess. It comes
/// from the thread's ChaCha12 generator, which the operating system seeds and, every 64 KiB, seeds
/// again: a connect needs two ids and no system call for them.
///
/// # Panics
/// When the operating system has no randomness, without which no id would be safe.
pub fn random_id(length: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = vec![0; length];
    rand::rng().fill_bytes(&mut bytes);
    bytes.iter().map(|b| char::from(ALPHABET[usize::from(b & 63)])).collect()
}
