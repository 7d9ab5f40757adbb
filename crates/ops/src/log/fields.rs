//! [`EscapedFields`]: formats the message and the fields of a line of text.

use std::error::Error;
use std::fmt::{self, Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::{MakeVisitor, VisitFmt, VisitOutput};
use tracing_subscriber::fmt::format::Writer;

use super::MAX_VALUE_BYTES;
use crate::escape;

/// Formats the message and the fields of a line of text: `message name=value …`. Every value is
/// [escaped](escape::text), whatever wrote it, and cut at [`MAX_VALUE_BYTES`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EscapedFields;

impl<'a> MakeVisitor<Writer<'a>> for EscapedFields {
    type Visitor = FieldWriter<'a>;

    fn make_visitor(&self, out: Writer<'a>) -> FieldWriter<'a> {
        FieldWriter { out, is_first: true, result: Ok(()) }
    }
}

/// Writes the fields of one span or event.
pub(super) struct FieldWriter<'a> {
    out: Writer<'a>,
    is_first: bool,
    result: fmt::Result,
}

impl FieldWriter<'_> {
    fn write(&mut self, name: &str, value: fmt::Arguments<'_>) -> fmt::Result {
        if !std::mem::take(&mut self.is_first) {
            self.out.write_char(' ')?;
        }
        match (name, self.out.has_ansi_escapes()) {
            ("message", _) => {}
            (name, true) => write!(self.out, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?,
            (name, false) => write!(self.out, "{name}=")?,
        }
        let mut value_out = Cut { out: &mut self.out, left: MAX_VALUE_BYTES, cut: 0 };
        value_out.write_fmt(value)?;
        match value_out.cut {
            0 => Ok(()),
            cut => write!(self.out, "…({cut} bytes more)"),
        }
    }
}

impl Visit for FieldWriter<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.record_debug(field, &format_args!("{value}")),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(source) = cause {
            text = format!("{text}: {source}");
            cause = source.source();
        }
        self.record_debug(field, &format_args!("{text}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // The fields of the `log` crate's records, which the line has elsewhere.
        if self.result.is_ok() && !field.name().starts_with("log.") {
            let name = field.name().trim_start_matches("r#");
            self.result = self.write(name, format_args!("{value:?}"));
        }
    }
}

impl VisitOutput<fmt::Result> for FieldWriter<'_> {
    fn finish(self) -> fmt::Result {
        self.result
    }
}

impl VisitFmt for FieldWriter<'_> {
    fn writer(&mut self) -> &mut dyn fmt::Write {
        &mut self.out
    }
}

/// Escapes a value, and drops what exceeds a number of bytes.
struct Cut<'a, 'w> {
    out: &'a mut Writer<'w>,
    /// The bytes of the value that may still be written.
    left: usize,
    /// The bytes that were dropped.
    cut: usize,
}

impl fmt::Write for Cut<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let kept = text.floor_char_boundary(self.left);
        self.cut += text.len() - kept;
        // Nothing follows what was dropped.
        self.left = if kept < text.len() { 0 } else { self.left - kept };
        escape::write_text(self.out, &text[..kept])
    }
}
