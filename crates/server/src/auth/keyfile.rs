//! [`KeyFile`]: the keys in a file, reloaded when it changes.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::IntCounter;
use rookery_config::files;

use super::keys::KeySet;

/// The largest key file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// A file of keys. It is read when keys are needed, at most once per period, and reloaded if its
/// content differs: mounted secrets change by a symbolic link, so timestamps say nothing.
pub(super) struct KeyFile {
    path: PathBuf,
    kind: Kind,
    /// The least time between two reads.
    period: Duration,
    reloads: KeyReloads,
    state: Mutex<State>,
}

struct State {
    /// When the file was last read.
    read_at: Instant,
    /// The content, or the error, of the last read.
    content: Result<Vec<u8>, String>,
    /// The keys of the last valid content.
    keys: Arc<KeySet>,
}

/// Counts the changes of the files of token keys. The default is in no registry.
#[derive(Clone, Debug)]
pub struct KeyReloads {
    /// Changes that were put into effect.
    pub applied: IntCounter,
    /// Times that a file became empty or malformed, or could not be read any more.
    pub refused: IntCounter,
}

impl Default for KeyReloads {
    fn default() -> Self {
        let counter = || IntCounter::new("reloads_total", "Reloads").expect("the name is valid");
        KeyReloads { applied: counter(), refused: counter() }
    }
}

/// The kind of keys in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A shared secret, without one trailing newline, of 32 bytes at least.
    Secret,
    /// Public keys in PEM.
    Public,
}

impl Kind {
    /// The key of `auth.jwt` that names the file.
    pub(super) fn config_key(self) -> &'static str {
        match self {
            Kind::Secret => "secretFile",
            Kind::Public => "publicKeyFile",
        }
    }

    fn parse(self, content: &[u8]) -> Result<KeySet, String> {
        match self {
            Kind::Secret => KeySet::secret(files::secret_in(content)?),
            Kind::Public => {
                let text = std::str::from_utf8(content).map_err(|_| "it is not text".to_owned())?;
                KeySet::pem(text)
            }
        }
    }
}

impl KeyFile {
    /// Reads the file for the first time. Blocking I/O.
    ///
    /// # Errors
    /// Fails if the file cannot be read or holds no usable key.
    pub(super) fn open(
        path: &Path,
        kind: Kind,
        period: Duration,
        reloads: KeyReloads,
    ) -> Result<Self, String> {
        let content = read(path)?;
        let keys = kind.parse(&content).map_err(|why| format!("{}: {why}", path.display()))?;
        let state = State { read_at: Instant::now(), content: Ok(content), keys: Arc::new(keys) };
        Ok(KeyFile { path: path.to_owned(), kind, period, reloads, state: Mutex::new(state) })
    }

    /// The keys in the file, at most one period old. While the file cannot be read or holds no usable
    /// key, the previous keys stay in use; that is logged once, and counted.
    pub(super) async fn keys(&self) -> Arc<KeySet> {
        {
            let mut state = self.state.lock();
            if state.read_at.elapsed() < self.period {
                return state.keys.clone();
            }
            state.read_at = Instant::now();
        }
        let path = self.path.clone();
        let content = tokio::task::spawn_blocking(move || read(&path))
            .await
            .unwrap_or_else(|_| Err("reading it panicked".to_owned()));
        self.take(content)
    }

    fn take(&self, content: Result<Vec<u8>, String>) -> Arc<KeySet> {
        let mut state = self.state.lock();
        if state.content != content {
            let (path, key) = (self.path.display(), self.kind.config_key());
            match content.as_deref().map_err(Clone::clone).and_then(|c| self.kind.parse(c)) {
                Ok(keys) => {
                    tracing::info!(file = %path, setting = key, "reloaded token keys");
                    self.reloads.applied.inc();
                    state.keys = Arc::new(keys);
                }
                Err(error) => {
                    self.reloads.refused.inc();
                    tracing::warn!(
                        file = %path, setting = key, error, "cannot reload token keys; the previous keys stay in use"
                    );
                }
            }
            state.content = content;
        }
        state.keys.clone()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut content))
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if content.len() as u64 > MAX_BYTES {
        return Err(format!("{} is larger than {MAX_BYTES} bytes", path.display()));
    }
    Ok(content)
}
