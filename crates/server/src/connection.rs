//! One client's connection: how bytes reach it, whatever transport carries its session.
//!
//! The [`Outbox`](outbox::Outbox) holds everything that is for one client, in order; the
//! [`SessionStream`](stream::SessionStream) is the byte stream that the protocol engine sees.
//! This module knows neither rooms nor the protocol engine.

pub mod outbox;
pub mod stream;
