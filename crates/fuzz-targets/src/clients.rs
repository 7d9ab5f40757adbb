//! What clients send.

pub mod body;
pub mod event;
pub mod forwarded;
pub mod frames;
pub mod msgpack_packet;
pub mod packet;
pub mod query;
