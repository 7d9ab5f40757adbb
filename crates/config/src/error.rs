//! [`ConfigError`]: everything that is wrong with a configuration, by file, line and key.

use std::fmt;

/// The most problems that are shown of one configuration or resource.
pub const MAX_PROBLEMS: usize = 50;

/// Follows [`MAX_PROBLEMS`] problems if there are more.
pub const MORE: &str = "more problems are not shown; correct these first";

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The full path of the key, such as `limits.connections` or `events[2].room`; `None` if the
    /// problem concerns the whole file.
    pub key: Option<String>,
    /// The line number in the file, from 1; `None` if the key is not in the file.
    pub line: Option<u64>,
    /// The complete sentence: it names the key, what is expected, and what to do.
    pub text: String,
}

impl Problem {
    /// Creates a problem with `key`. [`ConfigError::located`] adds its line.
    pub fn new(key: impl Into<String>, text: impl Into<String>) -> Self {
        Problem { key: Some(key.into()), line: None, text: text.into() }
    }
}

/// Why a configuration is refused, for which the process exits with 2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The path of the file, or `the command line` without one.
    pub source_name: String,
    /// At least one problem, those with a line in the order of the file.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// Creates an error that concerns the whole file.
    pub fn whole(source_name: impl Into<String>, text: impl Into<String>) -> Self {
        let problem = Problem { key: None, line: None, text: text.into() };
        ConfigError { source_name: source_name.into(), problems: vec![problem] }
    }

    /// Creates an error of these problems, each with the line of its key or, if the key is not in
    /// the file, of the nearest enclosing section, which `line_near` knows. Beyond [`MAX_PROBLEMS`], the last one says that
    /// there are more.
    pub fn located(
        source_name: impl Into<String>,
        mut problems: Vec<Problem>,
        line_near: impl Fn(&str) -> Option<u64>,
    ) -> Self {
        for problem in &mut problems {
            if problem.line.is_none() {
                problem.line = problem.key.as_deref().and_then(&line_near);
            }
        }
        problems.sort_by_key(|p| p.line);
        if problems.len() > MAX_PROBLEMS {
            problems.truncate(MAX_PROBLEMS);
            problems.push(Problem { key: None, line: None, text: MORE.to_owned() });
        }
        ConfigError { source_name: source_name.into(), problems }
    }

    /// A problem's text, preceded by its file and line.
    pub fn sentence(&self, problem: &Problem) -> String {
        match problem.line {
            Some(line) => format!("{}:{line}: {}", self.source_name, problem.text),
            None => format!("{}: {}", self.source_name, problem.text),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let sentences: Vec<String> = self.problems.iter().map(|p| self.sentence(p)).collect();
        f.write_str(&sentences.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_key_has_the_line_of_its_section() {
        let lines = |key: &str| match key.split('.').next() {
            Some("events[0]") => Some(5),
            Some("auth") => Some(9),
            _ => None,
        };
        let problems = vec![
            Problem::new("auth.jwt.secretFile", "b"),
            Problem::new("events[0].args", "a"),
            Problem::new("limits.queue", "c"),
        ];
        let error = ConfigError::located("x.yaml", problems, lines);
        assert_eq!(error.to_string(), "x.yaml: c\nx.yaml:5: a\nx.yaml:9: b");
    }
}
