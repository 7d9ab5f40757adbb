//! [`Printer`]: prints a line for each check, and the fix below it.

use std::io::{self, IsTerminal as _};

use clap::builder::styling::{AnsiColor, Style};

use crate::cli::report;
use rookery_ops::escape;
use rookery_ops::log::colours_wanted;

/// Prints the results of checks.
pub(super) struct Printer {
    colours: bool,
}

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It works.
    Passed,
    /// It works, but not for every client.
    Warning,
    /// It does not work.
    Failed,
    /// It was not checked.
    Skipped,
}

impl Printer {
    /// Prints on stdout, in colour on a terminal unless `NO_COLOR` is set.
    pub(super) fn new() -> Printer {
        Printer { colours: io::stdout().is_terminal() && colours_wanted() }
    }

    /// Prints the outcome of a check, and the fix on lines below.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(super) fn line(
        &self,
        outcome: Outcome,
        check: &str,
        text: &str,
        fix: Option<&str>,
    ) -> anyhow::Result<()> {
        report::print(&self.text(outcome, check, text, fix))
    }

    fn text(&self, outcome: Outcome, check: &str, text: &str, fix: Option<&str>) -> String {
        let (sign, colour) = match outcome {
            Outcome::Passed => ("✓", AnsiColor::Green),
            Outcome::Warning => ("!", AnsiColor::Yellow),
            Outcome::Failed => ("✗", AnsiColor::Red),
            Outcome::Skipped => ("-", AnsiColor::BrightBlack),
        };
        let style = if self.colours { colour.on_default().bold() } else { Style::new() };
        let text = escape::text(text);
        let mut lines = format!("{style}{sign}{style:#} {check:<10} {text}\n");
        for line in fix.into_iter().flat_map(str::lines) {
            lines.push_str(&format!("  {:<10} fix: {}\n", "", escape::text(line)));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fix_is_printed_below_its_check() {
        let plain = Printer { colours: false };
        assert_eq!(
            plain.text(Outcome::Failed, "upgrade", "answered with 400", Some("do this\nor that")),
            "✗ upgrade    answered with 400\n             fix: do this\n             fix: or that\n"
        );
        let hostile = plain.text(Outcome::Failed, "a", "answered \u{1b}[2J\n✓ b", Some("\u{9b}1m"));
        assert_eq!(
            hostile,
            "✗ a          answered \\u{1b}[2J\\n✓ b\n             fix: \\u{9b}1m\n"
        );
        let colours = Printer { colours: true };
        assert!(colours.text(Outcome::Passed, "a", "b", None).starts_with("\u{1b}["));
    }
}
