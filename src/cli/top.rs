//! `rookery top`: the rooms that wait longest, on a terminal.

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

use super::report;
use answer::Answer;
use rookery_ops::log::colours_wanted;
use rookery_server::rooms::waits::SortBy;
use screen::Screen;
use source::{Refused, Source};
use state::{State, Wish};

/// Show the rooms that wait longest, or are busiest or fullest, over all instances.
///
/// The figures are of the last minute. On a terminal the table is refreshed until `q`; elsewhere
/// it is printed once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rookery top                                  by p99, refreshed every 2 s
  rookery top --sort members --limit 200
  rookery top --api http://10.0.0.7:9090 --key \"$KEY\"
  rookery top --once                           one table, for a file or a ticket
  rookery top --json --interval 10s | jq -c '.rooms[0]'

Keys: p, r, m sort by p99, rate, members; j, k and arrows scroll; / shows the rooms whose names
start with what you type, Esc all of them; space pauses; q quits.")]
pub struct Args {
    /// The internal address of any instance.
    #[arg(long, value_name = "URL", env = "ROOKERY_API", default_value = "http://127.0.0.1:9090")]
    #[arg(value_parser = super::pub_::api_url)]
    pub api: Url,
    /// The API key.
    #[arg(long, value_name = "KEY", env = "ROOKERY_KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// Only rooms of this namespace.
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// What the rooms are ranked by.
    #[arg(long, value_enum, default_value_t = Sort::P99)]
    pub sort: Sort,
    /// How many rooms, 1 to 1000.
    #[arg(long, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
    /// Time between two refreshes, at least 100ms.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = pause)]
    pub interval: Duration,
    /// Print one table and end.
    #[arg(long)]
    pub once: bool,
    /// Print the server's answers as JSON, one a line; with --once the first only.
    #[arg(long)]
    pub json: bool,
}

/// What the rooms are ranked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    /// What 99 of 100 deliveries waited at most.
    P99,
    /// Deliveries per second.
    Rate,
    /// Members.
    Members,
}

/// Shows the rooms, until it is told to end.
///
/// # Errors
/// When nobody answers at first, or the server refuses. A user name in the address is a usage
/// error.
pub fn run(args: Args) -> anyhow::Result<()> {
    super::pub_::without_user(&args.api)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ran = runtime.block_on(async {
        let limit = usize::from(args.limit);
        let source =
            Source::new(args.api.clone(), args.key.clone(), args.namespace.clone(), limit)?;
        let sort = SortBy::from(args.sort);
        let body = source.ask(sort).await?;
        if args.json {
            return documents(&args, &source, body).await;
        }
        let mut state = State { sort, server: args.api.to_string(), ..State::default() };
        state.answered(read(&body)?, clock());
        if args.once || !io::stdout().is_terminal() {
            return table(&state);
        }
        watch(&args, source, state).await
    });
    // A host name that is being looked up is not waited for.
    runtime.shutdown_background();
    ran
}

/// Prints answers, one a line.
async fn documents(args: &Args, source: &Source, first: String) -> anyhow::Result<()> {
    let print = |body: &str| report::print(&format!("{}\n", text::json(body.trim())));
    print(&first)?;
    if args.once {
        return Ok(());
    }
    let mut ends = Ends::new()?;
    let mut ticks = ticks(args.interval).await;
    loop {
        tokio::select! {
            () = ends.next() => return Ok(()),
            _ = ticks.tick() => {}
        }
        match source.ask(args.sort.into()).await {
            Ok(body) => print(&body)?,
            Err(error) if error.is::<Refused>() => return Err(error),
            Err(error) => eprintln!("{error:#}"),
        }
    }
}

/// Prints one table.
fn table(state: &State) -> anyhow::Result<()> {
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

/// Shows the table on the whole screen, refreshed.
async fn watch(args: &Args, source: Source, mut state: State) -> anyhow::Result<()> {
    let mut ends = Ends::new()?;
    let screen = Screen::enter(colours_wanted()).context("the terminal cannot be steered")?;
    let mut events = EventStream::new();
    let mut ticks = ticks(args.interval).await;
    let ask = |sort: SortBy| {
        let source = source.clone();
        Box::pin(async move { (sort, source.ask(sort).await) })
    };
    let mut asking = None;
    loop {
        let (width, height) = screen.size()?;
        screen.draw(&table::screen(&state, width, height))?;
        let wish = tokio::select! {
            () = ends.next() => Wish::Quit,
            event = events.next() => match event {
                Some(event) => state.take(&event?, table::page(height)),
                None => Wish::Quit,
            },
            (sort, body) = async { asking.as_mut().expect("see the condition").await },
                if asking.is_some() =>
            {
                asking = None;
                answered(&mut state, sort, body)?;
                Wish::Draw
            }
            _ = ticks.tick(), if !state.paused && asking.is_none() => Wish::Refresh,
        };
        match wish {
            Wish::Quit => return Ok(()),
            Wish::Refresh => asking = Some(ask(state.sort)),
            Wish::Draw => {}
        }
    }
}

/// What the server said, or why it did not, becomes part of the state.
///
/// # Errors
/// Where asking again will not help.
fn answered(state: &mut State, sort: SortBy, body: anyhow::Result<String>) -> anyhow::Result<()> {
    match body.and_then(|body| read(&body)) {
        Err(error) if error.is::<Refused>() => return Err(error),
        Err(error) => state.error = Some(format!("{error:#}")),
        Ok(answer) if sort == state.sort => state.answered(answer, clock()),
        Ok(_) => {}
    }
    Ok(())
}

fn read(body: &str) -> anyhow::Result<Answer> {
    serde_json::from_str(body).context("the server's answer is not of this version of rookery")
}

/// The time of day, UTC.
fn clock() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.split_once('T').map_or(now.clone(), |(_, time)| time.to_owned())
}

async fn ticks(every: Duration) -> Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first one comes at once, and the first answer is there.
    ticks.tick().await;
    ticks
}

fn pause(text: &str) -> Result<Duration, String> {
    let pause = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if pause < Duration::from_millis(100) {
        return Err("at least 100ms".to_owned());
    }
    Ok(pause)
}

/// The signals that end it.
struct Ends([Signal; 3]);

impl Ends {
    fn new() -> io::Result<Self> {
        Ok(Ends([
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
