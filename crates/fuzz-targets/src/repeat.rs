//! Builds the inputs of shapes.

/// `head`, as many `unit` as make about `size` bytes of them, and `tail`.
pub fn repeated(head: impl AsRef<[u8]>, unit: &[u8], tail: &[u8], size: usize) -> Vec<u8> {
    [head.as_ref(), &unit.repeat((size / unit.len()).max(1)), tail].concat()
}

/// `head`, then `unit(0)`, `unit(1)` and so on until there are `size` bytes, with `between` between
/// them, and `tail`.
pub fn numbered(
    head: &str,
    unit: impl Fn(usize) -> String,
    between: &str,
    tail: &str,
    size: usize,
) -> Vec<u8> {
    let mut text = head.to_owned();
    for number in 0.. {
        if number > 0 {
            text.push_str(between);
        }
        text.push_str(&unit(number));
        if text.len() >= size {
            break;
        }
    }
    text.push_str(tail);
    text.into_bytes()
}
