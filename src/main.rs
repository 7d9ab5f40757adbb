//! The `rookery` command.

#![forbid(unsafe_code)]

mod cli;
mod server;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
