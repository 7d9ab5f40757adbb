//! [`ClientMessages`]: the messages of a client's WebSocket, read from its byte stream.

use std::borrow::Cow;

use super::{FrameError, Opcode, parse_head, unmask};

/// A complete message of a client, or a control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is; never [`Opcode::Continuation`].
    pub opcode: Opcode,
    /// The payload, unmasked. It is owned only where several frames made up the message.
    pub payload: Cow<'a, [u8]>,
}

/// Takes messages off a client's byte stream. An idle client holds no memory.
pub struct ClientMessages {
    /// The opcode and the payload so far of a message whose last frame has not come.
    incomplete: Option<Box<(Opcode, Vec<u8>)>>,
    /// The most payload bytes that a message may have.
    max: usize,
}

impl ClientMessages {
    /// The messages of a client, which may have `max` bytes each.
    pub fn new(max: usize) -> Self {
        ClientMessages { incomplete: None, max }
    }

    /// Bytes that a message takes whose last frame has not come.
    pub fn held(&self) -> usize {
        self.incomplete.as_ref().map_or(0, |incomplete| incomplete.1.capacity())
    }

    /// Takes the next message off the front of `bytes`, where it is unmasked in place. `None` while
    /// it is incomplete: what is left of `bytes` then comes first in the next call.
    ///
    /// # Errors
    /// Fails at the first frame that a client may not send; the stream is unusable then.
    pub fn next<'a>(
        &mut self,
        bytes: &mut &'a mut [u8],
    ) -> Result<Option<Message<'a>>, FrameError> {
        while let Some(head) = parse_head(bytes, true, self.max)? {
            let end = head.bytes + head.payload;
            if bytes.len() < end {
                self.check(head.opcode, head.payload)?;
                break;
            }
            let (frame, rest) = std::mem::take(bytes).split_at_mut(end);
            *bytes = rest;
            let payload = &mut frame[head.bytes..];
            unmask(payload, head.mask.unwrap_or_default());
            if let Some(message) = self.push(head.opcode, head.fin, payload)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Refuses a frame as soon as its head shows that it may not come here.
    fn check(&self, opcode: Opcode, payload: usize) -> Result<(), FrameError> {
        match (opcode, &self.incomplete) {
            (Opcode::Continuation, None) | (Opcode::Text | Opcode::Binary, Some(_)) => {
                Err(FrameError::Fragments)
            }
            (Opcode::Continuation, Some(incomplete)) if incomplete.1.len() + payload > self.max => {
                Err(FrameError::TooLong)
            }
            _ => Ok(()),
        }
    }

    fn push<'a>(
        &mut self,
        opcode: Opcode,
        fin: bool,
        payload: &'a [u8],
    ) -> Result<Option<Message<'a>>, FrameError> {
        self.check(opcode, payload.len())?;
        if opcode.is_control() || (fin && opcode != Opcode::Continuation) {
            return Ok(Some(Message { opcode, payload: Cow::Borrowed(payload) }));
        }
        let mut incomplete =
            self.incomplete.take().unwrap_or_else(|| Box::new((opcode, Vec::new())));
        incomplete.1.extend_from_slice(payload);
        if fin {
            let (opcode, payload) = *incomplete;
            return Ok(Some(Message { opcode, payload: Cow::Owned(payload) }));
        }
        self.incomplete = Some(incomplete);
        Ok(None)
    }
}
