//! [`Sources`]: where a configuration comes from, and how it is read.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, Problem};
use super::tree::Node;
use super::{Config, Redis, check, files, typed};

/// A configuration's file, and what the command line and the environment say over it.
///
/// Cheap to keep: hot reload reads through the same sources again.
#[derive(Clone, Default)]
pub struct Sources {
    /// The YAML file; without one, everything has its default.
    pub file: Option<PathBuf>,
    /// Beats `listen`.
    pub listen: Option<SocketAddr>,
    /// Beats `internal`.
    pub internal: Option<SocketAddr>,
    /// Beats `redis.url`; where the file has no `redis` section, it is all of it.
    pub redis: Option<String>,
}

impl Sources {
    /// A file alone.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Sources { file: Some(path.into()), ..Sources::default() }
    }

    /// Reads the file, applies what beats it, and checks everything, the files that the
    /// configuration names included. Blocking I/O.
    ///
    /// # Errors
    /// Everything that is wrong, and refused on start: see [`check::check`] and
    /// [`files::check_files`].
    pub fn load(&self) -> Result<Config, ConfigError> {
        self.read()?.check_all()
    }

    /// As [`Sources::load`], with `text` for what the file holds.
    ///
    /// # Errors
    /// As [`Sources::load`].
    pub fn load_text(&self, text: &str) -> Result<Config, ConfigError> {
        self.read_text(text)?.check_all()
    }

    /// As [`Sources::load`], but files that the configuration names are not opened.
    ///
    /// # Errors
    /// As [`Sources::load`].
    pub fn load_without_files(&self) -> Result<Config, ConfigError> {
        let read = self.read()?;
        let problems = check::check(&read.config);
        read.finish(problems)
    }

    /// As [`Sources::load_text`], but files that the configuration names are not opened, and a
    /// configuration of the right shape is given with everything that is wrong with it.
    ///
    /// # Errors
    /// What is no configuration: no YAML, an unknown key, a value of another type.
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

    /// The keys that the file does not decide, and what does.
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
                Some(redis) => redis.url.clone_from(url),
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

/// A configuration that has the right shape, and what messages about it need.
struct Read {
    name: String,
    config: Config,
    lines: BTreeMap<String, u64>,
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
        Err(ConfigError::located(self.name, problems, &self.lines))
    }
}

/// Reads the configuration file. Blocks.
///
/// # Errors
/// When the file cannot be read.
pub fn text_of(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| {
        ConfigError::whole(
            path.display().to_string(),
            format!("cannot read the configuration file: {error}; check the path and its mode"),
        )
    })
}

/// Reads a text's shape: keys and types, not yet whether the values make sense together.
fn parse(name: &str, text: &str) -> Result<Read, ConfigError> {
    let node = Node::parse(text)
        .map_err(|problem| ConfigError { source_name: name.to_owned(), problems: vec![problem] })?;
    let lines = node.lines();
    let mut problems = node.duplicates();
    match typed::read::<Config>(&node) {
        Ok(config) if problems.is_empty() => {
            Ok(Read { name: name.to_owned(), config, lines, overridden: Vec::new() })
        }
        Ok(_) => Err(ConfigError::located(name, problems, &lines)),
        Err(more) => {
            problems.extend(more);
            Err(ConfigError::located(name, problems, &lines))
        }
    }
}

#[cfg(test)]
mod tests;
