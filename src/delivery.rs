//! Delivery: how bytes reach one client, whatever carries its session.
//!
//! The [`Outbox`](outbox::Outbox) holds everything that is for one client, in order; the
//! [`SessionStream`](stream::SessionStream) is the byte stream that the protocol engine sees.
//! This module knows neither rooms nor the protocol engine.

pub mod encode;
pub mod frames;
pub mod ledger;
pub mod outbox;
pub mod payload;
pub mod stream;

/// The revision of the Engine.IO protocol that a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revision {
    /// Engine.IO 3: clients of Socket.IO 2.
    V3,
    /// Engine.IO 4: clients of Socket.IO 3 and 4.
    V4,
}
