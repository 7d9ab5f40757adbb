//! `rookery serve`: the server.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::report::{Failure, Usage};
use rookery_config::error::ConfigError;
use rookery_config::load::Sources;
use rookery_config::{Config, LogFormat};
use rookery_ops::log;
use rookery_server::telemetry::trace::Traces;

/// Serve Socket.IO clients, and publishers over HTTP and Redis.
#[derive(Clone, clap::Args)]
#[command(after_help = "\
A flag overrides its environment variable, which overrides the configuration file.

Examples:
  rookery serve
  rookery serve --config rookery.yaml
  ROOKERY_REDIS=redis://redis:6379 rookery serve --config rookery.yaml --listen 0.0.0.0:3000")]
pub struct Args {
    /// The configuration file, in YAML [default: none, every setting has its default]
    #[arg(long, value_name = "FILE", env = "ROOKERY_CONFIG")]
    config: Option<PathBuf>,
    /// The address for clients [default: the file's `listen`, or 127.0.0.1:3000]
    #[arg(long, value_name = "ADDR", env = "ROOKERY_LISTEN", value_parser = address)]
    listen: Option<SocketAddr>,
    /// The address for the HTTP API, metrics and probes [default: the file's, or 127.0.0.1:9090]
    #[arg(long, value_name = "ADDR", env = "ROOKERY_INTERNAL", value_parser = address)]
    internal: Option<SocketAddr>,
    /// The URL of the Redis server that instances share [default: the file's `redis.url`, or none]
    #[arg(long, value_name = "URL", env = "ROOKERY_REDIS", hide_env_values = true)]
    redis: Option<String>,
    /// The number of shards, over which clients are spread [default: one per core of the CPU quota]
    #[arg(long, value_name = "N", env = "ROOKERY_SHARDS", value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: Option<u16>,
}

impl Args {
    /// The sources of the configuration, to load it now and to reload it.
    pub fn sources(&self) -> Sources {
        // An empty environment variable counts as unset.
        Sources {
            file: self.config.clone().filter(|file| !file.as_os_str().is_empty()),
            listen: self.listen,
            internal: self.internal,
            redis: self.redis.clone().filter(|url| !url.is_empty()),
        }
    }

    /// Loads and validates the configuration; returns it with the number of shards.
    ///
    /// # Errors
    /// Every problem of the configuration.
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

/// Loads the configuration, initializes the log and serves until SIGTERM or SIGINT.
///
/// # Errors
/// An invalid configuration (exit code 2), or the error that ended the server (1), formatted like
/// the log's lines.
pub fn run(args: Args) -> Result<(), Failure> {
    let sources = args.sources();
    let (config, shards) =
        args.load().map_err(|error| Failure::logged(error.into(), LogFormat::Auto))?;
    let format = config.telemetry.log_format;
    let usage = |error: String| Failure::logged(Usage(error).into(), format);
    let traces = Traces::new(&config.telemetry, |name| std::env::var(name).ok())
        .map_err(|error| usage(error.to_string()))?;
    log::init(format, traces.sdk()).map_err(|error| usage(error.to_string()))?;
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

/// The number of cores of the container's CPU quota, or of the machine.
fn one_per_core() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
