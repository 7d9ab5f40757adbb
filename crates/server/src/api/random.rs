//! [`RandomSource`]: the system's randomness, asked for in blocks.

use parking_lot::Mutex;

/// The bytes that the system is asked for at once: a call costs as much as many ids.
const BLOCK: usize = 4096;

/// Random numbers that cannot be predicted; each is given out once.
pub(super) struct RandomSource(Mutex<Block>);

struct Block {
    bytes: [u8; BLOCK],
    /// Bytes at the end that were not given out yet.
    left: usize,
}

impl Default for RandomSource {
    fn default() -> Self {
        RandomSource(Mutex::new(Block { bytes: [0; BLOCK], left: 0 }))
    }
}

impl RandomSource {
    /// A random number.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn next(&self) -> Result<u128, getrandom::Error> {
        const LENGTH: usize = size_of::<u128>();
        let block = &mut *self.0.lock();
        if block.left < LENGTH {
            getrandom::fill(&mut block.bytes)?;
            block.left = BLOCK;
        }
        let mut number = [0; LENGTH];
        number.copy_from_slice(&block.bytes[BLOCK - block.left..][..LENGTH]);
        block.left -= LENGTH;
        Ok(u128::from_ne_bytes(number))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_number_is_given_out_twice() {
        let source = RandomSource::default();
        let numbers: HashSet<_> = (0..10_000).map(|_| source.next().unwrap()).collect();
        assert_eq!(numbers.len(), 10_000);
    }
}
