//! The wire forms of Socket.IO and Engine.IO, and the values they carry.
//!
//! Everything here converts between bytes and values: nothing is async, does I/O or knows a session.
//! Each rule names the protocol document that it comes from.

#![forbid(unsafe_code)]

mod base64_engine;
mod data;
pub mod encoded;
pub mod frames;
pub mod json;
pub mod msgpack;
mod names;
pub mod packet;
mod parser;
pub mod payload;
mod revision;

pub use data::{Data, DataRef, MAX_DEPTH};
pub use names::{MAX_ROOM_BYTES, RESERVED_EVENTS, Room};
pub use parser::Parser;
pub use revision::Revision;
