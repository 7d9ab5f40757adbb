//! API keys follow their file while the server runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use rookery_config::api_keys::ApiKeys;

/// How often the file is read. A new text counts when two readings in a row saw it, so that a
/// file which is just being written is never taken for a whole one.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Reads the file again when it changes, until `stop`. A bad file is logged once, and the keys
/// that were there stay.
pub async fn follow(path: PathBuf, keys: Arc<ArcSwap<ApiKeys>>, stop: CancellationToken) {
    // The first settled text is judged too: the file may have changed since it was loaded.
    let mut judged = None;
    let mut candidate = None;
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        let text = Some(tokio::fs::read(&path).await.ok());
        let settled = candidate == text;
        if text == judged || !settled {
            candidate = text;
            continue;
        }
        let first = judged.is_none();
        judged = text;
        match ApiKeys::load(&path) {
            Ok(new) => {
                if !first {
                    let keys = new.count();
                    tracing::info!(file = %path.display(), keys, "the API keys were read again");
                }
                keys.store(Arc::new(new));
            }
            Err(error) => {
                tracing::warn!(%error, "the changed API keys are refused; the keys before stay");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(60), async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{what}"));
    }

    #[tokio::test]
    async fn a_new_file_counts_and_a_bad_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.keys");
        std::fs::write(&path, "a:one\n").unwrap();
        let keys = Arc::new(ArcSwap::from_pointee(ApiKeys::load(&path).unwrap()));
        let stop = CancellationToken::new();
        let task = tokio::spawn(follow(path.clone(), keys.clone(), stop.clone()));
        std::fs::write(&path, "no key\n").unwrap();
        std::fs::write(&path, "b:two\n").unwrap();
        until("the new key counts", || keys.load().name_of("two") == Some("b")).await;
        assert_eq!(keys.load().name_of("one"), None);
        stop.cancel();
        task.await.unwrap();
    }
}
