//! [`RuleError`]: a rule of the configuration that cannot be compiled.

/// A rule of `rooms` or `events` that cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{section}[{index}].{key}: {message}")]
pub struct RuleError {
    /// The section of the configuration: `rooms` or `events`.
    pub section: &'static str,
    /// The rule's position in its section, from 0.
    pub index: usize,
    /// The key of the rule that is wrong, such as `join` or `byField.name`.
    pub key: &'static str,
    /// What is wrong and what to write instead.
    pub message: String,
}
