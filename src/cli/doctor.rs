//! `rookery doctor`: check that clients can connect through an ingress.

mod advice;
mod checks;
mod cors;
mod fault;
mod hold;
mod plan;
mod printer;
mod stickiness;
mod transport;

use std::time::Duration;

use anyhow::bail;

use super::report::Usage;
use advice::Advisor;
use checks::Doctor;
use plan::Plan;
use printer::Printer;
use rookery_client::Target;
use rookery_config::units::Period;
use rookery_operator::crd::IngressController;
use transport::connector::Connector;
use transport::sessions::Sessions;

/// Check that clients can connect through an ingress, and name the fix for each problem.
///
/// It connects by polling, by polling with an upgrade to a WebSocket, and by WebSocket alone, checks
/// that sessions stay with their server, holds a session of each kind through a heartbeat, and
/// reconnects. It joins no room and publishes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rookery doctor https://chat.example.com
  rookery doctor https://chat.example.com --token \"$TOKEN\" --hold 2m
  rookery doctor http://chat.example.com --connect-to traefik.traefik.svc    # without DNS

Exit codes: 0 all checks passed, 1 a check failed, 2 wrong usage.")]
pub struct Args {
    /// The URL that clients use.
    #[arg(value_name = "URL", value_parser = super::server::url)]
    url: String,
    /// The path of the server's Socket.IO endpoint.
    #[arg(long, value_name = "PATH", default_value = "/socket.io")]
    path: String,
    /// The token to authenticate with.
    #[arg(long, value_name = "TOKEN", env = "ROOKERY_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The namespace to connect to.
    #[arg(long, value_name = "NAME", default_value = "/", value_parser = super::server::namespace)]
    namespace: String,
    /// Connect to this address instead of the URL's host; requests still name the URL's host.
    #[arg(long, value_name = "HOST[:PORT]")]
    connect_to: Option<String>,
    /// Accept any certificate.
    #[arg(long)]
    insecure: bool,
    /// How long to hold each session [default: through one heartbeat].
    #[arg(long, value_name = "TIME", value_parser = Period::parse)]
    hold: Option<Period>,
    /// How long to retry while the service starts, for example after a 404, 502 or 503.
    #[arg(long, value_name = "TIME", value_parser = Period::parse, default_value = "0s")]
    wait: Period,
    /// The ingress controller that the fixes are for.
    #[arg(long, value_name = "NAME", value_parser = controller, default_value = "traefik")]
    controller: IngressController,
    /// The origin of a page that must be allowed to connect, such as https://app.example.com.
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    origin: Option<String>,
    /// Skip the checks of polling, for a service without sticky sessions.
    #[arg(long)]
    websocket_only: bool,
}

/// Runs all checks and prints a line for each.
///
/// # Errors
/// When a check fails; or [`Usage`], when `--connect-to` is invalid.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let target = Target::new(&args.url)?
        .with_path(&args.path)
        .with_token(args.token.as_deref())
        .with_namespace(&args.namespace)?;
    let connector = Connector::new(&target, args.connect_to.as_deref(), args.insecure)
        .map_err(|problem| Usage(format!("--connect-to: {problem}")))?;
    let advisor = Advisor { controller: args.controller, url: args.url.clone() };
    let plan = Plan {
        sessions: Sessions { target, connector },
        hold: args.hold.map(|period| period.0),
        wait: args.wait.0,
        origin: args.origin.clone(),
        polling: !args.websocket_only,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut doctor = Doctor::new(plan, advisor, Printer::new());
    let failed = runtime.block_on(doctor.run())?;
    // A DNS lookup cannot be cancelled: do not wait for it.
    runtime.shutdown_timeout(Duration::from_millis(100));
    match failed {
        0 => Ok(()),
        1 => bail!("one check failed at {}", args.url),
        n => bail!("{n} checks failed at {}", args.url),
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
