//! Commands of the contract that this version has not yet.

use std::ffi::OsString;

use super::report::Usage;

/// Whatever is written, so that the answer is always the same.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Not read yet.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<OsString>,
}

/// Says that `command` is not there yet, and what to do `instead`.
///
/// # Errors
/// Always, as bad usage.
pub fn refuse(command: &str, instead: &str) -> anyhow::Result<()> {
    Err(Usage(format!("`rookery {command}` is not in this version yet; {instead}")).into())
}
