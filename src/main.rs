//! The `rookery` command.

use clap::Parser;
use rookery::cli;

#[derive(Parser)]
#[command(name = "rookery", version)]
enum Command {
    Sub(cli::sub::Args),
    Pub(cli::pub_::Args),
    Bench(cli::bench::Args),
}

fn main() -> std::process::ExitCode {
    let result = match Command::parse() {
        Command::Sub(args) => cli::sub::run(args),
        Command::Pub(args) => cli::pub_::run(args),
        Command::Bench(args) => cli::bench::run(args),
    };
    let Err(error) = result else { return std::process::ExitCode::SUCCESS };
    match error.downcast::<clap::Error>() {
        Ok(usage) => usage.exit(),
        Err(error) => {
            eprintln!("rookery: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
