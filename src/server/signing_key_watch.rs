//! Hot reload of the key that signs webhooks.

use std::path::PathBuf;

use rookery_config::files::read_signing_key;
use rookery_server::backend::{Backend, SigningKey};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::file_watcher::FileWatcher;

/// Signs with the key in the file at `path` whenever it has changed, until `stop`. While the file
/// cannot be used, the previous key stays in use; that is logged once.
pub async fn follow(path: PathBuf, backend: Backend, stop: CancellationToken) {
    let watched = path.clone();
    let mut watcher =
        FileWatcher::new(move || read_signing_key(&watched).map_err(|error| error.to_string()));
    // The file may have changed between its first load and the first reading, so that is loaded too.
    let mut first = true;
    while let Some(reading) = stop.run_until_cancelled(watcher.changed()).await {
        match reading {
            Ok(key) => {
                backend.set_key(SigningKey::new(&key));
                if !first {
                    info!(file = %path.display(), "reloaded the key that signs webhooks");
                }
            }
            Err(error) => warn!(
                file = %path.display(), error,
                "cannot reload the key that signs webhooks; the previous key stays in use"
            ),
        }
        first = false;
    }
}
