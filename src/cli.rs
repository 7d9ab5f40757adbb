//! The command line: one file per command.

pub mod bench;
pub mod pub_;
pub mod server;
pub mod sub;
