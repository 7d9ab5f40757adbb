//! [`Doctor`]: the checks, in the order in which a client depends on them.

use std::time::Duration;

use http::header::{self, HeaderValue};
use tokio::time::Instant;

use super::advice::{Advisor, Step};
use super::fault::{Fault, seconds};
use super::plan::Plan;
use super::printer::{Outcome, Printer};
use super::stickiness::Stickiness;
use super::transport::connector::TIMEOUT;
use super::transport::polling::PollingSession;
use super::transport::request::Request;
use super::{cors, hold};
use rookery_backoff::Backoff;

/// Runs the checks and prints a line for each.
pub(super) struct Doctor {
    plan: Plan,
    advisor: Advisor,
    printer: Printer,
    /// The number of failed checks.
    failed: usize,
    /// Whether polling sessions depend on a cookie: whether there are several servers.
    cookie_required: bool,
    working: Working,
}

/// The kinds of sessions that work, to hold and to reconnect.
#[derive(Default)]
struct Working {
    polling: bool,
    upgrade: bool,
    websocket: bool,
}

impl Doctor {
    pub(super) fn new(plan: Plan, advisor: Advisor, printer: Printer) -> Doctor {
        let (failed, cookie_required, working) = (0, false, Working::default());
        Doctor { plan, advisor, printer, failed, cookie_required, working }
    }

    /// Runs all checks, and returns how many failed.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(super) async fn run(&mut self) -> anyhow::Result<usize> {
        if !self.reach().await? {
            return Ok(self.failed);
        }
        if self.plan.polling {
            if self.handshake().await? {
                self.working.polling = self.polling().await?;
            }
        } else {
            let text = "not checked (--websocket-only)";
            self.printer.line(Outcome::Skipped, "polling", text, None)?;
        }
        if self.working.polling {
            self.stickiness().await?;
            self.working.upgrade = self.upgrade().await?;
        }
        self.working.websocket = self.websocket().await?;
        if self.working.polling {
            self.cors().await?;
        }
        self.hold().await?;
        self.reconnect().await?;
        Ok(self.failed)
    }

    /// DNS, TCP and TLS.
    async fn reach(&mut self) -> anyhow::Result<bool> {
        let connector = &self.plan.sessions.connector;
        let tls = if connector.is_tls() { ", TLS" } else { "" };
        let reached = self.retry(async || {
            let address = connector.resolve().await?;
            connector.connect().await.map(|_| address)
        });
        let reached = reached.await;
        self.report("reach", Step::Handshake, reached, |address| format!("{address}{tls}"))
    }

    /// The first request, and whether Rookery responds to it.
    async fn handshake(&mut self) -> anyhow::Result<bool> {
        let sessions = &self.plan.sessions;
        let opened = self
            .retry(async || PollingSession::open(&sessions.connector, &sessions.target).await)
            .await;
        let checked = match opened {
            Ok(session) => {
                let verified = self.verify_rookery(&session.path).await;
                let interval = session.open.heartbeat_interval();
                session.close().await;
                verified.map(|()| humantime::format_duration(interval).to_string())
            }
            Err(fault) => Err(fault),
        };
        self.report("handshake", Step::Handshake, checked, |interval| {
            format!("Rookery responds; a heartbeat every {interval}")
        })
    }

    /// Rookery adds a hint to its response for an unknown session; other servers do not.
    async fn verify_rookery(&self, path: &str) -> Result<(), Fault> {
        let what = "a request for an unknown session";
        let request = Request::get(format!("{path}?EIO=4&transport=polling&sid=doctor"));
        let response = request.send(&self.plan.sessions.connector, what, TIMEOUT).await?;
        let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let has_hint = response.status == 400 && body["hint"].is_string();
        if has_hint { Ok(()) } else { Err(Fault::not_engine_io(what, &response.body)) }
    }

    /// A session by polling.
    async fn polling(&mut self) -> anyhow::Result<bool> {
        let sessions = &self.plan.sessions;
        let mut withheld = None;
        let connect = async {
            let mut session = PollingSession::open(&sessions.connector, &sessions.target).await?;
            withheld = session.cookies.withheld.first().cloned();
            session.connect(&sessions.target).await?;
            session.close().await;
            Ok(())
        };
        let connected = connect.await;
        if let Some(cookie) = withheld {
            self.failed += 1;
            let text = format!("the cookie `{cookie}` is Secure, and the URL is not https");
            let fix = "use https, or configure the sticky cookie without Secure";
            self.printer.line(Outcome::Failed, "polling", &text, Some(fix))?;
            return Ok(false);
        }
        let namespace = sessions.target.namespace().to_owned();
        let text = |()| format!("connected to the namespace {namespace}");
        self.report("polling", Step::Polling, connected, text)
    }

    /// Whether polling sessions stay with their server.
    async fn stickiness(&mut self) -> anyhow::Result<bool> {
        let checked = Stickiness::check(&self.plan.sessions).await;
        self.cookie_required = checked.as_ref().map_or(true, |found| found.cookie_required);
        self.report("stickiness", Step::Polling, checked, |stickiness| stickiness.to_string())
    }

    /// The upgrade from polling to a WebSocket.
    async fn upgrade(&mut self) -> anyhow::Result<bool> {
        let upgraded = match self.plan.sessions.upgraded().await {
            Ok(Some(session)) => {
                session.close().await;
                Ok(())
            }
            Ok(None) => {
                let text = "the server offers none (socketio.transports)";
                self.printer.line(Outcome::Skipped, "upgrade", text, None)?;
                return Ok(false);
            }
            Err(fault) => Err(fault),
        };
        let text = |()| "from polling to a WebSocket".to_owned();
        self.report("upgrade", Step::WebSocket, upgraded, text)
    }

    /// A WebSocket from the start.
    async fn websocket(&mut self) -> anyhow::Result<bool> {
        let sessions = &self.plan.sessions;
        // Without polling, this is the first request.
        let opened = match self.plan.polling {
            true => sessions.websocket().await,
            false => self.retry(async || sessions.websocket().await).await,
        };
        let opened = match opened {
            Ok(session) => {
                session.close().await;
                Ok(())
            }
            Err(fault) => Err(fault),
        };
        let text = |()| "connected without polling".to_owned();
        self.report("websocket", Step::WebSocket, opened, text)
    }

    /// Whether browsers allow pages of other sites to connect.
    async fn cors(&mut self) -> anyhow::Result<()> {
        let asked = self.plan.origin.as_deref();
        let origin = HeaderValue::from_str(asked.unwrap_or("https://doctor.invalid"));
        let path = self.plan.sessions.target.endpoint().path();
        let mut request = Request::get(format!("{path}?EIO=4&transport=polling&sid=doctor"));
        request.headers.extend(origin.map(|origin| (header::ORIGIN, origin)));
        let what = "a request of another site's page";
        let response = match request.send(&self.plan.sessions.connector, what, TIMEOUT).await {
            Ok(response) => response,
            Err(fault) => return self.fail("cors", Step::Polling, &fault),
        };
        let (outcome, text, fix) = cors::evaluate(&response, asked, self.cookie_required);
        self.failed += usize::from(outcome == Outcome::Failed);
        self.printer.line(outcome, "cors", &text, fix)
    }

    /// Holds a session of each working kind, all at the same time.
    async fn hold(&mut self) -> anyhow::Result<()> {
        let (limit, sessions) = (self.plan.hold, &self.plan.sessions);
        let polling = async { hold::polling(sessions.polling().await?, limit).await };
        let upgraded = async {
            match sessions.upgraded().await? {
                Some(session) => hold::websocket(session, limit).await,
                None => Ok(Duration::ZERO),
            }
        };
        let websocket = async { hold::websocket(sessions.websocket().await?, limit).await };
        let (polling, upgraded, websocket) = tokio::join!(
            when(self.working.polling, polling),
            when(self.working.upgrade, upgraded),
            when(self.working.websocket, websocket),
        );
        for (kind, held) in
            [("by polling", polling), ("upgraded", upgraded), ("by WebSocket", websocket)]
        {
            let Some(held) = held else { continue };
            let text = |held| {
                let held = humantime::format_duration(seconds(held));
                format!("{kind} for {held}, heartbeats answered")
            };
            self.report("hold", Step::Hold, held, text)?;
        }
        Ok(())
    }

    /// Opens new sessions of each working kind after the earlier ones ended.
    async fn reconnect(&mut self) -> anyhow::Result<()> {
        let sessions = &self.plan.sessions;
        let reconnect = async {
            let mut kinds = Vec::new();
            if self.working.polling {
                sessions.polling().await?.close().await;
                kinds.push("polling");
            }
            if self.working.upgrade {
                if let Some(session) = sessions.upgraded().await? {
                    session.close().await;
                }
                kinds.push("upgrade");
            }
            if self.working.websocket {
                sessions.websocket().await?.close().await;
                kinds.push("WebSocket");
            }
            Ok(kinds)
        };
        let reconnected = reconnect.await;
        if matches!(&reconnected, Ok(kinds) if kinds.is_empty()) {
            return Ok(());
        }
        self.report("reconnect", Step::Polling, reconnected, |kinds| kinds.join(", "))?;
        Ok(())
    }

    /// Repeats `attempt` after temporary faults, as long as the service may be starting.
    async fn retry<T>(&self, attempt: impl AsyncFn() -> Result<T, Fault>) -> Result<T, Fault> {
        let deadline = Instant::now() + self.plan.wait;
        let mut backoff = Backoff::default();
        loop {
            match attempt().await {
                Err(fault) if fault.is_temporary() => {
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

    /// Prints the result of a check, and returns whether it passed.
    fn report<T>(
        &mut self,
        check: &str,
        step: Step,
        result: Result<T, Fault>,
        text: impl FnOnce(T) -> String,
    ) -> anyhow::Result<bool> {
        match result {
            Ok(found) => {
                self.printer.line(Outcome::Passed, check, &text(found), None)?;
                Ok(true)
            }
            Err(fault) => {
                self.fail(check, step, &fault)?;
                Ok(false)
            }
        }
    }

    /// Prints a failed check with its fix.
    fn fail(&mut self, check: &str, step: Step, fault: &Fault) -> anyhow::Result<()> {
        self.failed += 1;
        let fix = self.advisor.fix(step, fault);
        self.printer.line(Outcome::Failed, check, &fault.to_string(), Some(&fix))
    }
}

async fn when<T>(condition: bool, future: impl Future<Output = T>) -> Option<T> {
    if condition { Some(future.await) } else { None }
}
