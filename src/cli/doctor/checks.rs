//! [`Doctor`]: the checks, in the order in which a client meets what they look at.

use std::time::Duration;

use http::header::{self, HeaderValue};
use tokio::time::Instant;

use super::advice::{Advisor, Step};
use super::dial::{PATIENCE, Way};
use super::fault::{Fault, seconds};
use super::polling::{Ask, Polling};
use super::printer::{Mark, Printer};
use super::websocket::Socket;
use super::{cors, hold};
use rookery_client::{Backoff, Target};

/// How many sessions must all keep their server. Four requests each: with two servers and
/// nothing that keeps a client at one, all pass by chance once in 10^7 times.
const SESSIONS: usize = 8;

/// How many sessions go without their cookie, to see whether it matters.
const WITHOUT: usize = 4;

/// What is looked at.
pub(super) struct Plan {
    /// The server, the namespace and the token.
    pub(super) target: Target,
    /// How to get there.
    pub(super) way: Way,
    /// How long connections are held; absent: through one heartbeat.
    pub(super) hold: Option<Duration>,
    /// How long the service may take to come up.
    pub(super) wait: Duration,
    /// A page's origin that must be let in.
    pub(super) origin: Option<String>,
    /// Whether polling is looked at.
    pub(super) polling: bool,
}

/// Looks at everything, and says what is wrong.
pub(super) struct Doctor {
    plan: Plan,
    advisor: Advisor,
    printer: Printer,
    wrong: usize,
    /// Whether a session needs its cookie: whether there are several servers.
    cookie_matters: bool,
    works: Works,
}

/// What is worth holding and coming back to.
#[derive(Default)]
struct Works {
    polling: bool,
    upgrade: bool,
    websocket: bool,
}

impl Doctor {
    /// A doctor that has looked at nothing yet.
    pub(super) fn new(plan: Plan, advisor: Advisor, printer: Printer) -> Doctor {
        let (wrong, cookie_matters, works) = (0, false, Works::default());
        Doctor { plan, advisor, printer, wrong, cookie_matters, works }
    }

    /// All checks; gives how many things are wrong.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(super) async fn examine(&mut self) -> anyhow::Result<usize> {
        if !self.reach().await? {
            return Ok(self.wrong);
        }
        if self.plan.polling {
            if self.handshake().await? {
                self.works.polling = self.polling().await?;
            }
        } else {
            let text = "not looked at (--websocket-only)";
            self.printer.line(Mark::Skipped, "polling", text, None)?;
        }
        if self.works.polling {
            self.stickiness().await?;
            self.works.upgrade = self.upgrade().await?;
        }
        self.works.websocket = self.websocket().await?;
        if self.works.polling {
            self.cors().await?;
        }
        self.hold().await?;
        self.reconnect().await?;
        Ok(self.wrong)
    }

    /// DNS, TCP and TLS.
    async fn reach(&mut self) -> anyhow::Result<bool> {
        let way = &self.plan.way;
        let found = self.patiently(async || {
            let address = way.resolve().await?;
            way.dial().await.map(|_| address)
        });
        let found = found.await;
        let tls = if self.plan.way.is_tls() { ", TLS" } else { "" };
        self.tell("reach", Step::Handshake, found, |address| format!("{address}{tls}")).await
    }

    /// The first request, and whose answer it gets.
    async fn handshake(&mut self) -> anyhow::Result<bool> {
        let Plan { way, target, .. } = &self.plan;
        let opened = self.patiently(async || Polling::open(way, target).await);
        let opened = opened.await;
        let asked = match opened {
            Ok(polling) => {
                let ours = self.is_rookery(&polling.path).await;
                let heartbeat = humantime::format_duration(polling.open.interval()).to_string();
                polling.close().await;
                ours.map(|()| heartbeat)
            }
            Err(fault) => Err(fault),
        };
        self.tell("handshake", Step::Handshake, asked, |heartbeat| {
            format!("Rookery answers; a heartbeat every {heartbeat}")
        })
        .await
    }

    /// Rookery's answer to a session that it does not know has a hint, other servers' have not.
    async fn is_rookery(&self, path: &str) -> Result<(), Fault> {
        let what = "an unknown session";
        let ask = Ask::get(format!("{path}?EIO=4&transport=polling&sid=doctor"));
        let answer = ask.send(&self.plan.way, what, PATIENCE).await?;
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let ours = answer.status == 400 && body["hint"].is_string();
        if ours { Ok(()) } else { Err(Fault::foreign(what, &answer.body)) }
    }

    /// A session by polling, into the namespace and out again.
    async fn polling(&mut self) -> anyhow::Result<bool> {
        let Plan { way, target, .. } = &self.plan;
        let mut withheld = None;
        let connect = async {
            let mut polling = Polling::open(way, target).await?;
            withheld = polling.jar.withheld.first().cloned();
            polling.connect(target).await?;
            polling.close().await;
            Ok(())
        };
        let connected = connect.await;
        if let Some(cookie) = withheld {
            self.wrong += 1;
            let text = format!("the cookie `{cookie}` is Secure, and the URL is not https");
            let fix = "use https, or make the sticky cookie one without Secure";
            self.printer.line(Mark::Wrong, "polling", &text, Some(fix))?;
            return Ok(false);
        }
        let namespace = target.namespace_name().to_owned();
        let text = |()| format!("connected to the namespace {namespace}");
        self.tell("polling", Step::Polling, connected, text).await
    }

    /// Several sessions, each of which must stay with its server.
    async fn stickiness(&mut self) -> anyhow::Result<()> {
        let mut names = Vec::new();
        for _ in 0..SESSIONS {
            match self.by_polling().await {
                Ok(polling) => {
                    names = polling.jar.names().into_iter().map(str::to_owned).collect();
                    polling.close().await;
                }
                Err(fault) => {
                    self.cookie_matters = true;
                    self.tell("stickiness", Step::Polling, Err::<(), _>(fault), |()| String::new())
                        .await?;
                    return Ok(());
                }
            }
        }
        self.cookie_matters = self.is_lost_without_cookie(&names).await;
        let names = names.join("`, `");
        let (mark, text) = match (names.is_empty(), self.cookie_matters) {
            (false, true) => (
                Mark::Fine,
                format!(
                    "{SESSIONS} sessions kept their server by the cookie `{names}`; without it, one was lost"
                ),
            ),
            (false, false) => (
                Mark::Fine,
                format!(
                    "{SESSIONS} sessions kept their server, without the cookie `{names}` too: there is one"
                ),
            ),
            (true, _) => (
                Mark::Fine,
                format!(
                    "{SESSIONS} sessions kept their server, and no cookie was set: there is one, or clients are kept by their address"
                ),
            ),
        };
        self.printer.line(mark, "stickiness", &text, None)
    }

    /// Whether a session that forgets its cookie meets a server that does not know it.
    async fn is_lost_without_cookie(&self, names: &[String]) -> bool {
        if names.is_empty() {
            return false;
        }
        let Plan { way, target, .. } = &self.plan;
        for _ in 0..WITHOUT {
            let Ok(mut polling) = Polling::open(way, target).await else { return false };
            let kept = polling.jar.clone();
            polling.jar = Default::default();
            let lost = matches!(polling.connect(target).await, Err(Fault::UnknownSession { .. }));
            polling.jar = kept;
            polling.close().await;
            if lost {
                return true;
            }
        }
        false
    }

    /// From polling to a WebSocket.
    async fn upgrade(&mut self) -> anyhow::Result<bool> {
        let upgraded = match self.by_upgrade().await {
            Ok(Some(socket)) => {
                socket.close().await;
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(fault) => Err(fault),
        };
        if let Ok(false) = upgraded {
            let text = "the server offers none (socketio.transports)";
            self.printer.line(Mark::Skipped, "upgrade", text, None)?;
            return Ok(false);
        }
        let text = |_| "polling, then a WebSocket".to_owned();
        self.tell("upgrade", Step::WebSocket, upgraded, text).await
    }

    /// A WebSocket from the start.
    async fn websocket(&mut self) -> anyhow::Result<bool> {
        // Without polling, this is the first request.
        let opened = match self.plan.polling {
            true => self.by_websocket().await,
            false => self.patiently(async || self.by_websocket().await).await,
        };
        let opened = match opened {
            Ok(socket) => {
                socket.close().await;
                Ok(())
            }
            Err(fault) => Err(fault),
        };
        let text = |()| "connected without polling".to_owned();
        self.tell("websocket", Step::WebSocket, opened, text).await
    }

    /// What a browser makes of an answer to another site's page.
    async fn cors(&mut self) -> anyhow::Result<()> {
        let origin = self.plan.origin.clone().unwrap_or("https://doctor.invalid".to_owned());
        let path = self.plan.target.endpoint().path();
        let mut ask = Ask::get(format!("{path}?EIO=4&transport=polling&sid=doctor"));
        ask.headers.extend(HeaderValue::from_str(&origin).map(|origin| (header::ORIGIN, origin)));
        let answer = match ask.send(&self.plan.way, "a page of another site", PATIENCE).await {
            Ok(answer) => answer,
            Err(fault) => {
                self.tell("cors", Step::Polling, Err::<(), _>(fault), |()| String::new()).await?;
                return Ok(());
            }
        };
        let asked = self.plan.origin.as_deref();
        let (mark, text, fix) = cors::judge(&answer, asked, self.cookie_matters);
        self.wrong += usize::from(mark == Mark::Wrong);
        self.printer.line(mark, "cors", &text, fix)
    }

    /// A connection of each kind that works, held at the same time.
    async fn hold(&mut self) -> anyhow::Result<()> {
        let limit = self.plan.hold;
        let polling = async {
            let polling = self.by_polling().await?;
            hold::polling(polling, limit).await
        };
        let upgrade = async {
            match self.by_upgrade().await? {
                Some(socket) => hold::socket(socket, limit).await,
                None => Ok(Duration::ZERO),
            }
        };
        let websocket = async { hold::socket(self.by_websocket().await?, limit).await };
        let (polling, upgrade, websocket) = tokio::join!(
            when(self.works.polling, polling),
            when(self.works.upgrade, upgrade),
            when(self.works.websocket, websocket),
        );
        for (kind, held) in
            [("by polling", polling), ("upgraded", upgrade), ("by WebSocket", websocket)]
        {
            let Some(held) = held else { continue };
            let text = |held: Duration| {
                format!(
                    "{kind} for {}, heartbeats answered",
                    humantime::format_duration(seconds(held))
                )
            };
            self.tell("hold", Step::Hold, held, text).await?;
        }
        Ok(())
    }

    /// New sessions after those that have ended.
    async fn reconnect(&mut self) -> anyhow::Result<()> {
        let again = async {
            let mut kinds = Vec::new();
            if self.works.polling {
                self.by_polling().await?.close().await;
                kinds.push("polling");
            }
            if self.works.upgrade {
                if let Some(socket) = self.by_upgrade().await? {
                    socket.close().await;
                }
                kinds.push("upgrade");
            }
            if self.works.websocket {
                self.by_websocket().await?.close().await;
                kinds.push("WebSocket");
            }
            Ok(kinds)
        };
        let again = again.await;
        if matches!(&again, Ok(kinds) if kinds.is_empty()) {
            return Ok(());
        }
        self.tell("reconnect", Step::Polling, again, |kinds| kinds.join(", ")).await?;
        Ok(())
    }

    async fn by_polling(&self) -> Result<Polling, Fault> {
        let mut polling = Polling::open(&self.plan.way, &self.plan.target).await?;
        polling.connect(&self.plan.target).await?;
        Ok(polling)
    }

    /// Nothing where the server offers no upgrade.
    async fn by_upgrade(&self) -> Result<Option<Socket>, Fault> {
        let polling = Polling::open(&self.plan.way, &self.plan.target).await?;
        if !polling.open.upgrades.iter().any(|name| name == "websocket") {
            polling.close().await;
            return Ok(None);
        }
        let mut socket = Socket::upgrade(polling).await?;
        socket.connect(&self.plan.target).await?;
        Ok(Some(socket))
    }

    async fn by_websocket(&self) -> Result<Socket, Fault> {
        let mut socket = Socket::open(&self.plan.way, &self.plan.target).await?;
        socket.connect(&self.plan.target).await?;
        Ok(socket)
    }

    /// Tries again, as long as the service may be about to come up.
    async fn patiently<T>(&self, attempt: impl AsyncFn() -> Result<T, Fault>) -> Result<T, Fault> {
        let deadline = Instant::now() + self.plan.wait;
        let mut backoff = Backoff::default();
        loop {
            match attempt().await {
                Err(fault) if fault.may_pass() => {
                    let next = Instant::now() + backoff.next_delay();
                    if next > deadline {
                        return Err(fault);
                    }
                    tokio::time::sleep_until(next).await;
                }
                ended => return ended,
            }
        }
    }

    /// Prints a check's line; gives whether it is fine.
    async fn tell<T>(
        &mut self,
        check: &str,
        step: Step,
        result: Result<T, Fault>,
        text: impl FnOnce(T) -> String,
    ) -> anyhow::Result<bool> {
        match result {
            Ok(found) => {
                self.printer.line(Mark::Fine, check, &text(found), None)?;
                Ok(true)
            }
            Err(fault) => {
                self.wrong += 1;
                let fix = self.advisor.fix(step, &fault);
                self.printer.line(Mark::Wrong, check, &fault.to_string(), Some(&fix))?;
                Ok(false)
            }
        }
    }
}

async fn when<T>(yes: bool, future: impl Future<Output = T>) -> Option<T> {
    if yes { Some(future.await) } else { None }
}
