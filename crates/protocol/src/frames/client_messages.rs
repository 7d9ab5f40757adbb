//! [`ClientMessages`]: the messages of a client's WebSocket, read from its byte stream.

use std::borrow::Cow;

use super::deflate::inflate;
use super::{FrameError, Head, Opcode, Sender, parse_head, unmask};

/// A complete message of a client, or a control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is; never [`Opcode::Continuation`].
    pub opcode: Opcode,
    /// The payload, unmasked and inflated. It is owned only where several frames made up the message,
    /// or it was compressed.
    pub payload: Cow<'a, [u8]>,
    /// Bytes of the payload on the wire: fewer than it has where it was compressed.
    pub received: usize,
}

/// Takes messages off a client's byte stream. An idle client holds no memory.
pub struct ClientMessages {
    incomplete: Option<Box<Incomplete>>,
    /// The most payload bytes that a message may have, on the wire and inflated.
    max: usize,
    /// Whether messages may be compressed.
    deflate: bool,
}

/// A message whose last frame has not come.
struct Incomplete {
    opcode: Opcode,
    compressed: bool,
    payload: Vec<u8>,
}

impl ClientMessages {
    /// The messages of a client, which may have `max` bytes each.
    pub fn new(max: usize) -> Self {
        ClientMessages { incomplete: None, max, deflate: false }
    }

    /// Sets whether messages may be compressed from here on.
    pub fn set_deflate(&mut self, deflate: bool) {
        self.deflate = deflate;
    }

    /// Bytes that a message takes whose last frame has not come.
    pub fn held(&self) -> usize {
        self.incomplete.as_ref().map_or(0, |incomplete| incomplete.payload.capacity())
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
        while let Some(head) = parse_head(bytes, Sender::Client, self.deflate, self.max)? {
            let end = head.bytes + head.payload;
            if bytes.len() < end {
                self.check(head.opcode, head.payload)?;
                break;
            }
            let (frame, rest) = std::mem::take(bytes).split_at_mut(end);
            *bytes = rest;
            let payload = &mut frame[head.bytes..];
            unmask(payload, head.mask.unwrap_or_default());
            if let Some(message) = self.push(&head, payload)? {
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
            (Opcode::Continuation, Some(incomplete))
                if incomplete.payload.len() + payload > self.max =>
            {
                Err(FrameError::TooLong)
            }
            _ => Ok(()),
        }
    }

    fn push<'a>(
        &mut self,
        head: &Head,
        payload: &'a [u8],
    ) -> Result<Option<Message<'a>>, FrameError> {
        let &Head { fin, opcode, compressed, .. } = head;
        self.check(opcode, payload.len())?;
        if opcode.is_control() || (fin && opcode != Opcode::Continuation) {
            return self.message(opcode, compressed, Cow::Borrowed(payload)).map(Some);
        }
        let mut incomplete = self
            .incomplete
            .take()
            .unwrap_or_else(|| Box::new(Incomplete { opcode, compressed, payload: Vec::new() }));
        incomplete.payload.extend_from_slice(payload);
        if fin {
            let Incomplete { opcode, compressed, payload } = *incomplete;
            return self.message(opcode, compressed, Cow::Owned(payload)).map(Some);
        }
        self.incomplete = Some(incomplete);
        Ok(None)
    }

    fn message<'a>(
        &self,
        opcode: Opcode,
        compressed: bool,
        payload: Cow<'a, [u8]>,
    ) -> Result<Message<'a>, FrameError> {
        let received = payload.len();
        let payload = match compressed {
            true => Cow::Owned(inflate(&payload, self.max)?),
            false => payload,
        };
        Ok(Message { opcode, payload, received })
    }
}
