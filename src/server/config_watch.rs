//! Hot reload of the configuration's sections `rooms` and `limits`.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use rookery_config::Config;
use rookery_config::check::check;
use rookery_config::error::ConfigError;
use rookery_config::load::{Sources, text_of};
use rookery_config::tree::key_path;
use rookery_server::telemetry::metrics::Metrics;

use super::file_watcher::FileWatcher;

/// The sections that are applied without a restart.
const RELOADED: [&str; 2] = ["rooms", "limits"];

/// Follows the file of `sources` until `stop`, and publishes `config` with the file's current
/// `rooms` and `limits`. A file that cannot be loaded is logged and counted once, and the previous
/// configuration stays in use. Other keys that changed are logged, by name, as needing a restart.
///
/// Without a file, the configuration stays as it is. The sender is dropped only after `stop`.
pub fn follow(
    sources: Sources,
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    tracker: &TaskTracker,
    stop: CancellationToken,
) -> watch::Receiver<Arc<Config>> {
    let (publish, receiver) = watch::channel(config);
    tracker.spawn(async move {
        let Some(path) = sources.file.clone() else {
            stop.cancelled().await;
            drop(publish);
            return;
        };
        let mut watcher = FileWatcher::new(move || text_of(&path));
        while let Some(text) = stop.run_until_cancelled(watcher.changed()).await {
            // Loading opens the files that the configuration names.
            let sources = sources.clone();
            let load = move || text.and_then(|text| sources.load_text(&text));
            let Ok(loaded) = tokio::task::spawn_blocking(load).await else { break };
            apply(loaded, &publish, &metrics);
        }
    });
    receiver
}

/// Publishes the sections of a loaded configuration that can be applied, or logs why it cannot.
fn apply(
    loaded: Result<Config, ConfigError>,
    publish: &watch::Sender<Arc<Config>>,
    metrics: &Metrics,
) {
    let new = match loaded {
        Ok(new) => new,
        Err(error) => {
            metrics.reloads_refused.inc();
            metrics.config_current.set(0);
            warn!(%error, "cannot reload the configuration; the previous one stays in use");
            return;
        }
    };
    let old = publish.borrow().clone();
    if let Some(reason) = refusal(&old, &new) {
        metrics.reloads_refused.inc();
        metrics.config_current.set(0);
        warn!(error = reason, "cannot reload the configuration; the previous one stays in use");
        return;
    }
    metrics.config_current.set(1);
    let (reloaded, others): (Vec<String>, Vec<String>) =
        differences(&old, &new).into_iter().partition(|key| is_reloaded(key));
    if !others.is_empty() {
        warn!(keys = others.join(" "), "changed configuration keys need a restart");
    }
    if !reloaded.is_empty() {
        let next = Config { rooms: new.rooms, limits: new.limits, ..Config::clone(&old) };
        publish.send_replace(Arc::new(next));
        metrics.reloads_applied.inc();
        info!(keys = reloaded.join(" "), "reloaded the configuration");
    }
}

/// Why the reloaded sections of `new` cannot replace those of `old`. A file that lost its rules, for
/// example because it was emptied, must not open every room.
fn refusal(old: &Config, new: &Config) -> Option<String> {
    if !old.rooms.is_empty() && new.rooms.is_unset() {
        let text =
            "`rooms` is gone, which would open every room; write `rooms: open` if that is meant";
        return Some(text.to_owned());
    }
    let merged = Config { rooms: new.rooms.clone(), limits: new.limits.clone(), ..old.clone() };
    let problems = check(&merged);
    let sentences: Vec<String> = problems.into_iter().map(|problem| problem.text).collect();
    (!sentences.is_empty()).then(|| sentences.join("; "))
}

fn is_reloaded(key: &str) -> bool {
    let section = key.split('.').next().unwrap_or(key);
    RELOADED.contains(&section)
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
    use std::time::Duration;

    use super::*;

    struct Fixture {
        _dir: tempfile::TempDir,
        path: PathBuf,
        sources: Sources,
        watcher: FileWatcher<Result<String, ConfigError>>,
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
            let watched = path.clone();
            let watcher = FileWatcher::new(move || text_of(&watched));
            let metrics = Metrics::new().unwrap();
            Fixture { _dir: dir, path, sources, watcher, publish, metrics }
        }

        /// Writes the file and reads it until it has settled; returns how often it was loaded.
        fn write(&mut self, text: &str) -> usize {
            std::fs::write(&self.path, text).unwrap();
            self.read(4)
        }

        fn read(&mut self, times: usize) -> usize {
            let mut loads = 0;
            for _ in 0..times {
                if let Some(text) = self.watcher.observe(text_of(&self.path)) {
                    loads += 1;
                    let loaded = text.and_then(|text| self.sources.load_text(&text));
                    apply(loaded, &self.publish, &self.metrics);
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
        f.read(4);
        assert_eq!(f.outcomes(), (0, 0), "the configuration of the start is not a change");
        f.write("limits: { connections: 2 }\nrooms: [{ match: \"{a}\", join: \"true\" }]\n");
        assert_eq!(f.outcomes(), (1, 0));
        assert_eq!(f.config().limits.connections.get(), 2);
        assert_eq!(f.config().rooms.len(), 1);
    }

    #[test]
    fn a_malformed_file_is_counted_once_and_the_previous_configuration_stays() {
        let mut f = Fixture::new("limits: { connections: 1 }\n");
        assert_eq!(f.write("limits: { conections: 2 }\n"), 1);
        f.read(10);
        assert_eq!(f.outcomes(), (0, 1));
        assert_eq!(f.config().limits.connections.get(), 1);
        f.write("limits: { connections: 3 }\n");
        assert_eq!(f.outcomes(), (1, 1));
        assert_eq!(f.config().limits.connections.get(), 3);
    }

    #[test]
    fn a_file_that_is_being_written_is_not_loaded() {
        let mut f = Fixture::new("rooms: [{ match: \"{a}\", join: \"false\" }]\n");
        f.read(4);
        std::fs::write(&f.path, "").unwrap();
        assert_eq!(f.read(1), 0);
        std::fs::write(&f.path, "rooms: [{ match: \"{b}\", join: \"false\" }]\n").unwrap();
        assert_eq!(f.read(1), 0);
        assert_eq!(f.read(1), 1);
        assert_eq!(f.config().rooms[0].pattern, "{b}");
    }

    #[test]
    fn a_file_that_lost_its_rules_opens_no_room() {
        let mut f = Fixture::new("rooms: [{ match: \"{a}\", join: \"false\" }]\n");
        for (n, lost) in
            ["", "limits: { connections: 2 }\n", "rooms:\n", "# rooms\n", "rooms: []\n"]
                .into_iter()
                .enumerate()
        {
            f.write(lost);
            assert_eq!(f.outcomes(), (0, n as u64 + 1), "{lost:?}");
            assert_eq!(f.config().rooms.len(), 1);
            assert_eq!(f.metrics.config_current.get(), 0);
        }
        f.write("rooms: [{ match: \"{a}\", join: }]\n");
        assert_eq!(f.outcomes(), (0, 6), "a key without a value allows nobody by mistake");
        f.write("rooms: open\n");
        assert_eq!(f.outcomes(), (1, 6));
        assert!(f.config().rooms.is_empty());
        f.write("");
        assert_eq!(f.outcomes(), (2, 6), "the rooms were open");
    }

    #[test]
    fn a_removed_file_is_refused_and_may_be_restored() {
        let mut f = Fixture::new("limits: { connections: 1 }\n");
        std::fs::remove_file(&f.path).unwrap();
        f.read(10);
        assert_eq!(f.outcomes(), (0, 1));
        f.write("limits: { connections: 1 }\n");
        assert_eq!(f.outcomes(), (0, 1), "it is restored unchanged");
    }

    #[test]
    fn other_keys_need_a_restart() {
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
    async fn the_task_publishes_until_it_is_stopped() {
        let f = Fixture::new("limits: { connections: 1 }\n");
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let metrics = Arc::new(Metrics::new().unwrap());
        let sources = Sources::file(&f.path);
        let mut seen = follow(sources, f.config(), metrics.clone(), &tracker, stop.clone());
        std::fs::write(&f.path, "limits: { connections: 7 }\n").unwrap();
        let deadline = Duration::from_secs(30);
        tokio::time::timeout(deadline, seen.changed()).await.unwrap().unwrap();
        assert_eq!(seen.borrow().limits.connections.get(), 7);
        stop.cancel();
        tracker.close();
        tokio::time::timeout(deadline, tracker.wait()).await.unwrap();
        assert!(seen.changed().await.is_err());
    }

    #[tokio::test]
    async fn without_a_file_the_configuration_never_changes() {
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
