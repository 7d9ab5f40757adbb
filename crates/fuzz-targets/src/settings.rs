//! What administrators write: the configuration, and the rules and templates in it.

pub mod config;
pub mod room;
pub mod rules;
