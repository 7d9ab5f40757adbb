//! Mutations of a corpus, from a seed.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

/// The most bytes of a mutation.
const MAX_BYTES: usize = 8 << 10;

/// The most changes to one input.
const MAX_CHANGES: usize = 6;

/// What parsers take for something else than text.
const TOKENS: [&[u8]; 24] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b".",
    b"/",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\x00",
    b"\x1e",
    b"%",
    b"%00",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"null",
    b"\n",
    b"\r\n",
    "\u{1f600}".as_bytes(),
    b"_placeholder",
];

/// Gives mutations of a corpus, always the same for a seed.
pub struct Mutator<'a> {
    random: SmallRng,
    corpus: &'a [Vec<u8>],
}

impl<'a> Mutator<'a> {
    /// Mutates `corpus`, which is not empty.
    pub fn new(seed: u64, corpus: &'a [Vec<u8>]) -> Self {
        Mutator { random: SmallRng::seed_from_u64(seed), corpus }
    }

    /// The next mutation.
    pub fn mutation(&mut self) -> Vec<u8> {
        let mut input = self.any().to_vec();
        for _ in 0..self.random.random_range(1..=MAX_CHANGES) {
            self.change(&mut input);
            input.truncate(MAX_BYTES);
        }
        input
    }

    fn any(&mut self) -> &'a [u8] {
        &self.corpus[self.random.random_range(0..self.corpus.len())]
    }

    /// A range of at most `most` bytes, which may be empty.
    fn range(&mut self, length: usize, most: usize) -> std::ops::Range<usize> {
        let start = self.random.random_range(0..=length);
        start..start + self.random.random_range(0..=most.min(length - start))
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.range(input.len(), 16);
        match self.random.random_range(0..7) {
            0 => {
                if let Some(byte) = input.get_mut(at.start) {
                    *byte ^= 1 << self.random.random_range(0..8);
                }
            }
            1 => drop(input.drain(at)),
            2 => {
                let token = TOKENS[self.random.random_range(0..TOKENS.len())];
                drop(input.splice(at.start..at.start, token.iter().copied()));
            }
            3 => {
                let part = input[at.clone()].repeat(self.random.random_range(1..=32));
                drop(input.splice(at.start..at.start, part));
            }
            4 => {
                let other = self.any();
                let from = self.range(other.len(), 256);
                drop(input.splice(at, other[from].iter().copied()));
            }
            5 => {
                let byte = self.random.random();
                drop(input.splice(at, [byte]));
            }
            _ => {
                let to = self.range(input.len(), 16);
                let part = input[to].to_vec();
                drop(input.splice(at, part));
            }
        }
    }
}
