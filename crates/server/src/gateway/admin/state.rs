//! The [`Admin`]: what the clients and the task of the admin UI share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use rookery_config as config;
use rookery_config::AdminMode;
use rookery_config::password_hash::PasswordHash;
use rookery_protocol::Room;
use tokio::sync::mpsc;

use super::login::Login;
use crate::hashing::HashMap;
use crate::message::MemberId;
use crate::telemetry::metrics::Disconnected;

/// Admins that may wait to be told of the sockets; more are told with the next change only.
const MAX_NEWCOMERS: usize = 64;

/// What the clients and the task of the admin UI share.
pub struct Admin {
    /// The section `admin` of the configuration.
    pub config: config::Admin,
    /// The namespace of admins.
    pub namespace: Arc<str>,
    /// Who may connect to it.
    pub login: Login,
    /// When the process started, as far as uptime is concerned.
    pub started: Instant,
    newcomers: mpsc::Sender<Room>,
    arrivals: Mutex<Option<mpsc::Receiver<Room>>>,
    departures: Departures,
}

impl Admin {
    /// The admin UI of this configuration.
    pub fn new(config: &config::Admin, hash: PasswordHash) -> Self {
        let (newcomers, arrivals) = mpsc::channel(MAX_NEWCOMERS);
        Admin {
            namespace: config.namespace.as_str().into(),
            login: Login::new(&config.username, hash),
            started: Instant::now(),
            newcomers,
            arrivals: Mutex::new(Some(arrivals)),
            departures: Departures::new(config.max_sockets as usize),
            config: config.clone(),
        }
    }

    /// Whether admins see the sockets.
    pub fn shows_sockets(&self) -> bool {
        self.config.mode == AdminMode::Development
    }

    /// An admin is connected, and has to be told of everything.
    pub fn arrived(&self, admin: &MemberId) {
        if self.newcomers.try_send(admin.room().clone()).is_err() {
            tracing::warn!("too many admins connect at once; one is told only what changes");
        }
    }

    /// The admins that are connected, as they come; once.
    pub fn take_arrivals(&self) -> Option<mpsc::Receiver<Room>> {
        self.arrivals.lock().take()
    }

    /// A member is gone from its namespace.
    pub fn departed(&self, member: &MemberId, reason: Disconnected) {
        self.departures.add(member, reason);
    }

    /// Why the members that are gone since the last call are; from now on, only where somebody is
    /// `watching`.
    pub fn take_departures(&self, watching: bool) -> HashMap<MemberId, Disconnected> {
        self.departures.take(watching)
    }
}

/// Why members are gone, while somebody wants to know.
struct Departures {
    wanted: AtomicBool,
    max: usize,
    reasons: Mutex<HashMap<MemberId, Disconnected>>,
}

impl Departures {
    fn new(max: usize) -> Self {
        Departures { wanted: AtomicBool::new(false), max, reasons: Mutex::default() }
    }

    fn add(&self, member: &MemberId, reason: Disconnected) {
        if !self.wanted.load(Ordering::Relaxed) {
            return;
        }
        let mut reasons = self.reasons.lock();
        if reasons.len() < self.max {
            reasons.entry(member.clone()).or_insert(reason);
        }
    }

    fn take(&self, wanted: bool) -> HashMap<MemberId, Disconnected> {
        self.wanted.store(wanted, Ordering::Relaxed);
        std::mem::take(&mut *self.reasons.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn departures_are_kept_while_somebody_watches_and_up_to_a_bound() {
        let departures = Departures::new(2);
        let add = |id: &str, reason| departures.add(&MemberId::from(id), reason);
        add("a", Disconnected::Client);
        assert!(departures.take(true).is_empty(), "nobody was watching");
        add("a", Disconnected::Drain);
        add("a", Disconnected::Client);
        add("b", Disconnected::Client);
        add("c", Disconnected::Client);
        let taken = departures.take(false);
        assert_eq!(taken.len(), 2);
        assert_eq!(taken[&MemberId::from("a")], Disconnected::Drain, "the first reason stays");
        add("d", Disconnected::Client);
        assert!(departures.take(true).is_empty());
    }
}
