//! [`KeyFile`]: keys in a file, read again when it changes.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::keys::KeySet;

/// The largest key file.
const MAX_BYTES: u64 = 1 << 20;

/// A file of keys. What it holds is looked at when keys are asked for, at most once in a period;
/// contents are compared, since mounted secrets change by a symbolic link.
pub(super) struct KeyFile {
    path: PathBuf,
    kind: Kind,
    period: Duration,
    state: Mutex<State>,
}

struct State {
    looked: Instant,
    /// What was read last, good or bad.
    content: Result<Vec<u8>, String>,
    /// The last good keys.
    keys: Arc<KeySet>,
}

/// What a key file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A shared secret; a trailing newline is no part of it.
    Secret,
    /// Public keys in PEM.
    Public,
}

impl Kind {
    /// Where the configuration names the file.
    pub(super) fn config_key(self) -> &'static str {
        match self {
            Kind::Secret => "secretFile",
            Kind::Public => "publicKeyFile",
        }
    }

    fn parse(self, content: &[u8]) -> Result<KeySet, String> {
        match self {
            Kind::Secret => {
                let line = content.strip_suffix(b"\n").unwrap_or(content);
                KeySet::secret(line.strip_suffix(b"\r").filter(|_| line != content).unwrap_or(line))
            }
            Kind::Public => {
                let text = std::str::from_utf8(content).map_err(|_| "it is no text".to_owned())?;
                KeySet::pem(text)
            }
        }
    }
}

impl KeyFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// It cannot be read, or holds no usable key.
    pub(super) fn open(path: &Path, kind: Kind, period: Duration) -> Result<Self, String> {
        let content = read(path)?;
        let keys = kind.parse(&content).map_err(|why| format!("{}: {why}", path.display()))?;
        let state = State { looked: Instant::now(), content: Ok(content), keys: Arc::new(keys) };
        Ok(KeyFile { path: path.to_owned(), kind, period, state: Mutex::new(state) })
    }

    /// The keys of the file as it is now, or was within the period. While it cannot be read or
    /// holds no key, the last good ones stay, and a warning says so once.
    pub(super) async fn keys(&self) -> Arc<KeySet> {
        {
            let mut state = self.state.lock();
            if state.looked.elapsed() < self.period {
                return state.keys.clone();
            }
            state.looked = Instant::now();
        }
        let path = self.path.clone();
        let content = tokio::task::spawn_blocking(move || read(&path))
            .await
            .unwrap_or_else(|_| Err("reading was broken off".to_owned()));
        self.take(content)
    }

    fn take(&self, content: Result<Vec<u8>, String>) -> Arc<KeySet> {
        let mut state = self.state.lock();
        if state.content != content {
            let (path, key) = (self.path.display(), self.kind.config_key());
            match content.as_deref().map_err(Clone::clone).and_then(|c| self.kind.parse(c)) {
                Ok(keys) => {
                    tracing::info!(file = %path, setting = key, "the keys for tokens were read again");
                    state.keys = Arc::new(keys);
                }
                Err(error) => {
                    tracing::warn!(
                        file = %path, setting = key, error, "the changed keys for tokens are refused; the keys before stay"
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
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    if content.len() as u64 > MAX_BYTES {
        return Err(format!("{} is larger than {MAX_BYTES} bytes", path.display()));
    }
    Ok(content)
}
