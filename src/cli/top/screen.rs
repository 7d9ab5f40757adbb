//! The terminal: entered, drawn upon, and left as it was.

use std::io::{self, Write as _};

use clap::builder::styling::{AnsiColor, Style};
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::terminal::{
    self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen,
};
use crossterm::{execute, queue};

use super::table::{Line, Tone};

/// The alternate screen in raw mode, until it is dropped.
pub(super) struct Screen {
    colours: bool,
}

impl Screen {
    /// Enters it. A panic leaves it before it is told.
    ///
    /// # Errors
    /// Where the terminal cannot be steered.
    pub fn enter(colours: bool) -> io::Result<Self> {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave();
            told(panic);
        }));
        terminal::enable_raw_mode()?;
        let screen = Screen { colours };
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    /// Columns and lines.
    ///
    /// # Errors
    /// Where the terminal does not say.
    pub fn size(&self) -> io::Result<(usize, usize)> {
        let (width, height) = terminal::size()?;
        Ok((usize::from(width), usize::from(height)))
    }

    /// Shows these lines and nothing else, in one write.
    ///
    /// # Errors
    /// Where the terminal cannot be written to.
    pub fn draw(&self, lines: &[Line]) -> io::Result<()> {
        let mut bytes = Vec::new();
        queue!(bytes, BeginSynchronizedUpdate)?;
        for (row, line) in lines.iter().enumerate() {
            queue!(bytes, MoveTo(0, u16::try_from(row).unwrap_or(u16::MAX)))?;
            bytes.extend_from_slice(styled(line, self.colours).as_bytes());
            queue!(bytes, Clear(ClearType::UntilNewLine))?;
        }
        queue!(bytes, EndSynchronizedUpdate)?;
        let mut out = io::stdout().lock();
        out.write_all(&bytes)?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// Twice does no harm.
fn leave() {
    // The terminal may be gone: then nothing is left to restore.
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    let _ = terminal::disable_raw_mode();
}

/// A line with its tones, or without.
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
