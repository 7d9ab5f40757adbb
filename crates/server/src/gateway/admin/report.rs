//! The figures of this instance: the event `server_stats`.

use std::sync::Arc;
use std::time::SystemTime;

use rookery_config::Transport;
use rookery_protocol::Data;

use super::aggregated_events::{AggregatedEvents, Totals};
use super::event::{AdminEvent, number, object};
use super::state::Admin;
use crate::gateway::session::Sessions;
use crate::telemetry::metrics::{Disconnected, Metrics};

/// Makes the reports of this instance.
pub struct Figures {
    server_id: String,
    hostname: String,
    aggregated: AggregatedEvents,
}

impl Figures {
    /// Reports of what happens from now on.
    pub fn new(sessions: &Sessions) -> Self {
        let pod = sessions.gateway().broker.pod();
        let uname = rustix::system::uname();
        let hostname = uname.nodename().to_string_lossy().into_owned();
        Figures {
            // Two instances on one host are two servers.
            server_id: format!("{hostname}#{}", &**pod),
            hostname,
            aggregated: AggregatedEvents::since(totals(sessions)),
        }
    }

    /// The figures now, with how many sockets each namespace has here.
    pub fn report(
        &mut self,
        sessions: &Sessions,
        admin: &Admin,
        sockets: &[(Arc<str>, usize)],
    ) -> AdminEvent {
        let metrics = &sessions.gateway().metrics;
        let count = |n: usize| number(n as u64);
        let namespaces = sockets.iter().map(|(name, sockets)| {
            object([("name", Data::from(&**name)), ("socketsCount", count(*sockets))])
        });
        let second = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let aggregated = self.aggregated.take(totals(sessions), second.as_secs());
        let uptime = admin.started.elapsed().as_millis() as f64 / 1000.0;
        let uptime = serde_json::Number::from_f64(uptime).map_or(Data::Null, Data::Number);
        let stats = object([
            ("serverId", self.server_id.as_str().into()),
            ("hostname", self.hostname.as_str().into()),
            ("pid", number(std::process::id())),
            ("uptime", uptime),
            ("clientsCount", number(metrics.sessions())),
            ("pollingClientsCount", number(polling(metrics))),
            ("aggregatedEvents", aggregated),
            ("namespaces", Data::Array(namespaces.collect())),
        ]);
        AdminEvent::new("server_stats", [stats])
    }
}

fn polling(metrics: &Metrics) -> u64 {
    u64::try_from(metrics.connections(Transport::Polling).get()).unwrap_or(0)
}

fn totals(sessions: &Sessions) -> Totals {
    let metrics = &sessions.gateway().metrics;
    let (received, sent) = metrics.clients.totals();
    Totals {
        open: sessions.len() as u64,
        ended: Disconnected::ALL.iter().map(|reason| metrics.disconnects(*reason)).collect(),
        received,
        sent,
    }
}
