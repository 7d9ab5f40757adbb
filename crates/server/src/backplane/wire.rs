//! The wire forms of what servers send each other through Redis: bytes in, values out, and back.
//! Pure.

pub mod channels;
pub mod classic;
mod encoding;
pub mod node;
pub mod orders;
pub mod pod_messages;
pub mod presence;
pub mod python;
pub mod replies;
pub mod requests;
pub mod room_hooks;
pub mod senders;
pub mod sharded;
