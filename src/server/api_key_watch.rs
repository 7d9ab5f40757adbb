//! Hot reload of the API keys.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rookery_server::telemetry::metrics::Metrics;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use rookery_config::api_keys::ApiKeys;

use super::file_watcher::FileWatcher;

/// Reloads `keys` from the file at `path` when it changes, until `stop`. An emptied file revokes all
/// keys. While the file cannot be read or is malformed, the previous keys stay in use; that is
/// logged once, and counted.
pub async fn follow(
    path: PathBuf,
    keys: Arc<ArcSwap<ApiKeys>>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let watched = path.clone();
    let mut watcher =
        FileWatcher::new(move || std::fs::read_to_string(&watched).map_err(|e| e.to_string()));
    // The file may have changed between its first load and the first reading, so that is loaded too.
    let mut first = true;
    while let Some(reading) = stop.run_until_cancelled(watcher.changed()).await {
        let unreadable = |error| format!("cannot read {}: {error}", path.display());
        let loaded = reading.map_err(unreadable).and_then(|text| {
            ApiKeys::from_text(&path, &text).map_err(|malformed| malformed.to_string())
        });
        match loaded {
            Ok(new) => {
                let count = new.count();
                keys.store(Arc::new(new));
                if count == 0 {
                    warn!(file = %path.display(), "the file of API keys is empty; no key is accepted");
                } else if !first {
                    info!(file = %path.display(), keys = count, "reloaded API keys");
                }
                if !first {
                    metrics.auth.api_keys_applied.inc();
                }
            }
            Err(error) => {
                metrics.auth.api_keys_refused.inc();
                warn!(%error, "cannot reload API keys; the previous keys stay in use");
            }
        }
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Keys of two owners.
    const ONE: &str = "one-0123456789abcdef";
    const TWO: &str = "two-0123456789abcdef";

    /// Waits until `holds`, or fails with `what`.
    async fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(60), async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{what}"));
    }

    #[tokio::test]
    async fn new_keys_replace_the_old_ones_and_an_emptied_file_revokes_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.keys");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write(&format!("a:{ONE}\n"));
        let keys = Arc::new(ArcSwap::from_pointee(ApiKeys::load(&path).unwrap()));
        let metrics = Arc::new(Metrics::new().unwrap());
        let stop = CancellationToken::new();
        let task = tokio::spawn(follow(path.clone(), keys.clone(), metrics.clone(), stop.clone()));
        let accepts = |key: &str| keys.load().find(key).is_some();
        let refused = |n| metrics.auth.api_keys_refused.get() == n;

        write(&format!("b:{TWO}\n"));
        until("the new key is accepted", || accepts(TWO)).await;
        assert!(!accepts(ONE));
        write("no key\n");
        until("a malformed file is counted", || refused(1)).await;
        assert!(accepts(TWO));
        std::fs::remove_file(&path).unwrap();
        until("a missing file is counted", || refused(2)).await;
        assert!(accepts(TWO));
        write("# revoked\n");
        until("no key is accepted", || keys.load().count() == 0).await;
        assert!(!accepts(TWO));
        write(&format!("a:{ONE}\n"));
        until("a new key is accepted", || accepts(ONE)).await;
        stop.cancel();
        task.await.unwrap();
    }
}
