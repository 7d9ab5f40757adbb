use std::sync::{Arc, Mutex};

use super::*;

fn logged(json: bool, rust_log: Option<&str>) -> String {
    let out = Arc::new(Mutex::new(Vec::new()));
    let layer = lines(json, false, Shared(out.clone())).with_filter(filter(rust_log).unwrap());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let _span = tracing::info_span!("session", sid = "a").entered();
        tracing::info!(target: "rookery", rooms = 2, "first\nline \"quoted\"");
        tracing::info!(target: "hyper", "chatter");
        tracing::warn!(target: "hyper", "trouble");
        tracing::debug!(target: "rookery", "detail");
    });
    String::from_utf8(out.lock().unwrap().clone()).unwrap()
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Shared {
    type Writer = Shared;

    fn make_writer(&self) -> Shared {
        self.clone()
    }
}

#[test]
fn every_json_line_is_an_object_with_the_message_and_its_fields() {
    let text = logged(true, None);
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0]["message"], "first\nline \"quoted\"");
    assert_eq!(lines[0]["rooms"], 2);
    assert_eq!(lines[1]["level"], "WARN");
}

#[test]
fn rust_log_replaces_the_default_filter() {
    assert!(!logged(false, None).contains("detail"));
    assert!(logged(false, Some(" ")).contains("trouble"));
    let text = logged(false, Some("rookery=debug"));
    assert!(text.contains("detail") && !text.contains("trouble"), "{text}");
    assert!(filter(Some("a=b=c")).is_err());
}

#[test]
fn libraries_log_only_warnings_unless_they_are_named() {
    for all in ["trace", " debug ", "rookery=trace,info"] {
        let text = logged(false, Some(all));
        assert!(!text.contains("chatter") && text.contains("trouble"), "{all}: {text}");
    }
    assert!(logged(false, Some("trace,hyper=info")).contains("chatter"));
    assert!(!logged(false, Some("error")).contains("trouble"));
}

#[test]
fn the_format_depends_on_the_terminal_unless_it_is_configured() {
    assert!(is_json(LogFormat::Auto, false) && !is_json(LogFormat::Auto, true));
    assert!(is_json(LogFormat::Json, true) && !is_json(LogFormat::Text, false));
}

/// What an event logs of a text from outside, in every place that an event has.
fn log_everywhere(text: &str) {
    let error = std::io::Error::other(Quoting(text.to_owned()));
    let span = tracing::info_span!("session", quoted = %text, debugged = ?Quoting(text.to_owned()));
    let _span = span.entered();
    tracing::warn!(target: "rookery", "{text}");
    tracing::warn!(target: "rookery", text, shown = %text, debugged = ?text, "told");
    tracing::warn!(
        target: "rookery",
        error = &error as &dyn std::error::Error,
        shown = %error,
        debugged = ?Quoting(text.to_owned()),
        "failed"
    );
}

/// A library's error, whose texts quote what it was given.
struct Quoting(String);

impl std::fmt::Debug for Quoting {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Quoting({})", self.0)
    }
}

impl std::fmt::Display for Quoting {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "cannot read {}", self.0)
    }
}

impl std::error::Error for Quoting {}

/// The lines of [`log_everywhere`].
fn lines_of(text: &str, json: bool, colours: bool) -> Vec<String> {
    let out = Arc::new(Mutex::new(Vec::new()));
    let layer = lines(json, colours, Shared(out.clone()));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        log_everywhere(text);
    });
    let written = String::from_utf8(out.lock().unwrap().clone()).unwrap();
    let whole = written.strip_suffix('\n').unwrap();
    whole.split('\n').map(str::to_owned).collect()
}

/// The line without the sequences that choose a colour or a style: `ESC [ digits m`.
fn without_styles(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let mut plain = parts.next().unwrap().to_owned();
    for part in parts {
        let (style, rest) = part.split_once('m').unwrap();
        assert!(style.bytes().all(|b| b.is_ascii_digit()), "{style:?}");
        plain.push_str(rest);
    }
    plain
}

fn assert_harmless(text: &str) {
    for (json, colours) in [(true, false), (false, false), (false, true)] {
        let logged = lines_of(text, json, colours);
        assert_eq!(logged.len(), 3, "{text:?}: {logged:?}");
        for line in &logged {
            let plain = if colours { without_styles(line) } else { line.clone() };
            assert!(!plain.chars().any(crate::escape::is_unsafe), "{text:?}: {plain:?}");
        }
        if json {
            let lines = logged.iter().map(|line| serde_json::from_str::<serde_json::Value>(line));
            let lines: Vec<_> = lines.collect::<Result<_, _>>().unwrap();
            assert_eq!((&lines[0]["message"], &lines[1]["text"]), (&text.into(), &text.into()));
            assert_eq!(lines[1]["shown"], text);
        } else {
            assert!(logged.iter().all(|line| line.contains("rookery")), "{logged:?}");
        }
    }
}

#[test]
fn no_control_character_reaches_a_line() {
    let controls = (0..=0x9f).chain([0xad, 0x61c]).chain(0x200b..=0x200f).chain(0x2028..=0x202e);
    let controls = controls.chain(0x2060..=0x206f).chain([0xfeff, 0xe0041]);
    for c in controls.filter_map(char::from_u32) {
        assert_harmless(&format!("a{c}b"));
    }
    assert_harmless("\u{1b}[31mred\u{1b}[0m\r\n2026-01-01T00:00:00Z  INFO rookery: forged");
    assert_harmless("\u{1b}]0;title\u{7}\u{9b}2J\u{85}\u{2028}x\u{202e}y");
}

#[test]
fn a_long_value_is_cut_and_says_by_how_much() {
    let long = "\u{e9}".repeat(MAX_VALUE_BYTES);
    for (json, colours) in [(true, false), (false, false), (false, true)] {
        for line in lines_of(&long, json, colours) {
            assert!(line.len() < 8 * MAX_VALUE_BYTES, "{}", line.len());
            assert!(line.contains("bytes more)"), "{line}");
            assert!(!json || serde_json::from_str::<serde_json::Value>(&line).is_ok());
        }
    }
}

#[test]
fn a_text_line_is_what_it_was_for_harmless_values() {
    let text = logged(false, None);
    assert!(text.contains(r#"session{sid="a"}: rookery: first\nline "quoted" rooms=2"#), "{text}");
    let coloured = lines_of("x", false, true);
    assert!(coloured[1].contains("\u{1b}[3mtext\u{1b}[0m\u{1b}[2m=\u{1b}[0m\"x\""), "{coloured:?}");
}

proptest::proptest! {
    #[test]
    fn no_text_forges_a_line(text in "\\PC*|[\\p{Cc}\\p{Cf}a-z\\\\\"]{0,40}") {
        assert_harmless(&text);
    }
}
