//! [`Failure`]: how a command reports its error, and its exit code.

use std::io::{self, IsTerminal, Write};
use std::time::SystemTime;

use clap::builder::styling::{AnsiColor, Style};
use serde_json::json;

use rookery_config::LogFormat;
use rookery_config::error::{ConfigError, Problem};
use rookery_ops::{escape, log};

/// A usage error that is found after the command line was parsed: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(
    /// The message, which names the fix.
    pub String,
);

/// What a command tried cannot be used: exit code 1, a line for each reason.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Unusable(
    /// The reasons, each a sentence that names the fix.
    pub Vec<String>,
);

/// A command's error and the format to print it in.
#[derive(Debug)]
pub struct Failure {
    error: anyhow::Error,
    format: LogFormat,
}

impl From<anyhow::Error> for Failure {
    /// An error to print as text.
    fn from(error: anyhow::Error) -> Self {
        Failure { error, format: LogFormat::Text }
    }
}

impl Failure {
    /// An error to print in the format of the server's log lines.
    pub fn logged(error: anyhow::Error, format: LogFormat) -> Self {
        Failure { error, format }
    }

    /// 2 for wrong usage and an invalid configuration, otherwise 1.
    pub fn exit_code(&self) -> u8 {
        let wrong_usage = self.error.is::<Usage>() || self.error.is::<ConfigError>();
        if wrong_usage { 2 } else { 1 }
    }

    /// Prints the error to stderr, with one line for each problem.
    pub fn print(&self) {
        let stderr = io::stderr();
        let terminal = stderr.is_terminal();
        let lines = if log::is_json(self.format, terminal) {
            self.json_lines(SystemTime::now())
        } else {
            self.text_lines(terminal && log::colours_wanted())
        };
        let mut out = stderr.lock();
        for line in lines {
            // When stderr is closed, there is nowhere to report it.
            let _ = writeln!(out, "{line}");
        }
    }

    fn text_lines(&self, colours: bool) -> Vec<String> {
        let style = if colours { AnsiColor::Red.on_default().bold() } else { Style::new() };
        self.sentences()
            .iter()
            .map(|(sentence, _)| format!("{style}error:{style:#} {}", escape::text(sentence)))
            .collect()
    }

    fn json_lines(&self, now: SystemTime) -> Vec<String> {
        let timestamp = humantime::format_rfc3339_micros(now).to_string();
        self.sentences()
            .into_iter()
            .map(|(message, problem)| {
                let mut line =
                    json!({ "timestamp": timestamp, "level": "ERROR", "message": message });
                if let Some(problem) = problem {
                    line["key"] = json!(problem.key);
                    line["line"] = json!(problem.line);
                }
                escape::json(&line.to_string())
            })
            .collect()
    }

    fn sentences(&self) -> Vec<(String, Option<&Problem>)> {
        if let Some(Unusable(reasons)) = self.error.downcast_ref() {
            return reasons.iter().map(|reason| (reason.clone(), None)).collect();
        }
        match self.error.downcast_ref::<ConfigError>() {
            None => vec![(format!("{:#}", self.error), None)],
            Some(error) => error.problems.iter().map(|p| (error.sentence(p), Some(p))).collect(),
        }
    }
}

/// Writes to stdout. A closed pipe (`rookery schema | head`) is not an error.
///
/// # Errors
/// When stdout cannot be written for any other reason.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Failure {
        let problems = vec![
            Problem { line: Some(2), ..Problem::new("limits.queue", "`limits.queue` is wrong") },
            Problem::new("listen", "`listen` is \"wrong\""),
        ];
        let error = ConfigError { source_name: "x.yaml".to_owned(), problems };
        Failure::logged(error.into(), LogFormat::Auto)
    }

    #[test]
    fn each_problem_is_a_line_of_text() {
        assert_eq!(
            failure().text_lines(false),
            ["error: x.yaml:2: `limits.queue` is wrong", "error: x.yaml: `listen` is \"wrong\""]
        );
        assert!(failure().text_lines(true)[0].starts_with("\u{1b}["));
    }

    #[test]
    fn each_problem_is_a_json_line_with_its_key_and_line() {
        let lines = failure().json_lines(SystemTime::UNIX_EPOCH);
        let first: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(
            first,
            json!({
                "timestamp": "1970-01-01T00:00:00.000000Z", "level": "ERROR",
                "message": "x.yaml:2: `limits.queue` is wrong", "key": "limits.queue", "line": 2,
            })
        );
        assert!(serde_json::from_str::<serde_json::Value>(&lines[1]).is_ok());
    }

    #[test]
    fn a_server_cannot_control_the_terminal_by_its_error() {
        let hostile = "no\u{1b}[2J\u{9b}2J\nerror: forged\u{202e}";
        let failure = Failure::logged(anyhow::anyhow!(hostile), LogFormat::Auto);
        assert_eq!(
            failure.text_lines(false),
            [r"error: no\u{1b}[2J\u{9b}2J\nerror: forged\u{202e}"]
        );
        let lines = failure.json_lines(SystemTime::UNIX_EPOCH);
        assert!(!lines[0].chars().any(escape::is_unsafe), "{lines:?}");
        let parsed: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(parsed["message"], hostile);
    }

    #[test]
    fn usage_errors_exit_with_2_and_others_with_1() {
        assert_eq!(failure().exit_code(), 2);
        assert_eq!(Failure::from(anyhow::Error::from(Usage("no".to_owned()))).exit_code(), 2);
        assert_eq!(Failure::from(anyhow::anyhow!("no server")).exit_code(), 1);
        let wrapped = anyhow::Error::from(Usage("no".to_owned())).context("while reading");
        assert_eq!(Failure::from(wrapped).exit_code(), 2);
    }
}
