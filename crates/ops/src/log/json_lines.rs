//! [`JsonLines`]: bounds and escapes lines of JSON.

use std::io::{self, Write};

use serde_json::Value;
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use super::MAX_VALUE_BYTES;
use crate::escape;

/// Writes lines of JSON, each passed as a whole, to another writer. What JSON permits in a string
/// and a terminal or a reader of lines does not is [escaped](escape::json); a text of more than
/// [`MAX_VALUE_BYTES`] is cut.
#[derive(Clone, Debug)]
pub(super) struct JsonLines<M>(pub(super) M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for JsonLines<M> {
    type Writer = JsonLine<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        JsonLine(self.0.make_writer())
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Self::Writer {
        JsonLine(self.0.make_writer_for(metadata))
    }
}

/// Writes one line.
pub(super) struct JsonLine<W>(W);

impl<W: Write> Write for JsonLine<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(clean(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn clean(line: &str) -> String {
    if line.len() <= MAX_VALUE_BYTES {
        return escape::json(line);
    }
    match serde_json::from_str::<Value>(line) {
        Ok(mut parsed) => {
            cut(&mut parsed);
            escape::json(&format!("{parsed}\n"))
        }
        Err(_) => escape::json(line),
    }
}

/// Cuts every text in the members of an object.
fn cut(line: &mut Value) {
    for value in line.as_object_mut().into_iter().flat_map(|members| members.values_mut()) {
        if let Value::String(text) = value
            && text.len() > MAX_VALUE_BYTES
        {
            let kept = text.floor_char_boundary(MAX_VALUE_BYTES);
            let more = format!("…({} bytes more)", text.len() - kept);
            text.truncate(kept);
            text.push_str(&more);
        }
    }
}
