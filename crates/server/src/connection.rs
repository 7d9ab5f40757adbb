//! One client's connection: how bytes reach it, on either transport.
//!
//! The [`Outbox`](outbox::Outbox) holds everything that is for one client, in order. The
//! [`SessionStream`](stream::SessionStream) is the byte stream that the protocol engine sees.
//! This module knows neither rooms nor the protocol engine.

use futures_util::future::BoxFuture;

pub mod linger;
pub mod outbox;
pub mod stream;

/// What must end before the next packet of the same client is handled; `None`: nothing.
pub type Wait = Option<BoxFuture<'static, ()>>;
