//! Room hooks: what the backend is told of rooms.
//!
//! A [`Record`](record::Record), which is kept in Redis, says what the backend was told of a room. A
//! [`HookedRoom`](room::HookedRoom) compares it with who is there, and says what is to be done next.

pub mod event;
pub mod record;
pub mod room;
