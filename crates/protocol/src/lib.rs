//! The wire forms of Socket.IO and Engine.IO, and the values they carry.
//!
//! Bytes in, values out, and back: nothing here is async, does I/O or knows a session. The
//! protocol documents that each rule comes from are named where the rule stands.

#![forbid(unsafe_code)]

mod data;
pub mod encoded;
pub mod frames;
pub mod json;
pub mod msgpack;
mod names;
pub mod packet;
pub mod payload;
mod revision;

pub use data::Data;
pub use names::{MAX_ROOM_BYTES, RESERVED_EVENTS, Room};
pub use revision::Revision;
