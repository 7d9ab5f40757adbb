//! Webhooks: the backend decides about connects and events, and hears of disconnects.

pub mod carry_out;
pub mod connect;
pub mod disconnect;
pub mod event;
mod publications;
