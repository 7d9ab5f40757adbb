//! [`Screen`]: the terminal's alternate screen.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::builder::styling::{AnsiColor, Style};
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::terminal::{
    self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen,
};
use crossterm::{execute, queue};

use super::table::{Line, Tone};

/// The terminal's alternate screen in raw mode; dropping it restores the terminal.
pub(super) struct Screen {
    colours: bool,
    entered: Arc<AtomicBool>,
}

impl Screen {
    /// Enters the alternate screen. A panic leaves it before its message is printed.
    ///
    /// # Errors
    /// When the terminal cannot be controlled.
    pub fn enter(colours: bool) -> io::Result<Self> {
        let entered = Arc::new(AtomicBool::new(false));
        let previous = std::panic::take_hook();
        let at_panic = entered.clone();
        std::panic::set_hook(Box::new(move |panic| {
            leave(&at_panic, &mut io::stdout());
            previous(panic);
        }));
        terminal::enable_raw_mode()?;
        entered.store(true, Ordering::SeqCst);
        let screen = Screen { colours, entered };
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    /// The terminal's size in columns and lines.
    ///
    /// # Errors
    /// When the terminal does not report it.
    pub fn size(&self) -> io::Result<(usize, usize)> {
        let (width, height) = terminal::size()?;
        Ok((usize::from(width), usize::from(height)))
    }

    /// Draws these lines, one for each line of the terminal, in one write.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub fn draw(&self, lines: &[Line]) -> io::Result<()> {
        let bytes = frame(lines, self.colours)?;
        let mut out = io::stdout().lock();
        out.write_all(&bytes)?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave(&self.entered, &mut io::stdout());
    }
}

/// The bytes that draw these lines. Each line is cleared before its text: after a text as wide as
/// the terminal the cursor is still on the last cell, which clearing would erase.
fn frame(lines: &[Line], colours: bool) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    queue!(bytes, BeginSynchronizedUpdate)?;
    for (row, line) in lines.iter().enumerate() {
        queue!(bytes, MoveTo(0, u16::try_from(row).unwrap_or(u16::MAX)))?;
        queue!(bytes, Clear(ClearType::UntilNewLine))?;
        bytes.extend_from_slice(styled(line, colours).as_bytes());
    }
    queue!(bytes, EndSynchronizedUpdate)?;
    Ok(bytes)
}

/// Leaves the alternate screen, unless it was left before: a second time would move the cursor back
/// to where it was at the start, above what was written since.
fn leave(entered: &AtomicBool, out: &mut impl Write) {
    if entered.swap(false, Ordering::SeqCst) {
        // If the terminal was closed, there is nothing to restore.
        let _ = execute!(out, LeaveAlternateScreen, Show);
        let _ = terminal::disable_raw_mode();
    }
}

/// A line as text, with or without colours.
pub(super) fn styled(line: &Line, colours: bool) -> String {
    let mut text = String::new();
    for (tone, words) in line {
        let style = if colours { style(*tone) } else { Style::new() };
        text.push_str(&format!("{style}{words}{style:#}"));
    }
    text
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Dim => Style::new().dimmed(),
        Tone::Strong => Style::new().bold(),
        Tone::Warning => AnsiColor::Yellow.on_default(),
        Tone::Bad => AnsiColor::Red.on_default().bold(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cleared_before_its_text_is_written() {
        let lines = [vec![(Tone::Plain, "room".to_owned()), (Tone::Bad, "42".to_owned())], vec![]];
        let bytes = String::from_utf8(frame(&lines, false).unwrap()).unwrap();
        let shown = bytes.strip_prefix("\u{1b}[?2026h").unwrap();
        assert_eq!(shown, "\u{1b}[1;1H\u{1b}[Kroom42\u{1b}[2;1H\u{1b}[K\u{1b}[?2026l");
    }

    #[test]
    fn the_alternate_screen_is_left_only_once() {
        let entered = AtomicBool::new(true);
        let mut out = Vec::new();
        leave(&entered, &mut out);
        leave(&entered, &mut out);
        assert_eq!(out, b"\x1b[?1049l\x1b[?25h");
    }

    #[test]
    fn a_screen_that_was_not_entered_is_not_left() {
        let mut out = Vec::new();
        leave(&AtomicBool::new(false), &mut out);
        assert!(out.is_empty());
    }
}
