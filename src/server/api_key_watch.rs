//! Hot reload of the API keys.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use rookery_config::api_keys::ApiKeys;

use super::file_watcher::FileWatcher;

/// Reloads `keys` from the file at `path` when it changes, until `stop`. A malformed file is logged
/// once, and the previous keys stay in use.
pub async fn follow(path: PathBuf, keys: Arc<ArcSwap<ApiKeys>>, stop: CancellationToken) {
    let watched = path.clone();
    let mut watcher = FileWatcher::new(move || std::fs::read_to_string(&watched).ok());
    // The file may have changed between its first load and the first reading, so that is loaded too.
    let mut first = true;
    while let Some(text) = stop.run_until_cancelled(watcher.changed()).await {
        let file = path.clone();
        let load = move || match text {
            Some(text) => ApiKeys::from_text(&file, &text),
            None => ApiKeys::load(&file),
        };
        let Ok(loaded) = tokio::task::spawn_blocking(load).await else { break };
        match loaded {
            Ok(new) => {
                if !first {
                    info!(file = %path.display(), keys = new.count(), "reloaded API keys");
                }
                keys.store(Arc::new(new));
            }
            Err(error) => {
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
    async fn new_keys_replace_the_old_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.keys");
        std::fs::write(&path, "a:one\n").unwrap();
        let keys = Arc::new(ArcSwap::from_pointee(ApiKeys::load(&path).unwrap()));
        let stop = CancellationToken::new();
        let task = tokio::spawn(follow(path.clone(), keys.clone(), stop.clone()));
        std::fs::write(&path, "no key\n").unwrap();
        std::fs::write(&path, "b:two\n").unwrap();
        until("the new key is accepted", || keys.load().name_of("two") == Some("b")).await;
        assert_eq!(keys.load().name_of("one"), None);
        stop.cancel();
        task.await.unwrap();
    }
}
