//! `rookery sub`: join a room as a client and print what arrives.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, SystemTime};

use anyhow::bail;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::server::{ServerArgs, refusal};
use rookery_backoff::Backoff;
use rookery_client::{Client, ClientError, Event, Target};
use rookery_ops::escape;
use rookery_ops::log::colours_wanted;
use rookery_protocol::Data;

/// How long the server may take to acknowledge the join.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Join a room as a client and print what arrives.
///
/// It joins with the event `join` and reconnects when the connection is lost; publications in
/// between are missed. It ends when the server refuses or disconnects it, or on Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rookery sub lobby
  rookery sub acme:editor --url https://rooms.example.com --token \"$TOKEN\"
  rookery sub lobby | jq .args        # piped, each line is a JSON object: time, event, args")]
pub struct Args {
    /// The room to join.
    #[arg(value_name = "ROOM")]
    pub room: String,
    /// The server to connect to.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Print one JSON object per line, on a terminal, too.
    #[arg(long)]
    pub json: bool,
}

/// Runs until the server disconnects this client, or Ctrl-C.
///
/// # Errors
/// When the first attempt to connect fails, or the server refuses or disconnects this client.
pub fn run(args: Args) -> anyhow::Result<()> {
    let target = args.server.target()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let printer = Printer::new(args.json);
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let follow = follow(&target, &args.room, &printer, &stop);
        tokio::pin!(follow);
        tokio::select! {
            result = &mut follow => return result,
            _ = tokio::signal::ctrl_c() => stop.cancel(),
        }
        follow.await
    })
}

/// Connects again and again, until a connection ends with a permanent error.
async fn follow(
    target: &Target,
    room: &str,
    printer: &Printer,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut backoff = Backoff::default();
    let mut joined = false;
    loop {
        let result = tokio::select! {
            result = join(target, room) => result,
            () = stop.cancelled() => return Ok(()),
        };
        let error = match result {
            Ok(client) => {
                printer.status(&format!("joined {room} at {}", target.url()));
                joined = true;
                backoff.reset();
                match print(client, printer, stop).await? {
                    Some(error) => error,
                    None => return Ok(()),
                }
            }
            Err(JoinError::Refused(reason)) => bail!("cannot join {room}: {reason}"),
            Err(JoinError::Client(error)) => error,
        };
        if !joined || !error.is_temporary() {
            return Err(error.into());
        }
        let delay = backoff.next_delay();
        printer.status(&format!("{error}; reconnecting in {:.1} s", delay.as_secs_f64()));
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Why a room could not be joined.
#[derive(Debug, thiserror::Error)]
enum JoinError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{0}")]
    Refused(String),
}

async fn join(target: &Target, room: &str) -> Result<Client, JoinError> {
    let mut client = Client::connect(target).await?;
    let request = Data::Object(vec![("room".into(), Data::from(room))]);
    let ack = client.emit_with_ack("join", &[request], JOIN_TIMEOUT).await?;
    match refusal(&ack) {
        Some(reason) => Err(JoinError::Refused(reason)),
        None => Ok(client),
    }
}

/// Prints events until the connection ends, and returns why; `None` when `stop` is cancelled.
async fn print(
    mut client: Client,
    printer: &Printer,
    stop: &CancellationToken,
) -> anyhow::Result<Option<ClientError>> {
    loop {
        let event = tokio::select! {
            event = client.next() => event,
            () = stop.cancelled() => {
                client.close().await;
                return Ok(None);
            }
        };
        match event {
            Ok(event) => match printer.event(SystemTime::now(), &event) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(None),
                printed => printed?,
            },
            Err(error) => return Ok(Some(error)),
        }
    }
}

/// Prints events on stdout and status messages on stderr.
struct Printer {
    json: bool,
    colour: bool,
    status_colour: bool,
}

/// An event as one line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    event: &'a str,
    args: &'a [Data],
}

impl Printer {
    fn new(json: bool) -> Self {
        let wanted = colours_wanted();
        let terminal = io::stdout().is_terminal();
        Printer {
            json: json || !terminal,
            colour: wanted && terminal,
            status_colour: wanted && io::stderr().is_terminal(),
        }
    }

    fn event(&self, time: SystemTime, event: &Event) -> io::Result<()> {
        let line = self.line(time, event)?;
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    }

    fn line(&self, time: SystemTime, event: &Event) -> serde_json::Result<String> {
        let time = humantime::format_rfc3339_millis(time).to_string();
        if self.json {
            let line = Line { time, event: &event.name, args: &event.args };
            return Ok(escape::json(&serde_json::to_string(&line)?));
        }
        // Names and arguments may contain anything: the terminal must not interpret it.
        let args = escape::json(&serde_json::to_string(&event.args)?);
        let name = escape::text(&event.name);
        let clock = &time[11..];
        Ok(if self.colour {
            format!("\x1b[2m{clock}\x1b[0m \x1b[1;36m{name}\x1b[0m {args}")
        } else {
            format!("{clock} {name} {args}")
        })
    }

    fn status(&self, text: &str) {
        let text = escape::text(text);
        let line = if self.status_colour { format!("\x1b[33m{text}\x1b[0m") } else { text };
        let _ = writeln!(io::stderr(), "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        let args = serde_json::from_str(r#"[{"b":1,"a":{"$binary":"AQI="}}]"#).unwrap();
        Event { name: "e\u{1b}".into(), args, ack_id: None }
    }

    #[test]
    fn piped_lines_are_json_that_keeps_key_order_and_binary() {
        let printer = Printer { json: true, colour: false, status_colour: false };
        assert_eq!(
            printer.line(SystemTime::UNIX_EPOCH, &event()).unwrap(),
            r#"{"time":"1970-01-01T00:00:00.000Z","event":"e\u001b","args":[{"b":1,"a":{"$binary":"AQI="}}]}"#
        );
    }

    #[test]
    fn no_line_contains_what_controls_a_terminal() {
        for c in char::MIN..=char::MAX {
            if !escape::is_unsafe(c) {
                continue;
            }
            let text = format!("a{c}b");
            let args = vec![Data::Array(vec![Data::from(&*text)])];
            let event = Event { name: text.clone(), args, ack_id: None };
            for json in [true, false] {
                let printer = Printer { json, colour: false, status_colour: false };
                let line = printer.line(SystemTime::UNIX_EPOCH, &event).unwrap();
                assert!(!line.chars().any(escape::is_unsafe), "{line:?}");
                let document = if json { &line } else { &line[line.find('[').unwrap()..] };
                let parsed: serde_json::Value = serde_json::from_str(document).unwrap();
                let args = if json { &parsed["args"] } else { &parsed };
                assert_eq!(args[0][0], text);
            }
        }
    }

    #[test]
    fn a_terminal_line_has_the_time_of_day_and_escaped_control_characters() {
        let printer = Printer { json: false, colour: false, status_colour: false };
        assert_eq!(
            printer.line(SystemTime::UNIX_EPOCH, &event()).unwrap(),
            r#"00:00:00.000Z e\u{1b} [{"b":1,"a":{"$binary":"AQI="}}]"#
        );
    }
}
