//! `rookery doctor`: is the way from a client to the servers as Socket.IO needs it?

mod advice;
mod checks;
mod cors;
mod dial;
mod fault;
mod hold;
mod polling;
mod printer;
mod tls;
mod websocket;

use std::time::Duration;

use anyhow::bail;

use super::report::Usage;
use advice::Advisor;
use checks::{Doctor, Plan};
use dial::Way;
use printer::Printer;
use rookery_client::Target;
use rookery_config::units::Period;
use rookery_operator::crd::IngressController;

/// Connect through an ingress as clients do, and name the fix for what is wrong on the way.
///
/// By polling, by polling and then a WebSocket, and by a WebSocket alone; it looks whether sessions
/// keep their server, holds a connection of each kind through a heartbeat, and reconnects. It
/// joins no room and publishes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rookery doctor https://chat.example.com
  rookery doctor https://chat.example.com --token \"$TOKEN\" --hold 2m
  rookery doctor http://chat.example.com --connect-to traefik.traefik.svc    no DNS needed

Exit codes: 0 all is well, 1 something is wrong, 2 bad usage.")]
pub struct Args {
    /// The URL that clients use.
    #[arg(value_name = "URL", value_parser = super::server::url)]
    url: String,
    /// Where the server has its Socket.IO endpoint.
    #[arg(long, value_name = "PATH", default_value = "/socket.io")]
    path: String,
    /// The token that clients present.
    #[arg(long, value_name = "TOKEN", env = "ROOKERY_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The namespace.
    #[arg(long, value_name = "NAME", default_value = "/", value_parser = super::server::namespace)]
    namespace: String,
    /// Connect to this address instead of the URL's, and say the URL's host all the same.
    #[arg(long, value_name = "HOST[:PORT]")]
    connect_to: Option<String>,
    /// Take a certificate that nobody vouches for.
    #[arg(long)]
    insecure: bool,
    /// How long each connection is held; without it, through one heartbeat.
    #[arg(long, value_name = "TIME", value_parser = Period::parse)]
    hold: Option<Period>,
    /// How long the service may take to come up: 404, 502 and 503 are asked again.
    #[arg(long, value_name = "TIME", value_parser = Period::parse, default_value = "0s")]
    wait: Period,
    /// The ingress controller that fixes are named for.
    #[arg(long, value_name = "NAME", value_parser = controller, default_value = "traefik")]
    controller: IngressController,
    /// A page's origin that must be let in, such as https://app.example.com.
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    origin: Option<String>,
    /// Leave out what needs polling, where nothing keeps a client at one server.
    #[arg(long)]
    websocket_only: bool,
}

/// Runs all checks and prints a line for each.
///
/// # Errors
/// When something is wrong; or [`Usage`], when the address cannot be used.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let target = Target::new(&args.url)?
        .path(&args.path)
        .token(args.token.as_deref())
        .namespace(&args.namespace)?;
    let way = Way::new(&target, args.connect_to.as_deref(), args.insecure)
        .map_err(|problem| Usage(format!("--connect-to: {problem}")))?;
    let advisor = Advisor { controller: args.controller, url: args.url.clone() };
    let plan = Plan {
        target,
        way,
        hold: args.hold.map(|period| period.0),
        wait: args.wait.0,
        origin: args.origin.clone(),
        polling: !args.websocket_only,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut doctor = Doctor::new(plan, advisor, Printer::new());
    let wrong = runtime.block_on(doctor.examine())?;
    // A name's look-up cannot be cancelled; whoever waits for a report need not wait for it.
    runtime.shutdown_timeout(Duration::from_millis(100));
    match wrong {
        0 => Ok(()),
        1 => bail!("one thing is wrong at {}", args.url),
        n => bail!("{n} things are wrong at {}", args.url),
    }
}

fn controller(text: &str) -> Result<IngressController, &'static str> {
    match text {
        "traefik" => Ok(IngressController::Traefik),
        "haproxy" => Ok(IngressController::Haproxy),
        _ => Err("expected traefik or haproxy"),
    }
}

fn origin(text: &str) -> Result<String, String> {
    let expected = || format!("expected an origin such as https://app.example.com, found `{text}`");
    let url = reqwest::Url::parse(text).map_err(|_| expected())?;
    let origin = url.origin().ascii_serialization();
    if origin == text.trim_end_matches('/') { Ok(origin) } else { Err(expected()) }
}
