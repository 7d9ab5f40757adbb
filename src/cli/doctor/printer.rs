//! [`Printer`]: a line for each check, and the fix below the line.

use std::io::{self, IsTerminal as _};

use clap::builder::styling::{AnsiColor, Style};

use crate::cli::report;
use rookery_ops::log::colours_wanted;

/// Prints what was found.
pub(super) struct Printer {
    colours: bool,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// As it should be.
    Fine,
    /// Works, but not for everybody.
    Warning,
    /// Does not work.
    Wrong,
    /// Not looked at.
    Skipped,
}

impl Printer {
    /// On stdout, in colour on a terminal unless `NO_COLOR` is set.
    pub(super) fn new() -> Printer {
        Printer { colours: io::stdout().is_terminal() && colours_wanted() }
    }

    /// One check.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(super) fn line(
        &self,
        mark: Mark,
        check: &str,
        text: &str,
        fix: Option<&str>,
    ) -> anyhow::Result<()> {
        report::print(&self.text(mark, check, text, fix))
    }

    fn text(&self, mark: Mark, check: &str, text: &str, fix: Option<&str>) -> String {
        let (sign, colour) = match mark {
            Mark::Fine => ("✓", AnsiColor::Green),
            Mark::Warning => ("!", AnsiColor::Yellow),
            Mark::Wrong => ("✗", AnsiColor::Red),
            Mark::Skipped => ("-", AnsiColor::BrightBlack),
        };
        let style = if self.colours { colour.on_default().bold() } else { Style::new() };
        let mut lines = format!("{style}{sign}{style:#} {check:<10} {text}\n");
        for line in fix.into_iter().flat_map(str::lines) {
            lines.push_str(&format!("  {:<10} fix: {line}\n", ""));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fix_stands_below_its_line() {
        let plain = Printer { colours: false };
        assert_eq!(
            plain.text(Mark::Wrong, "upgrade", "answered with 400", Some("do this\nor that")),
            "✗ upgrade    answered with 400\n             fix: do this\n             fix: or that\n"
        );
        let colours = Printer { colours: true };
        assert!(colours.text(Mark::Fine, "a", "b", None).starts_with("\u{1b}["));
    }
}
