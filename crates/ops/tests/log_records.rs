//! What libraries log through the `log` crate. The log belongs to the process, so each test runs
//! this file once more as a process of its own.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use rookery_config::LogFormat;

/// Set in the process that logs.
const LOGS: &str = "ROOKERY_TEST_LOGS";

/// Starts the log with `RUST_LOG` set to `rust_log` and returns its lines, the first of which holds
/// the level above which records of the `log` crate are dropped at their call.
fn logged(test: &str, rust_log: Option<&str>) -> Option<String> {
    if std::env::var_os(LOGS).is_some() {
        rookery_ops::log::init(LogFormat::Json, None).unwrap();
        tracing::error!(records = %log::max_level(), "started");
        log::warn!(target: "tungstenite", "a warning");
        log::trace!(target: "tungstenite::protocol", "a frame");
        return None;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]).env(LOGS, "1").env_remove("RUST_LOG");
    child.envs(rust_log.map(|filter| ("RUST_LOG", filter)));
    let output = child.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn records_below_the_level_in_force_are_dropped_at_their_call() {
    let test = "records_below_the_level_in_force_are_dropped_at_their_call";
    for (rust_log, level) in [(None, "INFO"), (Some("error"), "ERROR"), (Some("debug"), "DEBUG")] {
        let Some(text) = logged(test, rust_log) else { return };
        assert_eq!(lines(&text)[0]["records"], level, "{text}");
    }
}

#[test]
fn a_warning_of_a_library_is_a_line_of_the_log() {
    let test = "a_warning_of_a_library_is_a_line_of_the_log";
    let Some(text) = logged(test, None) else { return };
    let lines = lines(&text);
    assert_eq!(lines.len(), 2, "{text}");
    let line = &lines[1];
    assert_eq!((&line["level"], &line["message"]), (&"WARN".into(), &"a warning".into()));
    assert_eq!(line["target"], "tungstenite");
}
