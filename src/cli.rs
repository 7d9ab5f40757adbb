//! The command line: one file and one `Args` for each command.

mod api;
pub mod bench;
pub mod check;
pub mod crd;
pub mod doctor;
pub mod operator;
pub mod pub_;
pub mod render;
pub mod report;
pub mod schema;
pub mod serve;
pub mod server;
pub mod sub;
pub mod token;
pub mod top;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use report::Failure;
use rookery_config::LogFormat;

/// A ready-made Socket.IO server with rooms that work across instances.
#[derive(Debug, Parser)]
#[command(name = "rookery", version, after_help = EXAMPLE)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLE: &str = "\
Examples:
  rookery serve                              a server on this machine, in memory
  rookery serve --redis redis://redis:6379   one of several instances
  rookery check rookery.yaml                 validate a configuration file

Exit codes: 0 success, 1 failure, 2 wrong usage or invalid configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Sub(sub::Args),
    Pub(pub_::Args),
    Check(check::Args),
    Schema(schema::Args),
    Token(token::Args),
    Bench(bench::Args),
    Top(top::Args),
    Operator(operator::Args),
    Render(render::Args),
    Crd(crd::Args),
    Doctor(doctor::Args),
}

/// Parses the command line, runs the command, and prints its error.
///
/// Wrong usage exits the process with code 2.
pub fn main() -> ExitCode {
    let ran = match Cli::try_parse() {
        Ok(cli) => cli.run(),
        // A log collector expects every line of the server in one format.
        Err(usage) if usage.use_stderr() && is_serve() && !std::io::stderr().is_terminal() => {
            let text = usage.render().to_string();
            let text = text.trim_start_matches("error: ").lines().collect::<Vec<_>>().join(" ");
            Err(Failure::logged(report::Usage(text).into(), LogFormat::Auto))
        }
        Err(usage) => usage.exit(),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.exit_code())
        }
    }
}

fn is_serve() -> bool {
    std::env::args().nth(1).is_some_and(|command| command == "serve")
}

impl Cli {
    fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Serve(args) => return serve::run(args),
            Command::Operator(args) => return operator::run(args),
            Command::Sub(args) => sub::run(args),
            Command::Pub(args) => pub_::run(args),
            Command::Bench(args) => bench::run(args),
            Command::Check(args) => check::run(&args),
            Command::Schema(args) => schema::run(&args),
            Command::Token(args) => token::run(&args),
            Command::Top(args) => top::run(args),
            Command::Render(args) => render::run(&args),
            Command::Crd(args) => crd::run(&args),
            Command::Doctor(args) => doctor::run(&args),
        }
        .map_err(Failure::from)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_of_every_command_has_an_example() {
        let root = Cli::command();
        for command in root.get_subcommands().chain([&root]) {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Example"), "{}: {help}", command.get_name());
            assert!(help.contains("rookery "), "{}: {help}", command.get_name());
            assert!(command.get_about().is_some(), "{} has no description", command.get_name());
        }
    }

    #[test]
    fn every_flag_of_serve_has_its_environment_variable() {
        let root = Cli::command();
        let serve = root.find_subcommand("serve").expect("serve exists");
        let flags: Vec<_> = serve.get_arguments().filter_map(|a| a.get_long()).collect();
        assert_eq!(flags, ["config", "listen", "internal", "redis", "shards"]);
        for argument in serve.get_arguments() {
            let name = argument.get_long().expect("a flag").to_uppercase();
            assert_eq!(argument.get_env().unwrap(), format!("ROOKERY_{name}").as_str());
        }
    }
}
