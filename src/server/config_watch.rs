//! Hot reload: `rooms` and `limits` follow the file while the server runs.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use rookery_config::Config;
use rookery_config::error::ConfigError;
use rookery_config::load::{Sources, text_of};
use rookery_config::tree::key_path;
use rookery_server::telemetry::metrics::Metrics;

/// How often the file is read. A new text counts when two readings in a row saw it, so that a
/// file which is just being written is never taken for a whole one: an empty file is a valid
/// configuration, in which every room is open.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The sections that are applied without a restart.
const RELOADED: [&str; 2] = ["rooms", "limits"];

/// Follows the file of `sources` until `stop`, and hands out `config` with the file's newest
/// `rooms` and `limits`. A bad file is logged and counted once, and what held before stays. Other
/// keys that changed are logged, by name, as needing a restart.
///
/// Without a file the configuration stays as it is. The receiver sees its sender end only
/// after `stop`.
pub fn follow(
    sources: Sources,
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    tracker: &TaskTracker,
    stop: CancellationToken,
) -> watch::Receiver<Arc<Config>> {
    let (publish, receiver) = watch::channel(config);
    let eye = Eye { sources, judged: None, candidate: None };
    tracker.spawn(async move {
        // Dropping what runs here only loses a look.
        let _ = stop.run_until_cancelled(look_for_ever(eye, &publish, &metrics)).await;
    });
    receiver
}

async fn look_for_ever(mut eye: Eye, publish: &watch::Sender<Arc<Config>>, metrics: &Metrics) {
    if eye.sources.file.is_none() {
        return std::future::pending().await;
    }
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let look = move || {
            let seen = eye.look();
            (eye, seen)
        };
        let Ok((back, seen)) = tokio::task::spawn_blocking(look).await else {
            // Only when the runtime is going down.
            return;
        };
        eye = back;
        if let Some(loaded) = seen {
            judge(loaded, publish, metrics);
        }
    }
}

/// Applies what was read, or says why not.
fn judge(
    loaded: Result<Config, ConfigError>,
    publish: &watch::Sender<Arc<Config>>,
    metrics: &Metrics,
) {
    let new = match loaded {
        Ok(new) => new,
        Err(error) => {
            metrics.reloads_refused.inc();
            metrics.config_current.set(0);
            warn!(%error, "the changed configuration is refused; the one before stays");
            return;
        }
    };
    metrics.config_current.set(1);
    let old = publish.borrow().clone();
    let (reloaded, others): (Vec<String>, Vec<String>) =
        differences(&old, &new).into_iter().partition(|key| is_reloaded(key));
    if !others.is_empty() {
        warn!(keys = others.join(" "), "the configuration has changes that need a restart");
    }
    if !reloaded.is_empty() {
        let next = Config { rooms: new.rooms, limits: new.limits, ..Config::clone(&old) };
        publish.send_replace(Arc::new(next));
        metrics.reloads_applied.inc();
        info!(keys = reloaded.join(" "), "the changed configuration is applied");
    }
}

fn is_reloaded(key: &str) -> bool {
    let section = key.split('.').next().unwrap_or(key);
    RELOADED.contains(&section)
}

/// Reads the file again and again.
struct Eye {
    sources: Sources,
    /// The text, or the failure to read it, that was loaded last.
    judged: Option<Result<String, ConfigError>>,
    /// What was seen once since.
    candidate: Option<Result<String, ConfigError>>,
}

impl Eye {
    /// Loads the file when it has changed and has not changed since the last look.
    fn look(&mut self) -> Option<Result<Config, ConfigError>> {
        let path = self.sources.file.as_deref()?;
        let seen = Some(text_of(path));
        if seen == self.judged {
            self.candidate = None;
            return None;
        }
        if seen != self.candidate {
            self.candidate = seen;
            return None;
        }
        self.candidate = None;
        self.judged = seen;
        self.judged.clone().map(|text| self.sources.load_text(&text?))
    }
}

/// The paths of the keys whose values differ.
fn differences(old: &Config, new: &Config) -> Vec<String> {
    let mut found = Vec::new();
    let [old, new] = [old, new].map(|config| {
        serde_json::to_value(config).expect("a configuration has only keys that are text")
    });
    compare(&old, &new, "", &mut found);
    found
}

fn compare(old: &Value, new: &Value, path: &str, found: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            let added = after.keys().filter(|key| !before.contains_key(*key));
            for key in before.keys().chain(added) {
                let value = |section: &serde_json::Map<String, Value>| {
                    section.get(key).cloned().unwrap_or(Value::Null)
                };
                compare(&value(before), &value(after), &key_path(path, key), found);
            }
        }
        _ if old != new => found.push(path.to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct Fixture {
        _dir: tempfile::TempDir,
        path: PathBuf,
        eye: Eye,
        publish: watch::Sender<Arc<Config>>,
        metrics: Metrics,
    }

    impl Fixture {
        fn new(text: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("rookery.yaml");
            std::fs::write(&path, text).unwrap();
            let sources = Sources::file(&path);
            let (publish, _) = watch::channel(Arc::new(sources.load().unwrap()));
            let eye = Eye { sources, judged: None, candidate: None };
            Fixture { _dir: dir, path, eye, publish, metrics: Metrics::new().unwrap() }
        }

        /// Writes the file and looks often enough; how many times it was loaded.
        fn write(&mut self, text: &str) -> usize {
            std::fs::write(&self.path, text).unwrap();
            self.look(4)
        }

        fn look(&mut self, times: usize) -> usize {
            let mut loads = 0;
            for _ in 0..times {
                if let Some(loaded) = self.eye.look() {
                    loads += 1;
                    judge(loaded, &self.publish, &self.metrics);
                }
            }
            loads
        }

        fn outcomes(&self) -> (u64, u64) {
            (self.metrics.reloads_applied.get(), self.metrics.reloads_refused.get())
        }

        fn config(&self) -> Arc<Config> {
            self.publish.borrow().clone()
        }
    }

    #[test]
    fn rooms_and_limits_follow_the_file() {
        let mut f = Fixture::new("limits: { connections: 1 }\n");
        f.look(4);
        assert_eq!(f.outcomes(), (0, 0), "the file that was started with is nothing new");
        f.write("limits: { connections: 2 }\nrooms: [{ match: \"{a}\", join: \"true\" }]\n");
        assert_eq!(f.outcomes(), (1, 0));
        assert_eq!(f.config().limits.connections, 2);
        assert_eq!(f.config().rooms.len(), 1);
    }

    #[test]
    fn a_bad_file_is_counted_once_and_the_old_one_stays() {
        let mut f = Fixture::new("limits: { connections: 1 }\n");
        assert_eq!(f.write("limits: { conections: 2 }\n"), 1);
        f.look(10);
        assert_eq!(f.outcomes(), (0, 1));
        assert_eq!(f.config().limits.connections, 1);
        f.write("limits: { connections: 3 }\n");
        assert_eq!(f.outcomes(), (1, 1));
        assert_eq!(f.config().limits.connections, 3);
    }

    #[test]
    fn a_file_that_is_being_written_is_not_taken_for_a_whole_one() {
        let mut f = Fixture::new("rooms: [{ match: \"{a}\", join: \"false\" }]\n");
        f.look(4);
        std::fs::write(&f.path, "").unwrap();
        assert_eq!(f.look(1), 0);
        std::fs::write(&f.path, "rooms: [{ match: \"{b}\", join: \"false\" }]\n").unwrap();
        assert_eq!(f.look(1), 0);
        assert_eq!(f.look(1), 1);
        assert_eq!(f.config().rooms[0].pattern, "{b}");
    }

    #[test]
    fn a_file_that_goes_away_is_refused_and_may_come_back() {
        let mut f = Fixture::new("limits: { connections: 1 }\n");
        std::fs::remove_file(&f.path).unwrap();
        f.look(10);
        assert_eq!(f.outcomes(), (0, 1));
        f.write("limits: { connections: 1 }\n");
        assert_eq!(f.outcomes(), (0, 1), "it came back as it was");
    }

    #[test]
    fn other_keys_wait_for_a_restart() {
        let mut f = Fixture::new("drain: { lead: 1s }\n");
        f.write("drain: { lead: 2s }\nlimits: { queue: 2MiB }\n");
        assert_eq!(f.config().drain.lead.0, Duration::from_secs(1));
        assert_eq!(f.config().limits.queue.0, 2 << 20);
    }

    #[test]
    fn differences_are_named_by_their_keys() {
        let mut new = Config::default();
        new.socketio.cors.credentials = true;
        new.limits.per_ip = Some(Default::default());
        new.namespaces.push("/chat".to_owned());
        assert_eq!(
            differences(&Config::default(), &new),
            ["limits.perIp", "namespaces", "socketio.cors.credentials"]
        );
    }

    #[tokio::test]
    async fn the_task_publishes_and_ends_when_told_to() {
        let f = Fixture::new("limits: { connections: 1 }\n");
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let metrics = Arc::new(Metrics::new().unwrap());
        let sources = Sources::file(&f.path);
        let mut seen = follow(sources, f.config(), metrics.clone(), &tracker, stop.clone());
        std::fs::write(&f.path, "limits: { connections: 7 }\n").unwrap();
        let deadline = Duration::from_secs(30);
        tokio::time::timeout(deadline, seen.changed()).await.unwrap().unwrap();
        assert_eq!(seen.borrow().limits.connections, 7);
        stop.cancel();
        tracker.close();
        tokio::time::timeout(deadline, tracker.wait()).await.unwrap();
        assert!(seen.changed().await.is_err());
    }

    #[tokio::test]
    async fn without_a_file_nothing_changes_until_the_end() {
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let metrics = Arc::new(Metrics::new().unwrap());
        let config = Arc::new(Config::default());
        let mut seen = follow(Sources::default(), config, metrics, &tracker, stop.clone());
        tokio::task::yield_now().await;
        assert!(!seen.has_changed().unwrap());
        stop.cancel();
        assert!(seen.changed().await.is_err());
    }
}
