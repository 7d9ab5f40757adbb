//! [`Socket`]: an Engine.IO session over a WebSocket, from the start or after polling.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::header;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::dial::{PATIENCE, Stream, Way, system_says};
use super::fault::Fault;
use super::polling::{Jar, Open, Polling, granted};
use rookery_client::Target;
use rookery_protocol::packet;

/// A session over a WebSocket.
pub(super) struct Socket {
    stream: WebSocketStream<Box<dyn Stream>>,
    pub(super) open: Open,
    since: Instant,
}

impl Socket {
    /// A session that starts with a WebSocket.
    ///
    /// # Errors
    /// Whatever is on the way.
    pub(super) async fn open(way: &Way, target: &Target) -> Result<Socket, Fault> {
        let what = "the WebSocket";
        let address = format!("{}?EIO=4&transport=websocket", target.endpoint().path());
        let mut stream = shake_hands(way, &address, &Jar::default()).await?;
        let since = Instant::now();
        let text = text(&mut stream, what, since, PATIENCE).await?;
        Ok(Socket { stream, open: Open::parse(what, &text)?, since })
    }

    /// Takes a polling session over to a WebSocket, as stock clients do: with a poll that waits.
    ///
    /// # Errors
    /// Whatever is on the way.
    pub(super) async fn upgrade(mut polling: Polling) -> Result<Socket, Fault> {
        let what = "the upgrade";
        let address =
            format!("{}?EIO=4&transport=websocket&sid={}", polling.path, polling.open.sid);
        let (way, jar, open) = (polling.way.clone(), polling.jar.clone(), polling.open.clone());
        let probe = async {
            let mut stream = shake_hands(&way, &address, &jar).await?;
            let since = Instant::now();
            send(&mut stream, "2probe", since).await?;
            let answer = text(&mut stream, what, since, PATIENCE).await?;
            if answer != "3probe" {
                return Err(Fault::foreign(what, answer.as_bytes()));
            }
            Ok((stream, since))
        };
        // The server ends the waiting poll when it has seen the probe.
        let wait = async {
            let ended = polling.packet(open.silence()).await;
            ended.map(drop)
        };
        let ((mut stream, since), ()) = tokio::try_join!(probe, wait)?;
        send(&mut stream, "5", since).await?;
        Ok(Socket { stream, open, since })
    }

    /// Asks for the namespace and waits for the server's word.
    ///
    /// # Errors
    /// [`Fault::Refused`], or whatever is on the way.
    pub(super) async fn connect(&mut self, target: &Target) -> Result<(), Fault> {
        let auth = target.auth();
        let connect = packet::encode_connect(target.namespace_name(), auth.as_ref());
        self.send(&format!("4{connect}")).await?;
        loop {
            let text = self.packet(PATIENCE).await?;
            if let Some(granted) = granted(&text, target)? {
                return Ok(granted);
            }
        }
    }

    /// Sends one packet.
    pub(super) async fn send(&mut self, packet: &str) -> Result<(), Fault> {
        send(&mut self.stream, packet, self.since).await
    }

    /// The next packet, within `limit`.
    pub(super) async fn packet(&mut self, limit: Duration) -> Result<String, Fault> {
        match text(&mut self.stream, "the WebSocket", self.since, limit).await? {
            end if end.starts_with('1') => Err(Fault::Ended),
            packet => Ok(packet),
        }
    }

    /// Ends the session, waiting at most a second for it.
    pub(super) async fn close(mut self) {
        let goodbye = async {
            let _ = self.send("1").await;
            let _ = self.stream.close(None).await;
        };
        let _ = timeout(Duration::from_secs(1), goodbye).await;
    }
}

async fn shake_hands(
    way: &Way,
    address: &str,
    jar: &Jar,
) -> Result<WebSocketStream<Box<dyn Stream>>, Fault> {
    let what = "the WebSocket's handshake";
    let url = format!("ws://{}{address}", way.authority());
    let mut request = url
        .into_client_request()
        .map_err(|error| Fault::foreign(what, error.to_string().as_bytes()))?;
    request.headers_mut().extend(jar.header().map(|cookies| (header::COOKIE, cookies)));
    let stream = way.dial().await?;
    let since = Instant::now();
    match timeout(PATIENCE, client_async(request, stream)).await {
        Ok(Ok((stream, _))) => Ok(stream),
        Ok(Err(WsError::Http(response))) => {
            let status = response.status().as_u16();
            Err(Fault::status(what, status, &response.into_body().unwrap_or_default()))
        }
        Ok(Err(error)) => Err(cut(what, since, &error)),
        Err(_) => Err(Fault::Silent { what, limit: PATIENCE }),
    }
}

async fn send(
    stream: &mut WebSocketStream<Box<dyn Stream>>,
    packet: &str,
    since: Instant,
) -> Result<(), Fault> {
    let what = "the WebSocket";
    match timeout(PATIENCE, stream.send(Message::text(packet))).await {
        Ok(sent) => sent.map_err(|error| cut(what, since, &error)),
        Err(_) => Err(Fault::Silent { what, limit: PATIENCE }),
    }
}

async fn text(
    stream: &mut WebSocketStream<Box<dyn Stream>>,
    what: &'static str,
    since: Instant,
    limit: Duration,
) -> Result<String, Fault> {
    let next = async {
        loop {
            match stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Close(_))) | None => return Err(closed(what, since)),
                // Attachments of events that others publish, and the WebSocket's own pings.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(cut(what, since, &error)),
            }
        }
    };
    timeout(limit, next).await.unwrap_or(Err(Fault::Silent { what, limit }))
}

fn closed(what: &'static str, since: Instant) -> Fault {
    Fault::Cut { what, after: since.elapsed(), reason: "it was closed".to_owned() }
}

fn cut(what: &'static str, since: Instant, error: &WsError) -> Fault {
    let reason = match error {
        WsError::Io(error) => system_says(error),
        error => error.to_string(),
    };
    Fault::Cut { what, after: since.elapsed(), reason }
}
