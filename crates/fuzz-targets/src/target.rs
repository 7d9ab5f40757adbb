//! What a fuzz target is.

/// A parser of input from outside, with what must hold for it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of the binary in `fuzz/fuzz_targets` and of the corpus in `fuzz/corpus`.
    pub name: &'static str,
    /// Parses the input, and panics where a rule is broken.
    pub run: fn(&[u8]),
    /// Inputs of any size whose cost is measured.
    pub shapes: &'static [Shape],
}

/// Inputs of one form and any size.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// What is repeated, or is long.
    pub name: &'static str,
    /// An input of about this many bytes.
    pub input: fn(usize) -> Vec<u8>,
    /// The most bytes that reach the parser.
    pub max: usize,
}
