//! `rookery serve`: the server.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::report::{Failure, Usage};
use rookery_config::error::ConfigError;
use rookery_config::load::Sources;
use rookery_config::{Config, LogFormat};
use rookery_ops::log as telemetry;
use rookery_server::telemetry::trace::Traces;

/// Serve Socket.IO clients, and publishers by HTTP and Redis.
#[derive(Clone, clap::Args)]
#[command(after_help = "\
A flag beats its environment variable, which beats the file.

Examples:
  rookery serve
  rookery serve --config rookery.yaml
  ROOKERY_REDIS=redis://redis:6379 rookery serve --config rookery.yaml --listen 0.0.0.0:3000")]
pub struct Args {
    /// The configuration, in YAML [default: none; everything has its default]
    #[arg(long, value_name = "FILE", env = "ROOKERY_CONFIG")]
    config: Option<PathBuf>,
    /// Where clients connect [default: the file's `listen`, or 127.0.0.1:3000]
    #[arg(long, value_name = "ADDR", env = "ROOKERY_LISTEN", value_parser = address)]
    listen: Option<SocketAddr>,
    /// Where the HTTP API, metrics and probes answer [default: the file's, or 127.0.0.1:9090]
    #[arg(long, value_name = "ADDR", env = "ROOKERY_INTERNAL", value_parser = address)]
    internal: Option<SocketAddr>,
    /// The Redis server that instances share [default: the file's `redis.url`, or none]
    #[arg(long, value_name = "URL", env = "ROOKERY_REDIS", hide_env_values = true)]
    redis: Option<String>,
    /// How many shards hold the clients [default: one per core of the CPU quota]
    #[arg(long, value_name = "N", env = "ROOKERY_SHARDS", value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: Option<u16>,
}

impl Args {
    /// Where the configuration comes from, for reading it now and again later.
    pub fn sources(&self) -> Sources {
        // A deployment that leaves a variable empty means that it is not set.
        Sources {
            file: self.config.clone().filter(|file| !file.as_os_str().is_empty()),
            listen: self.listen,
            internal: self.internal,
            redis: self.redis.clone().filter(|url| !url.is_empty()),
        }
    }

    /// The configuration, checked, and the number of shards.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration.
    pub fn load(self) -> Result<(Config, NonZeroUsize), ConfigError> {
        let shards = self.shards.and_then(|n| NonZeroUsize::new(n.into()));
        let config = self.sources().load()?;
        Ok((config, shards.unwrap_or_else(one_per_core)))
    }
}

impl std::fmt::Debug for Args {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Args")
            .field("sources", &self.sources())
            .field("shards", &self.shards)
            .finish()
    }
}

/// Loads the configuration, starts the log and serves until told to stop.
///
/// # Errors
/// A bad configuration (exit code 2), or whatever ended the server (1), told in the form of the
/// log's lines.
pub fn run(args: Args) -> Result<(), Failure> {
    let sources = args.sources();
    let (config, shards) =
        args.load().map_err(|error| Failure::logged(error.into(), LogFormat::Auto))?;
    let format = config.telemetry.log_format;
    let usage = |error: String| Failure::logged(Usage(error).into(), format);
    let traces = Traces::new(&config.telemetry, |name| std::env::var(name).ok())
        .map_err(|error| usage(error.to_string()))?;
    telemetry::init(format, traces.sdk()).map_err(|error| usage(error.to_string()))?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        file = sources.file.as_ref().map(|file| tracing::field::display(file.display())),
        shards,
        "starting"
    );
    crate::server::run(sources, config, shards, traces)
        .map_err(|error| Failure::logged(error, format))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let expected = "expected an address and a port such as 127.0.0.1:3000 or [::1]:3000";
    text.parse().map_err(|_| expected.to_owned())
}

/// The cores that this process may use: its CPU quota in a container, else the machine's.
fn one_per_core() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
