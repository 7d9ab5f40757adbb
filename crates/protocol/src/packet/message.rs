//! The [`Message`]: a packet with arguments, to be written.

/// What a placeholder begins with; its number and `}` follow.
pub(super) const PLACEHOLDER: &str = r#"{"_placeholder":true,"num":"#;

/// A packet with arguments: an event or an acknowledgement.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    /// The namespace, with its leading slash.
    pub(crate) namespace: &'a str,
    /// The id of the acknowledgement, or of the one that the event asks for.
    pub(crate) id: Option<u64>,
    /// The event's name; `None` for an acknowledgement.
    pub(crate) event: Option<&'a str>,
}
