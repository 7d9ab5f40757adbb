//! `rookery top`: show the rooms with the highest latency on a terminal.

mod answer;
mod screen;
mod source;
mod state;
mod table;
mod text;

use std::io::{self, IsTerminal as _};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use crossterm::event::EventStream;
use futures_util::StreamExt as _;
use reqwest::Url;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{api, report};
use answer::Answer;
use rookery_ops::escape;
use rookery_ops::log::colours_wanted;
use rookery_server::rooms::ranking::SortBy;
use screen::Screen;
use source::{Refused, Source};
use state::{Action, State};

/// Show the slowest, busiest or largest rooms, over all instances.
///
/// Latency and rate are those of the last minute. On a terminal the table is refreshed until `q`;
/// elsewhere it is printed once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rookery top                                  sorted by p99, refreshed every 2 s
  rookery top --sort members --limit 200
  rookery top --api http://10.0.0.7:9090 --key \"$KEY\"
  rookery top --once                           one table, for a file or a ticket
  rookery top --json --interval 10s | jq -c '.rooms[0]'

Keys: p, r, m sort by p99, rate, members; j, k and arrows scroll; / shows only rooms whose names
start with what you type, Esc shows all; space pauses; q quits.")]
pub struct Args {
    /// The URL of any instance's internal address.
    #[arg(long, value_name = "URL", env = "ROOKERY_API", default_value = "http://127.0.0.1:9090")]
    #[arg(value_parser = api::url)]
    pub api: Url,
    /// The API key.
    #[arg(long, value_name = "KEY", env = "ROOKERY_KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// Show only rooms of this namespace.
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// The order of the rooms.
    #[arg(long, value_enum, default_value_t = Sort::P99)]
    pub sort: Sort,
    /// The number of rooms to show, 1 to 1000.
    #[arg(long, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
    /// The time between two refreshes, at least 100ms.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = refresh_interval)]
    pub interval: Duration,
    /// Print one table and exit.
    #[arg(long)]
    pub once: bool,
    /// Print the server's responses as JSON, one per line; with --once only the first.
    #[arg(long)]
    pub json: bool,
}

/// The order of the rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    /// The latency that 99 % of the deliveries do not exceed.
    P99,
    /// Deliveries per second.
    Rate,
    /// Number of members.
    Members,
}

/// Shows the rooms until `q` or a signal.
///
/// # Errors
/// When the first request fails, or the server refuses access. Credentials in the URL are a usage
/// error.
pub fn run(args: Args) -> anyhow::Result<()> {
    api::without_credentials(&args.api)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ran = runtime.block_on(async {
        let limit = usize::from(args.limit);
        let source =
            Source::new(args.api.clone(), args.key.clone(), args.namespace.clone(), limit)?;
        let sort = SortBy::from(args.sort);
        let body = source.fetch(sort).await?;
        if args.json {
            return print_json(&args, &source, body).await;
        }
        let mut state = State { sort, server: args.api.to_string(), ..State::default() };
        state.update(parse(&body)?, time_of_day());
        if args.once || !io::stdout().is_terminal() {
            return print_table(&state);
        }
        watch(&args, source, state).await
    });
    // A DNS lookup cannot be cancelled: do not wait for it.
    runtime.shutdown_background();
    ran
}

/// Prints responses as JSON, one per line.
async fn print_json(args: &Args, source: &Source, first: String) -> anyhow::Result<()> {
    let print = |body: &str| report::print(&format!("{}\n", escape::json(body.trim())));
    print(&first)?;
    if args.once {
        return Ok(());
    }
    let mut signals = Signals::new()?;
    let mut ticks = ticks(args.interval).await;
    loop {
        tokio::select! {
            () = signals.next() => return Ok(()),
            _ = ticks.tick() => {}
        }
        match source.fetch(args.sort.into()).await {
            Ok(body) => print(&body)?,
            Err(error) if error.is::<Refused>() => return Err(error),
            Err(error) => eprintln!("{}", escape::text(&format!("{error:#}"))),
        }
    }
}

/// Prints one table.
fn print_table(state: &State) -> anyhow::Result<()> {
    let terminal = io::stdout().is_terminal();
    let width = crossterm::terminal::size().ok().filter(|_| terminal);
    let lines = table::plain(state, width.map(|(columns, _)| usize::from(columns)));
    let colours = terminal && colours_wanted();
    let text: Vec<String> = lines
        .iter()
        .map(|line| screen::styled(line, colours).trim_end().to_owned() + "\n")
        .collect();
    report::print(&text.concat())
}

/// Shows the table full-screen and refreshes it.
async fn watch(args: &Args, source: Source, mut state: State) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let screen = Screen::enter(colours_wanted()).context("cannot control the terminal")?;
    let mut events = EventStream::new();
    let mut ticks = ticks(args.interval).await;
    let fetch = |sort: SortBy| {
        let source = source.clone();
        Box::pin(async move { (sort, source.fetch(sort).await) })
    };
    let mut request = None;
    loop {
        let (width, height) = screen.size()?;
        screen.draw(&table::screen(&state, width, height))?;
        let action = tokio::select! {
            () = signals.next() => Action::Quit,
            event = events.next() => match event {
                Some(event) => state.handle(&event?, table::page_size(height)),
                None => Action::Quit,
            },
            (sort, body) = async { request.as_mut().expect("checked by the condition").await },
                if request.is_some() =>
            {
                request = None;
                update(&mut state, sort, body)?;
                Action::Redraw
            }
            _ = ticks.tick(), if !state.paused && request.is_none() => Action::Refresh,
        };
        match action {
            Action::Quit => return Ok(()),
            Action::Refresh => request = Some(fetch(state.sort)),
            Action::Redraw => {}
        }
    }
}

/// Updates the state with a response, or with the error of the request.
///
/// # Errors
/// [`Refused`]: another request would fail, too.
fn update(state: &mut State, sort: SortBy, body: anyhow::Result<String>) -> anyhow::Result<()> {
    match body.and_then(|body| parse(&body)) {
        Err(error) if error.is::<Refused>() => return Err(error),
        Err(error) => state.error = Some(format!("{error:#}")),
        Ok(answer) if sort == state.sort => state.update(answer, time_of_day()),
        Ok(_) => {}
    }
    Ok(())
}

fn parse(body: &str) -> anyhow::Result<Answer> {
    serde_json::from_str(body)
        .context("cannot parse the response; the server may have another version of rookery")
}

/// The time of day in UTC.
fn time_of_day() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.split_once('T').map_or(now.clone(), |(_, time)| time.to_owned())
}

async fn ticks(every: Duration) -> Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is immediate, and the first response is there already.
    ticks.tick().await;
    ticks
}

fn refresh_interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(100) {
        return Err("at least 100ms".to_owned());
    }
    Ok(interval)
}

/// The signals that end the command.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Signals([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

impl From<Sort> for SortBy {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::P99 => SortBy::P99,
            Sort::Rate => SortBy::Rate,
            Sort::Members => SortBy::Members,
        }
    }
}
