//! [`ApiKeys`]: the keys of the HTTP API.

use std::fmt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The keys in a file of API keys, one `name:key` per line; blank lines and lines that begin with
/// `#` are ignored. Two keys may share a name, so that a key can be rotated without interruption.
///
/// Only SHA-256 hashes of the keys are kept.
#[derive(Clone)]
pub struct ApiKeys {
    keys: Vec<(String, [u8; 32])>,
}

/// Why a file of API keys is refused. No message quotes a key.
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
    /// A line is not `name:key`, or repeats a key.
    #[error("{}:{line}: {what}; expected `name:key`", file.display())]
    Malformed {
        /// The path of the file.
        file: PathBuf,
        /// The line number, from 1.
        line: usize,
        /// What is wrong with the line.
        what: &'static str,
    },
    /// The file holds no key.
    #[error("{} holds no key; write one `name:key` a line", file.display())]
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
        Self::from_text(path, &text)
    }

    /// Parses the text of the file at `path`, which errors name.
    ///
    /// # Errors
    /// Fails if the text holds no key or has a malformed line.
    pub fn from_text(path: &Path, text: &str) -> Result<ApiKeys, ApiKeysError> {
        Self::parse(text).map_err(|error| match error {
            None => ApiKeysError::Empty { file: path.to_owned() },
            Some((line, what)) => ApiKeysError::Malformed { file: path.to_owned(), line, what },
        })
    }

    /// The name of `key`; `None` if it is unknown. Takes the same time for any key of a length: the
    /// key's hash is compared in full with every known hash.
    pub fn name_of(&self, key: &str) -> Option<&str> {
        let hash: [u8; 32] = Sha256::digest(key).into();
        let mut found = None;
        for (name, known) in &self.keys {
            let difference = known.iter().zip(&hash).fold(0, |acc, (a, b)| acc | (a ^ b));
            if difference == 0 {
                found = Some(name.as_str());
            }
        }
        found
    }

    /// The number of keys, at least 1.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// Parses the keys of a text; `Err(None)` if there is none.
    fn parse(text: &str) -> Result<ApiKeys, Option<(usize, &'static str)>> {
        let mut keys: Vec<(String, [u8; 32])> = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, key) = entry(line).map_err(|what| Some((i + 1, what)))?;
            let hash: [u8; 32] = Sha256::digest(key).into();
            if keys.iter().any(|(_, known)| *known == hash) {
                return Err(Some((i + 1, "the key repeats an earlier one")));
            }
            keys.push((name.to_owned(), hash));
        }
        if keys.is_empty() { Err(None) } else { Ok(ApiKeys { keys }) }
    }
}

fn entry(line: &str) -> Result<(&str, &str), &'static str> {
    let (name, key) = line.split_once(':').ok_or("no `:` between a name and a key")?;
    match (name.trim(), key.trim()) {
        ("", _) => Err("the name is empty"),
        (_, "") => Err("the key is empty"),
        (_, key) if !key.bytes().all(|b| b.is_ascii_graphic()) => {
            Err("the key has blanks or characters that an Authorization header cannot carry")
        }
        pair => Ok(pair),
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(name, _)| (name, "***"))).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_whole_key_has_its_name() {
        let keys = ApiKeys::parse("# keys\n\nbilling:s3cret\nshop: a:b \r\n").unwrap();
        assert_eq!(keys.count(), 2);
        assert_eq!(keys.name_of("s3cret"), Some("billing"));
        assert_eq!(keys.name_of("a:b"), Some("shop"));
        for wrong in ["", "s3cre", "s3cret\n", "billing", "billing:s3cret", "S3cret"] {
            assert_eq!(keys.name_of(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn debug_output_hides_keys() {
        let shown = format!("{:?}", ApiKeys::parse("billing:s3cret").unwrap());
        assert!(shown.contains("billing") && !shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn errors_name_malformed_lines_without_their_key() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for (text, line) in [
            ("a:k\nnonsense", 2),
            (":k", 1),
            ("a:", 1),
            ("a:k k", 1),
            ("a:secret\n# x\nb:secret", 3),
        ] {
            file.as_file().set_len(0).unwrap();
            std::io::Seek::rewind(&mut file).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let error = ApiKeys::load(file.path()).unwrap_err().to_string();
            let place = format!("{}:{line}: ", file.path().display());
            assert!(error.starts_with(&place), "{text:?}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_missing_or_empty_file_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(ApiKeys::load(file.path()), Err(ApiKeysError::Empty { .. })));
        let missing = ApiKeys::load(Path::new("/nowhere/keys")).unwrap_err();
        assert!(missing.to_string().contains("/nowhere/keys"), "{missing}");
    }

    proptest! {
        #[test]
        fn every_key_in_the_file_is_found(keys in proptest::collection::hash_set("[!-~]{1,40}", 1..20)) {
            let text: String = keys.iter().map(|key| format!("name:{key}\n")).collect();
            let known = ApiKeys::parse(&text).unwrap();
            for key in &keys {
                prop_assert_eq!(known.name_of(key), Some("name"));
                let shorter = &key[..key.len() - 1];
                prop_assert_eq!(known.name_of(shorter).is_some(), keys.contains(shorter));
            }
        }
    }
}
