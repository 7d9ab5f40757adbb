//! `rookery pub`: publish one event to a room, as a client or by the HTTP API.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::Url;
use serde::Serialize;

use super::report::Usage;
use super::server::{ServerArgs, refusal};
use rookery_client::Client;
use rookery_protocol::Data;

/// How long the server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Publish one event to a room, as a client or, with --api, as a backend.
///
/// A client sends the event `publish` and shows the answer; its room's rules say whether it may.
/// With --api the event goes to the HTTP API of the server's internal address.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rookery pub lobby chat '{\"text\": \"hello\"}'
  rookery pub lobby chat '\"hello\"'                # a text, in JSON's own quotes
  rookery pub lobby moved 10 20 --api http://127.0.0.1:9090 --key \"$KEY\"
  rookery pub lobby blob '{\"$binary\": \"AQID\"}'    # binary, as base64")]
pub struct Args {
    /// The room to publish to.
    #[arg(value_name = "ROOM")]
    pub room: String,
    /// The event's name.
    #[arg(value_name = "EVENT")]
    pub event: String,
    /// The event's arguments. A client sends one at most, a backend any number.
    #[arg(value_name = "JSON", value_parser = json, allow_negative_numbers = true)]
    pub args: Vec<Data>,
    /// The server, for a client.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The server's internal address: publish by the HTTP API.
    #[arg(long, value_name = "URL", value_parser = api_url, conflicts_with_all = ["url", "path"])]
    pub api: Option<Url>,
    /// The API key.
    #[arg(long, value_name = "KEY", requires = "api")]
    pub key: Option<String>,
}

/// Publishes, and prints the answer.
///
/// # Errors
/// When nobody answers, or the server refuses. Several arguments without `--api` are a usage
/// error, as is a user name in the API's address.
pub fn run(args: Args) -> anyhow::Result<()> {
    if let Some(api) = &args.api {
        without_user(api)?;
    }
    if args.api.is_none() && args.args.len() > 1 {
        return Err(Usage(
            "a client publishes one JSON argument; wrap several in an array, or publish as a \
             backend with --api http://127.0.0.1:9090"
                .to_owned(),
        )
        .into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match &args.api {
            Some(api) => by_api(api, &args).await,
            None => as_client(&args).await,
        }
    })
}

async fn as_client(args: &Args) -> anyhow::Result<()> {
    let mut client = Client::connect(&args.server.target()?).await?;
    let request = Data::Object(vec![
        ("room".to_owned(), Data::from(args.room.as_str())),
        ("event".to_owned(), Data::from(args.event.as_str())),
        ("data".to_owned(), args.args.first().cloned().unwrap_or(Data::Null)),
    ]);
    let answer = client.emit_with_ack("publish", &[request], TIMEOUT).await;
    client.close().await;
    let answer = answer?;
    if let Some(why) = refusal(&answer) {
        bail!("refused by the server: {why}");
    }
    show(&match answer.as_slice() {
        [one] => serde_json::to_string(one)?,
        all => serde_json::to_string(all)?,
    })
}

/// The body of `POST /api/publish`.
#[derive(Serialize)]
struct Publish<'a> {
    namespace: &'a str,
    room: &'a str,
    event: &'a str,
    args: &'a [Data],
}

/// The URL of a server's internal listener.
///
/// # Errors
/// What was expected.
pub(super) fn api_url(text: &str) -> Result<Url, String> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| "expected a URL such as http://127.0.0.1:9090".to_owned())
}

/// Refuses a user name or password in the address of the API, which would be shown with it and
/// which the API does not take. Not where the address is read, as the command line's errors repeat
/// what was given.
///
/// # Errors
/// [`Usage`], without either.
pub(super) fn without_user(api: &Url) -> Result<(), Usage> {
    if api.username().is_empty() && api.password().is_none() {
        return Ok(());
    }
    Err(Usage(
        "the address of the API holds a user name or password; leave it out, and name an API key \
         with --key"
            .to_owned(),
    ))
}

async fn by_api(api: &Url, args: &Args) -> anyhow::Result<()> {
    let url = api.join("/api/publish").context("the API's path fits no such URL")?;
    let body = Publish {
        namespace: &args.server.namespace,
        room: &args.room,
        event: &args.event,
        args: &args.args,
    };
    let mut request = reqwest::Client::builder().timeout(TIMEOUT).build()?.post(url).json(&body);
    if let Some(key) = &args.key {
        request = request.bearer_auth(key);
    }
    let response = request.send().await.map_err(|error| {
        if error.is_connect() {
            anyhow::anyhow!(
                "no server at {api}; start one with `rookery serve`, or name its internal address \
                 with --api"
            )
        } else {
            error.into()
        }
    })?;
    let status = response.status();
    let text = response.text().await?;
    if !status.is_success() {
        bail!("refused by the server: {}", problem(status.as_u16(), &text));
    }
    show(text.trim())
}

/// What a problem document (RFC 9457) says, or the start of another body.
pub(super) fn problem(status: u16, body: &str) -> String {
    let document = serde_json::from_str::<serde_json::Value>(body).unwrap_or_default();
    let said = ["detail", "title"].iter().find_map(|key| document.get(key)?.as_str());
    let said = said.map_or_else(|| body.trim().chars().take(300).collect(), str::to_owned);
    format!("{said} ({status})")
}

fn show(answer: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{answer}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        shown => Ok(shown?),
    }
}

/// One argument.
fn json(text: &str) -> Result<Data, String> {
    serde_json::from_str(text).map_err(|error| {
        let quoted = Data::from(text);
        let quoted = serde_json::to_string(&quoted).unwrap_or_default();
        format!("not JSON ({error}); a text is written '{quoted}', an object '{{\"key\": 1}}'")
    })
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

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        Cli::try_parse_from([&["pub"], words].concat()).map(|cli| cli.args)
    }

    #[test]
    fn what_is_no_json_is_a_usage_error_that_shows_the_quotes() {
        let error = parse(&["r", "e", "hello"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(r#"'"hello"'"#), "{error}");
    }

    #[test]
    fn numbers_below_zero_are_arguments() {
        assert_eq!(parse(&["r", "e", "-1"]).unwrap().args, [Data::Number((-1).into())]);
    }

    #[test]
    fn several_arguments_are_for_backends() {
        let error = run(parse(&["r", "e", "1", "2"]).unwrap()).unwrap_err();
        assert!(error.is::<Usage>());
        assert!(error.to_string().contains("--api"), "{error}");
        assert!(parse(&["r", "e", "--key", "k"]).is_err());
        assert!(parse(&["r", "e", "1", "2", "--api", "http://h"]).is_ok());
    }

    #[test]
    fn users_in_the_apis_address_are_refused_without_being_shown() {
        for api in ["http://ada:sesame-91@h", "http://ada@h", "http://:sesame-91@h"] {
            let error = run(parse(&["r", "e", "--api", api]).unwrap()).unwrap_err();
            assert!(error.is::<Usage>());
            let told = error.to_string();
            assert!(told.contains("--key") && !told.contains("sesame-91"), "{told}");
        }
        let plain = Url::parse("http://h:9090").unwrap();
        assert!(without_user(&plain).is_ok());
    }

    #[test]
    fn problems_are_read_out() {
        assert_eq!(problem(403, r#"{"title":"t","detail":"d"}"#), "d (403)");
        assert_eq!(problem(401, r#"{"title":"t"}"#), "t (401)");
        assert_eq!(problem(502, "<html>\n"), "<html> (502)");
    }
}
