//! The `rookery` command.

use std::process::ExitCode;

/// Chosen by measurement: sessions' long-lived parts are allocated amid the buffers of their
/// handshakes, and this allocator keeps the two apart.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    rookery::cli::main()
}
