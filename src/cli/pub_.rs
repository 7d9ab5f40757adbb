//! `rookery pub`: publish one event to a room, as a client or through the HTTP API.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::Url;
use serde::Serialize;

use super::api;
use super::report::{self, Usage};
use super::server::{ServerArgs, refusal};
use rookery_client::Client;
use rookery_ops::escape;
use rookery_protocol::Data;

/// How long the server may take to respond.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Publish one event to a room, as a client or, with --api, as a backend.
///
/// A client sends the event `publish` and prints the acknowledgement; the room's rules decide
/// whether it may publish. With --api the event goes to the server's HTTP API instead.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rookery pub lobby chat '{\"text\": \"hello\"}'
  rookery pub lobby chat '\"hello\"'                # a text, quoted as JSON
  rookery pub lobby moved 10 20 --api http://127.0.0.1:9090 --key \"$KEY\"
  rookery pub lobby blob '{\"$binary\": \"AQID\"}'    # binary, in base64")]
pub struct Args {
    /// The room to publish to.
    #[arg(value_name = "ROOM")]
    pub room: String,
    /// The event's name.
    #[arg(value_name = "EVENT")]
    pub event: String,
    /// The event's arguments: at most one from a client, any number from a backend.
    #[arg(value_name = "JSON", value_parser = json, allow_negative_numbers = true)]
    pub args: Vec<Data>,
    /// The server to connect to as a client.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Publish through the HTTP API at this URL, the server's internal address.
    #[arg(long, value_name = "URL", value_parser = api::url, conflicts_with_all = ["url", "path"])]
    pub api: Option<Url>,
    /// The API key for --api.
    #[arg(long, value_name = "KEY", requires = "api")]
    pub key: Option<String>,
}

/// Publishes, and prints the server's response.
///
/// # Errors
/// When the server cannot be reached or refuses the publication. Several arguments without `--api`
/// are a usage error, as are credentials in the API's URL.
pub fn run(args: Args) -> anyhow::Result<()> {
    if let Some(url) = &args.api {
        api::without_credentials(url)?;
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
            Some(url) => through_api(url, &args).await,
            None => as_client(&args).await,
        }
    })
}

async fn as_client(args: &Args) -> anyhow::Result<()> {
    let mut client = Client::connect(&args.server.target()?).await?;
    let request = Data::Object(vec![
        ("room".into(), Data::from(args.room.as_str())),
        ("event".into(), Data::from(args.event.as_str())),
        ("data".into(), args.args.first().cloned().unwrap_or(Data::Null)),
    ]);
    let ack = client.emit_with_ack("publish", &[request], TIMEOUT).await;
    client.close().await;
    let ack = ack?;
    if let Some(reason) = refusal(&ack) {
        bail!("refused by the server: {reason}");
    }
    let text = match ack.as_slice() {
        [one] => serde_json::to_string(one)?,
        all => serde_json::to_string(all)?,
    };
    report::print(&format!("{}\n", escape::json(&text)))
}

/// The body of `POST /api/publish`.
#[derive(Serialize)]
struct Publish<'a> {
    namespace: &'a str,
    room: &'a str,
    event: &'a str,
    args: &'a [Data],
}

async fn through_api(url: &Url, args: &Args) -> anyhow::Result<()> {
    let publish = url.join("/api/publish").context("the URL of the API cannot have a path")?;
    let body = Publish {
        namespace: &args.server.namespace,
        room: &args.room,
        event: &args.event,
        args: &args.args,
    };
    let mut request =
        reqwest::Client::builder().timeout(TIMEOUT).build()?.post(publish).json(&body);
    if let Some(key) = &args.key {
        request = request.bearer_auth(key);
    }
    let response = request.send().await.map_err(|error| match error.is_connect() {
        true => api::unreachable(url),
        false => error.into(),
    })?;
    let status = response.status();
    let text = response.text().await?;
    if !status.is_success() {
        bail!("refused by the server: {}", api::problem(status.as_u16(), &text));
    }
    report::print(&format!("{}\n", escape::json(text.trim())))
}

/// Parses one argument of the event.
fn json(text: &str) -> Result<Data, String> {
    serde_json::from_str(text).map_err(|error| {
        let quoted = Data::from(text);
        let quoted = serde_json::to_string(&quoted).unwrap_or_default();
        format!("not JSON ({error}); write a text as '{quoted}', an object as '{{\"key\": 1}}'")
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
    fn an_argument_that_is_not_json_is_a_usage_error_that_shows_the_quotes() {
        let error = parse(&["r", "e", "hello"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(r#"'"hello"'"#), "{error}");
    }

    #[test]
    fn a_negative_number_is_an_argument() {
        assert_eq!(parse(&["r", "e", "-1"]).unwrap().args, [Data::Number((-1).into())]);
    }

    #[test]
    fn only_a_backend_may_publish_several_arguments() {
        let error = run(parse(&["r", "e", "1", "2"]).unwrap()).unwrap_err();
        assert!(error.is::<Usage>());
        assert!(error.to_string().contains("--api"), "{error}");
        assert!(parse(&["r", "e", "--key", "k"]).is_err());
        assert!(parse(&["r", "e", "1", "2", "--api", "http://h"]).is_ok());
    }

    #[test]
    fn credentials_in_the_api_url_are_refused_without_being_shown() {
        for api in ["http://ada:sesame-91@h", "http://ada@h", "http://:sesame-91@h"] {
            let error = run(parse(&["r", "e", "--api", api]).unwrap()).unwrap_err();
            assert!(error.is::<Usage>());
            let message = error.to_string();
            assert!(message.contains("--key") && !message.contains("sesame-91"), "{message}");
        }
    }
}
