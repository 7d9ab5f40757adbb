//! `rookery bench`: measure a server under the load of many clients.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use super::{report, server};
use rookery_client::Target;
use rookery_client::bench::{self, Api, Pace, Plan, Stage};
use rookery_config::units::Period;

/// Who publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PublishVia {
    /// The members of each room, round-robin.
    Client,
    /// A backend, through the HTTP API at --api.
    Api,
}

/// Measure a server under the load of many clients.
///
/// The clients connect over WebSocket, join their rooms, publish, and measure the latency of every
/// delivery. The server must have the events `join {room}` and `publish {room, event, data}`, as
/// `rookery serve` has by default.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rookery bench                                         # 1,000 clients in one room, ten seconds
  rookery bench --clients 5000 --rooms 500 --inflight 1 --pids \"$(pidof rookery)\"
  rookery bench --rate 20 --duration 30s --json report.json
  rookery bench --idle --clients 10000 --connect-rate 400 --pids 4711
  rookery bench --url http://10.0.0.1:3000 --publish-via api --api http://10.0.0.1:9090
  rookery bench --url http://10.0.0.1:3000 --publish-at http://10.0.0.2:3000

By default `rookery serve` accepts 500 connections per second, and 100 events per second from each
client: raise `limits` for a larger load.")]
pub struct Args {
    /// The server's URL; repeat it to spread the clients over several servers.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000", value_parser = server::url)]
    pub url: Vec<String>,
    /// The token that every client authenticates with.
    #[arg(long, value_name = "TOKEN", env = "ROOKERY_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// The namespace to connect to.
    #[arg(long, value_name = "NAME", default_value = "/", value_parser = server::namespace)]
    pub namespace: String,
    /// The path of the servers' Socket.IO endpoint.
    #[arg(long, value_name = "PATH", default_value = "/socket.io")]
    pub path: String,
    /// The number of clients.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub clients: usize,
    /// The number of rooms; the clients are spread over them evenly.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub rooms: usize,
    /// The prefix of the rooms' names: NAME-0, NAME-1, …
    #[arg(long, value_name = "NAME", default_value = "bench")]
    pub room: String,
    /// The size of each publication's argument, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    pub payload: usize,
    /// Offer compressed messages (permessage-deflate), and publish what looks like JSON.
    #[arg(long)]
    pub deflate: bool,
    /// Keep this many publications in flight in each room, and publish the next ones when every
    /// member has received all of them [default: 4].
    #[arg(long, value_name = "K", group = "pace", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub inflight: Option<u32>,
    /// Publish at this rate per second, over all rooms.
    #[arg(long, value_name = "R", group = "pace", value_parser = rate)]
    pub rate: Option<f64>,
    /// Publish nothing, and measure the memory of idle connections. Requires --pids.
    #[arg(long, group = "pace", requires = "pids")]
    pub idle: bool,
    /// Who publishes.
    #[arg(long, value_enum, default_value = "client")]
    pub publish_via: PublishVia,
    /// The URL of the HTTP API, for --publish-via api.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090", value_parser = api_url)]
    pub api: reqwest::Url,
    /// Publish by clients of their own at this server, one for each room, which are in no room.
    #[arg(long, value_name = "URL", value_parser = server::url)]
    pub publish_at: Option<String>,
    /// The API key, for --publish-via api.
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// How long to measure.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = period)]
    pub duration: Duration,
    /// How long to run the load before measuring.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = period)]
    pub warmup: Duration,
    /// The most connections to open per second.
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..))]
    pub connect_rate: u32,
    /// The ids of the server's processes, to measure their CPU time and memory.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub pids: Vec<u32>,
    /// Also write the report to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Runs the load and prints the report.
///
/// # Errors
/// When the plan is invalid, the server cannot be reached or refuses a client or a publication, or
/// deliveries stop.
pub fn run(args: Args) -> anyhow::Result<()> {
    let plan = plan(&args)?;
    let bar = Progress::new(&plan);
    let measured = bench::run(&plan, |stage| bar.show(stage));
    bar.bar.finish_and_clear();
    let measured = measured?;
    if let Some(path) = &args.json {
        let file = File::create(path).with_context(|| format!("writing {}", path.display()))?;
        serde_json::to_writer_pretty(file, &measured)?;
    }
    report::print(&measured.to_string())
}

fn plan(args: &Args) -> anyhow::Result<Plan> {
    let target = |url: &String| {
        let token = args.token.as_deref();
        Target::new(url)?.with_path(&args.path).with_token(token).with_namespace(&args.namespace)
    };
    let pace = match (args.inflight, args.rate, args.idle) {
        (_, _, true) => None,
        (_, Some(rate), _) => Some(Pace::Rate(rate)),
        (inflight, _, _) => Some(Pace::InFlight(inflight.unwrap_or(4) as usize)),
    };
    Ok(Plan {
        targets: args.url.iter().map(target).collect::<Result<_, _>>()?,
        api: (args.publish_via == PublishVia::Api)
            .then(|| Api { url: args.api.clone(), key: args.key.clone() }),
        publish_at: args.publish_at.as_ref().map(target).transpose()?,
        clients: args.clients,
        rooms: args.rooms,
        room_prefix: args.room.clone(),
        payload: args.payload,
        deflate: args.deflate,
        pace,
        warmup: args.warmup,
        duration: args.duration,
        connect_rate: args.connect_rate,
        pids: args.pids.clone(),
    })
}

/// A progress bar on a terminal; elsewhere, nothing.
struct Progress {
    bar: ProgressBar,
    clients: u64,
    warmup: Duration,
    duration: Duration,
}

impl Progress {
    fn new(plan: &Plan) -> Self {
        let bar = match io::stderr().is_terminal() {
            true => ProgressBar::new(plan.clients as u64),
            false => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template("{prefix:12} {wide_bar:.cyan/dim} {msg}")
            .expect("the template is well-formed");
        bar.set_style(style.progress_chars("━╸─"));
        Progress { bar, clients: plan.clients as u64, warmup: plan.warmup, duration: plan.duration }
    }

    fn show(&self, stage: Stage) {
        let (name, position, length, message) = match stage {
            Stage::Connecting { joined } => {
                ("connecting", joined as u64, self.clients, format!("{joined} clients"))
            }
            Stage::WarmingUp { elapsed } => {
                ("warming up", millis(elapsed), millis(self.warmup), String::new())
            }
            Stage::Measuring { elapsed, deliveries } => {
                let rate = deliveries as f64 / elapsed.as_secs_f64().max(f64::EPSILON);
                let message = format!("{rate:.0} deliveries/s");
                ("measuring", millis(elapsed), millis(self.duration), message)
            }
        };
        self.bar.set_prefix(name);
        self.bar.set_length(length);
        self.bar.set_position(position.min(length));
        self.bar.set_message(message);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn period(text: &str) -> Result<Duration, String> {
    Period::parse(text).map(|period| period.0)
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "expected publications per second, such as 20".to_owned())
}

fn api_url(text: &str) -> Result<reqwest::Url, String> {
    reqwest::Url::parse(text)
        .ok()
        .filter(|url| url.scheme() == "http" && url.has_host())
        .ok_or_else(|| "expected a URL such as http://127.0.0.1:9090".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(words: &[&str]) -> Result<Plan, clap::Error> {
        Cli::try_parse_from([&["bench"], words].concat()).map(|cli| plan(&cli.args).unwrap())
    }

    #[test]
    fn four_publications_are_in_flight_by_default() {
        assert_eq!(parse(&[]).unwrap().pace, Some(Pace::InFlight(4)));
        assert_eq!(parse(&["--rate", "2.5"]).unwrap().pace, Some(Pace::Rate(2.5)));
        assert_eq!(parse(&["--idle", "--pids", "1,2"]).unwrap().pace, None);
        assert!(parse(&["--idle"]).is_err());
        assert!(parse(&["--rate", "2", "--inflight", "3"]).is_err());
        for refused in ["0", "-1", "inf", "x"] {
            assert!(parse(&["--rate", refused]).is_err(), "{refused}");
        }
    }

    #[test]
    fn each_url_is_a_server_of_the_plan() {
        let plan = parse(&["--url", "http://a", "--url", "http://b"]).unwrap();
        assert_eq!(
            plan.targets.iter().map(Target::url).collect::<Vec<_>>(),
            ["http://a", "http://b"]
        );
        assert!(plan.api.is_none() && plan.publish_at.is_none());
        let at = parse(&["--publish-at", "http://c"]).unwrap().publish_at;
        assert_eq!(at.as_ref().map(Target::url), Some("http://c"));
        assert!(parse(&["--publish-via", "api"]).unwrap().api.is_some());
        assert!(parse(&["--url", "a"]).is_err());
    }
}
