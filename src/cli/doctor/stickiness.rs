//! [`Stickiness`]: whether the requests of a polling session reach the same server.

use std::fmt;

use super::fault::Fault;
use super::transport::polling::PollingSession;
use super::transport::sessions::Sessions;

/// The number of sessions that must all stay with their server. Each makes four requests: with two
/// servers and random routing, all of them pass once in 10^7 runs.
const SESSIONS: usize = 8;

/// The number of sessions that are tried without their cookie.
const SESSIONS_WITHOUT_COOKIE: usize = 4;

/// How sessions stay with their server.
pub(super) struct Stickiness {
    /// The names of the cookies that are set.
    cookies: Vec<String>,
    /// Whether a session without its cookies was lost: whether there are several servers.
    pub(super) cookie_required: bool,
}

impl Stickiness {
    /// Opens several sessions by polling, with and without their cookies.
    ///
    /// # Errors
    /// When a session with its cookies fails, usually with [`Fault::UnknownSession`].
    pub(super) async fn check(sessions: &Sessions) -> Result<Stickiness, Fault> {
        let mut cookies = Vec::new();
        for _ in 0..SESSIONS {
            let session = sessions.polling().await?;
            cookies = session.cookies.names().into_iter().map(str::to_owned).collect();
            session.close().await;
        }
        let cookie_required = !cookies.is_empty() && is_lost_without_cookie(sessions).await;
        Ok(Stickiness { cookies, cookie_required })
    }
}

impl fmt::Display for Stickiness {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{SESSIONS} sessions kept their server")?;
        let cookies = self.cookies.join("`, `");
        match (cookies.is_empty(), self.cookie_required) {
            (false, true) => write!(f, " by the cookie `{cookies}`; without it, one was lost"),
            (false, false) => {
                write!(f, ", even without the cookie `{cookies}`: there is only one server")
            }
            (true, _) => write!(
                f,
                ", and no cookie was set: there is only one server, or clients are routed by their address"
            ),
        }
    }
}

/// Whether a session that does not send its cookie reaches a server that does not know it.
async fn is_lost_without_cookie(sessions: &Sessions) -> bool {
    for _ in 0..SESSIONS_WITHOUT_COOKIE {
        let opened = PollingSession::open(&sessions.connector, &sessions.target).await;
        let Ok(mut session) = opened else { return false };
        let cookies = std::mem::take(&mut session.cookies);
        let connected = session.connect(&sessions.target).await;
        session.cookies = cookies;
        session.close().await;
        if matches!(connected, Err(Fault::UnknownSession { .. })) {
            return true;
        }
    }
    false
}
