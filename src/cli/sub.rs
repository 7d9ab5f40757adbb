//! `rookery sub`: join a room as a client and print what arrives.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, SystemTime};

use anyhow::bail;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::server::{ServerArgs, refusal};
use rookery_client::{Backoff, Client, ClientError, Event, Target};
use rookery_protocol::Data;

/// How long the server may take to answer the join.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Join a room as a client and print what arrives.
///
/// It joins with the event `join`, and comes back by itself when the connection is lost; what was
/// published in between is gone. It ends when the server refuses or dismisses it, or on Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rookery sub lobby
  rookery sub acme:editor --url https://rooms.example.com --token \"$TOKEN\"
  rookery sub lobby | jq .args        # piped, each line is a JSON object: time, event, args")]
pub struct Args {
    /// The room to join.
    #[arg(value_name = "ROOM")]
    pub room: String,
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Print JSON, one object a line, on a terminal too.
    #[arg(long)]
    pub json: bool,
}

/// Runs until the server sends this client away, or Ctrl-C.
///
/// # Errors
/// When nobody answers at first, or the server refuses or dismisses this client.
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

/// Session after session, until one ends for good.
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
            Err(JoinError::Refused(why)) => bail!("{room} cannot be joined: {why}"),
            Err(JoinError::Client(error)) => error,
        };
        if !joined || !error.is_temporary() {
            return Err(error.into());
        }
        let wait = backoff.next_delay();
        printer.status(&format!("{error}; trying again in {:.1} s", wait.as_secs_f64()));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Why a session did not come about.
#[derive(Debug, thiserror::Error)]
enum JoinError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{0}")]
    Refused(String),
}

async fn join(target: &Target, room: &str) -> Result<Client, JoinError> {
    let mut client = Client::connect(target).await?;
    let request = Data::Object(vec![("room".to_owned(), Data::from(room))]);
    let answer = client.emit_with_ack("join", &[request], JOIN_TIMEOUT).await?;
    match refusal(&answer) {
        Some(why) => Err(JoinError::Refused(why)),
        None => Ok(client),
    }
}

/// Prints events; gives what ended the session, or nothing when it is to stop.
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

/// How events are shown.
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
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
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
            return serde_json::to_string(&Line { time, event: &event.name, args: &event.args });
        }
        let args = serde_json::to_string(&event.args)?;
        // A name may hold anything; on a terminal, control characters are not for obeying.
        let name = event.name.escape_debug();
        let clock = &time[11..];
        Ok(if self.colour {
            format!("\x1b[2m{clock}\x1b[0m \x1b[1;36m{name}\x1b[0m {args}")
        } else {
            format!("{clock} {name} {args}")
        })
    }

    fn status(&self, text: &str) {
        let text = text.escape_debug();
        let line =
            if self.status_colour { format!("\x1b[33m{text}\x1b[0m") } else { text.to_string() };
        let _ = writeln!(io::stderr(), "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        let args = serde_json::from_str(r#"[{"b":1,"a":{"$binary":"AQI="}}]"#).unwrap();
        Event { name: "e\u{1b}".into(), args, id: None }
    }

    #[test]
    fn piped_lines_are_json_that_keeps_order_and_binary() {
        let printer = Printer { json: true, colour: false, status_colour: false };
        assert_eq!(
            printer.line(SystemTime::UNIX_EPOCH, &event()).unwrap(),
            r#"{"time":"1970-01-01T00:00:00.000Z","event":"e\u001b","args":[{"b":1,"a":{"$binary":"AQI="}}]}"#
        );
    }

    #[test]
    fn a_terminal_shows_the_time_of_day_and_no_control_characters_of_others() {
        let printer = Printer { json: false, colour: false, status_colour: false };
        assert_eq!(
            printer.line(SystemTime::UNIX_EPOCH, &event()).unwrap(),
            r#"00:00:00.000Z e\u{1b} [{"b":1,"a":{"$binary":"AQI="}}]"#
        );
    }
}
