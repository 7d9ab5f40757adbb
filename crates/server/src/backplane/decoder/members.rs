//! Messages for members of this pod by their ids, which patterns match.

use redis::Value;

use super::Decoder;

impl Decoder {
    /// The patterns by which this pod hears what is for its members: those of them that Redis permits.
    pub fn patterns(&self) -> &[Vec<String>; 3] {
        &self.patterns
    }

    /// A message that a pattern matched: handled where it is for a member of this pod. What else a
    /// wider pattern matches arrives by its channel's own subscription.
    pub fn receive_matched(&self, data: Vec<Value>) {
        let [Value::BulkString(pattern), Value::BulkString(channel), _] = data.as_slice() else {
            return;
        };
        if self.is_for_member(pattern, channel) {
            self.receive(data);
        }
    }

    /// Whether a message is for a member of this pod, and came by the pattern of its namespace's entry
    /// in the configuration: those of other entries may match its channel too.
    fn is_for_member(&self, pattern: &[u8], channel: &[u8]) -> bool {
        let (fixed, channels) = (self.namespaces.fixed(), &self.channels);
        let named = fixed.iter().position(|name| channels.is_of_members(channel, name));
        let entry = named.or_else(|| {
            let name = channels.namespace_of(channel)?;
            let of_pattern = self.namespaces.pattern_of(name)?;
            channels.is_of_members(channel, name).then_some(fixed.len() + of_pattern)
        });
        let Some(entry) = entry else { return false };
        let [own, wide, everything] = &self.patterns;
        [own.get(entry), wide.get(entry), everything.first()]
            .into_iter()
            .flatten()
            .any(|expected| expected.as_bytes() == pattern)
    }
}
