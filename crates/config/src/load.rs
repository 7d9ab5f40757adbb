//! [`Sources`]: the file, flags and environment that a configuration is loaded from.

use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::config::{Config, Redis};
use crate::error::{ConfigError, Problem};
use crate::tree::Node;
use crate::{check, files, typed};

/// The largest configuration, in bytes: four times what fits into a ConfigMap.
const MAX_BYTES: usize = 4 << 20;

/// A configuration's file, and the flags and environment variables that override it. Hot reload
/// loads from the same sources again.
#[derive(Clone, Default)]
pub struct Sources {
    /// The path of the YAML file; without one, every key has its default.
    pub file: Option<PathBuf>,
    /// Overrides `listen`.
    pub listen: Option<SocketAddr>,
    /// Overrides `internal`.
    pub internal: Option<SocketAddr>,
    /// Overrides `redis.url`, or `redis.addresses` and `redis.mode`; without a `redis` section in
    /// the file, its other keys have their defaults.
    pub redis: Option<String>,
}

impl Sources {
    /// Creates sources with only a file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Sources { file: Some(path.into()), ..Sources::default() }
    }

    /// Reads the file, applies the overrides, and checks everything, including the files that the
    /// configuration names. Blocking I/O.
    ///
    /// # Errors
    /// Returns everything that is wrong: see [`check::check`] and [`files::check_files`].
    pub fn load(&self) -> Result<Config, ConfigError> {
        self.read()?.check_all()
    }

    /// As [`Sources::load`], with `text` as the content of the file.
    ///
    /// # Errors
    /// As [`Sources::load`].
    pub fn load_text(&self, text: &str) -> Result<Config, ConfigError> {
        self.read_text(text)?.check_all()
    }

    /// As [`Sources::load`], but does not open the files that the configuration names.
    ///
    /// # Errors
    /// As [`Sources::load`].
    pub fn load_without_files(&self) -> Result<Config, ConfigError> {
        let read = self.read()?;
        let problems = check::check(&read.config);
        read.finish(problems)
    }

    /// As [`Sources::load_text`], but does not open the files that the configuration names, and
    /// returns the configuration with its problems if its keys and types are right.
    ///
    /// # Errors
    /// Fails for malformed YAML, unknown keys and values of a wrong type.
    pub fn judge_text(&self, text: &str) -> Result<(Config, Vec<Problem>), ConfigError> {
        let read = self.read_text(text)?;
        let problems = check::check(&read.config);
        Ok((read.config, problems))
    }

    fn read(&self) -> Result<Read, ConfigError> {
        match &self.file {
            None => self.read_text(""),
            Some(path) => self.read_text(&text_of(path)?),
        }
    }

    fn read_text(&self, text: &str) -> Result<Read, ConfigError> {
        let name = match &self.file {
            None => "the command line".to_owned(),
            Some(path) => path.display().to_string(),
        };
        let mut read = parse(&name, text)?;
        self.apply(&mut read.config);
        read.overridden = self.overridden();
        Ok(read)
    }

    /// The keys that are overridden, and by what.
    fn overridden(&self) -> Vec<(&'static str, &'static str)> {
        let all = [
            ("listen", "`--listen` or ROOKERY_LISTEN", self.listen.is_some()),
            ("internal", "`--internal` or ROOKERY_INTERNAL", self.internal.is_some()),
            ("redis.url", "`--redis` or ROOKERY_REDIS", self.redis.is_some()),
        ];
        let set = all.into_iter().filter(|(.., is_set)| *is_set);
        set.map(|(key, by, _)| (key, by)).collect()
    }

    fn apply(&self, config: &mut Config) {
        config.listen = self.listen.unwrap_or(config.listen);
        config.internal = self.internal.unwrap_or(config.internal);
        if let Some(url) = &self.redis {
            match &mut config.redis {
                Some(redis) => {
                    redis.url.clone_from(url);
                    redis.forget_where_it_is();
                }
                None => config.redis = Some(Redis::at(url.clone())),
            }
        }
    }
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let redis = self.redis.as_ref().map(|url| Redis::at(url.clone()).redacted_url());
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("listen", &self.listen)
            .field("internal", &self.internal)
            .field("redis", &redis)
            .finish()
    }
}

/// A configuration whose keys and types are right, with what messages about it need.
struct Read {
    name: String,
    config: Config,
    node: Node,
    overridden: Vec<(&'static str, &'static str)>,
}

impl Read {
    fn check_all(self) -> Result<Config, ConfigError> {
        let mut problems = check::check(&self.config);
        problems.extend(files::check_files(&self.config));
        self.finish(problems)
    }

    fn finish(self, mut problems: Vec<Problem>) -> Result<Config, ConfigError> {
        if problems.is_empty() {
            return Ok(self.config);
        }
        for problem in &mut problems {
            let key = problem.key.as_deref();
            if let Some((_, by)) = self.overridden.iter().find(|(k, _)| Some(*k) == key) {
                problem.text += &format!(" (set by {by})");
            }
        }
        Err(ConfigError::located(self.name, problems, |key| self.node.line_near(key)))
    }
}

/// Reads the text of the configuration file. Blocking I/O.
///
/// # Errors
/// Fails if the file cannot be read, or has more than 4 MiB.
pub fn text_of(path: &Path) -> Result<String, ConfigError> {
    let name = || path.display().to_string();
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(text),
        // A character is cut in two.
        Err(_) if text.len() >= MAX_BYTES => Err(too_large(name())),
        Err(error) => Err(ConfigError::whole(
            name(),
            format!("cannot read the configuration file: {error}; check the path and its mode"),
        )),
    }
}

fn too_large(name: String) -> ConfigError {
    let text = format!("is larger than {} MiB: make it smaller", MAX_BYTES >> 20);
    ConfigError::whole(name, text)
}

/// Parses a YAML document and checks its size.
///
/// # Errors
/// Fails for malformed YAML, and for lists, sections and texts that are too large.
pub fn document(name: &str, text: &str) -> Result<Node, ConfigError> {
    let node = Node::parse(text)
        .map_err(|problem| ConfigError { source_name: name.to_owned(), problems: vec![problem] })?;
    match node.oversized() {
        problems if problems.is_empty() => Ok(node),
        problems => Err(ConfigError::located(name, problems, |key| node.line_near(key))),
    }
}

/// Reads keys and types; whether the values make sense together is for [`check::check`].
fn parse(name: &str, text: &str) -> Result<Read, ConfigError> {
    if text.len() > MAX_BYTES {
        return Err(too_large(name.to_owned()));
    }
    let node = document(name, text)?;
    let mut problems = node.duplicates();
    problems.extend(node.rules_without_value());
    match typed::read::<Config>(&node) {
        Ok(config) if problems.is_empty() => {
            Ok(Read { name: name.to_owned(), config, node, overridden: Vec::new() })
        }
        result => {
            problems.extend(result.err().into_iter().flatten());
            Err(ConfigError::located(name, problems, |key| node.line_near(key)))
        }
    }
}

#[cfg(test)]
mod tests;
