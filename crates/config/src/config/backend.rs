//! The section `backend`: the application's HTTP backend.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::redacted::redacted;
use crate::units::{Period, Size};

/// The application's HTTP backend, which webhooks call.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backend {
    /// The URL that webhooks are posted to.
    pub url: String,
    /// The client events that are sent to the backend, of those that no rule of `events` handles:
    /// names in which `*` stands for any text.
    #[serde(default = "Backend::default_events")]
    pub events: Vec<String>,
    /// The webhooks that are called.
    #[serde(default = "Backend::default_hooks")]
    pub hooks: Vec<Hook>,
    /// How long a client waits for the backend's answer to a connect or an event, the time until
    /// the request is sent included.
    #[serde(default = "Backend::default_timeout")]
    pub timeout: Period,
    /// The file that holds the key that signs requests. Without it, they are not signed.
    pub signing_key_file: Option<PathBuf>,
    /// The file that holds the certificates of the authorities that alone are trusted for `url`, in
    /// PEM. By default those of the system are.
    pub ca_file: Option<PathBuf>,
    /// Connects and events that the backend handles at the same time, per instance. Of one client
    /// it is one.
    #[serde(default = "Backend::default_max_in_flight")]
    pub max_in_flight: u32,
    /// Connects and events that wait until fewer than `maxInFlight` are with the backend; further
    /// ones are refused at once.
    #[serde(default = "Backend::default_queue")]
    pub queue: u32,
    /// The largest reply that is read.
    #[serde(default = "Backend::default_max_reply")]
    pub max_reply: Size,
    /// Disconnects that wait to be sent, or to be sent again, per instance; further ones are
    /// dropped and counted. As many events of rooms may wait too; what happens in rooms meanwhile is
    /// told when there is space again.
    #[serde(default = "Backend::default_retry_queue")]
    pub retry_queue: u32,
    /// How long a disconnect, or an event of a room, that the backend does not accept is sent again;
    /// then it is dropped and counted.
    #[serde(default = "Backend::default_retry_for")]
    pub retry_for: Period,
    /// How long nobody must have been in a room before the backend is told that it is vacated, so
    /// that a reconnect is no event.
    #[serde(default = "Backend::default_vacated_delay")]
    pub vacated_delay: Period,
}

/// A kind of webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Hook {
    /// A client connects to a namespace.
    Connect,
    /// A client sends an event that no rule of `events` handles.
    Event,
    /// A client that was let in is gone.
    Disconnect,
    /// What happens in rooms whose rule has `hooks`.
    Rooms,
}

impl Hook {
    /// Every kind, in declaration order.
    pub const ALL: [Hook; 4] = [Hook::Connect, Hook::Event, Hook::Disconnect, Hook::Rooms];

    /// The kind as it is written in the configuration, in requests and in the label `hook` of metrics.
    pub fn label(self) -> &'static str {
        match self {
            Hook::Connect => "connect",
            Hook::Event => "event",
            Hook::Disconnect => "disconnect",
            Hook::Rooms => "rooms",
        }
    }
}

impl Backend {
    /// The backend at `url`, with the defaults.
    pub fn at(url: String) -> Self {
        Backend {
            url,
            events: Self::default_events(),
            hooks: Self::default_hooks(),
            timeout: Self::default_timeout(),
            signing_key_file: None,
            ca_file: None,
            max_in_flight: Self::default_max_in_flight(),
            queue: Self::default_queue(),
            max_reply: Self::default_max_reply(),
            retry_queue: Self::default_retry_queue(),
            retry_for: Self::default_retry_for(),
            vacated_delay: Self::default_vacated_delay(),
        }
    }

    /// Whether a kind of webhook is called.
    pub fn has(&self, hook: Hook) -> bool {
        self.hooks.contains(&hook)
    }

    /// The URL with its user and password replaced by `***`, and without its query, for logs.
    pub fn redacted_url(&self) -> String {
        let url = redacted(&self.url);
        url.split('?').next().unwrap_or(&url).to_owned()
    }

    fn default_events() -> Vec<String> {
        vec!["*".to_owned()]
    }

    fn default_hooks() -> Vec<Hook> {
        Hook::ALL.to_vec()
    }

    fn default_timeout() -> Period {
        Period(Duration::from_secs(5))
    }

    fn default_max_in_flight() -> u32 {
        256
    }

    fn default_queue() -> u32 {
        1024
    }

    fn default_max_reply() -> Size {
        Size(1 << 20)
    }

    fn default_retry_queue() -> u32 {
        10_000
    }

    fn default_retry_for() -> Period {
        Period(Duration::from_secs(600))
    }

    fn default_vacated_delay() -> Period {
        Period(Duration::from_secs(3))
    }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Backend")
            .field("url", &self.redacted_url())
            .field("events", &self.events)
            .field("hooks", &self.hooks)
            .field("timeout", &self.timeout)
            .field("signing_key_file", &self.signing_key_file)
            .field("ca_file", &self.ca_file)
            .field("max_in_flight", &self.max_in_flight)
            .field("queue", &self.queue)
            .field("max_reply", &self.max_reply)
            .field("retry_queue", &self.retry_queue)
            .field("retry_for", &self.retry_for)
            .field("vacated_delay", &self.vacated_delay)
            .finish()
    }
}
