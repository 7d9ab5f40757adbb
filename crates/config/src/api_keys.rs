//! [`ApiKeys`]: the keys of the HTTP API.

mod key;
mod line;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

pub use key::{ApiKey, KeyScope};

/// The keys in a file of API keys, one `name:key` per line, after which scopes and limits may
/// follow: `shop:KEY publish rooms=orders:* namespaces=/,/admin`. A key without a scope may do
/// everything. Blank lines and lines that begin with `#` are ignored. Two keys may share a name, so
/// that a key can be rotated without interruption.
///
/// Only SHA-256 hashes of the keys are kept.
#[derive(Clone, Default)]
pub struct ApiKeys {
    keys: Vec<(Arc<ApiKey>, [u8; 32])>,
}

/// Why a file of API keys is refused. No message quotes a line.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeysError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Unreadable {
        /// The path of the file.
        file: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A line is malformed, or repeats a key.
    #[error("{}:{line}: {what}; expected `name:key`, or `name:key publish rooms=orders:*`", file.display())]
    Malformed {
        /// The path of the file.
        file: PathBuf,
        /// The line number, from 1.
        line: usize,
        /// What is wrong with the line.
        what: &'static str,
    },
    /// The file holds no key.
    #[error(
        "{} holds no key, so every request would be refused; write one `name:key` a line, or remove \
         `auth.apiKeysFile`: the API is then served on loopback only", file.display()
    )]
    Empty {
        /// The path of the file.
        file: PathBuf,
    },
}

impl ApiKeys {
    /// Loads the keys from a file. Blocking I/O.
    ///
    /// # Errors
    /// Fails if the file cannot be read, holds no key, or has a malformed line.
    pub fn load(path: &Path) -> Result<ApiKeys, ApiKeysError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ApiKeysError::Unreadable { file: path.to_owned(), source })?;
        let keys = Self::from_text(path, &text)?;
        if keys.count() == 0 {
            return Err(ApiKeysError::Empty { file: path.to_owned() });
        }
        Ok(keys)
    }

    /// Parses the text of the file at `path`, which errors name. A text without a key is valid: an
    /// emptied file revokes all keys.
    ///
    /// # Errors
    /// Fails if a line is malformed.
    pub fn from_text(path: &Path, text: &str) -> Result<ApiKeys, ApiKeysError> {
        Self::parse(text).map_err(|(line, what)| ApiKeysError::Malformed {
            file: path.to_owned(),
            line,
            what,
        })
    }

    /// What the owner of `secret` may do; `None` if it is no key. Takes the same time for any text
    /// of a length: its hash is compared in full with every known hash.
    pub fn find(&self, secret: &str) -> Option<&Arc<ApiKey>> {
        let hash: [u8; 32] = Sha256::digest(secret).into();
        let mut found = None;
        for (key, known) in &self.keys {
            let difference = known.iter().zip(&hash).fold(0, |acc, (a, b)| acc | (a ^ b));
            if difference == 0 {
                found = Some(key);
            }
        }
        found
    }

    /// The number of keys.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    fn parse(text: &str) -> Result<ApiKeys, (usize, &'static str)> {
        let mut keys: Vec<(Arc<ApiKey>, [u8; 32])> = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, secret) = line::parse(line).map_err(|what| (i + 1, what))?;
            let hash: [u8; 32] = Sha256::digest(secret).into();
            if keys.iter().any(|(_, known)| *known == hash) {
                return Err((i + 1, "the key repeats an earlier one"));
            }
            keys.push((Arc::new(key), hash));
        }
        Ok(ApiKeys { keys })
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(key, _)| key)).finish()
    }
}

#[cfg(test)]
mod tests;
