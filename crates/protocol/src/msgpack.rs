//! [`Data`] in MessagePack, as Node's `notepack.io` and `@msgpack/msgpack` read and write it.
//!
//! Source: the MessagePack specification (formats and the timestamp extension), and the
//! extensions of notepack.io: type 0 is `undefined` with one byte, a date in milliseconds with
//! eight bytes, and an ArrayBuffer with a length of its own. Depth and number of values are
//! bounded, and no length in a message decides the size of an allocation.

use bytes::Bytes;
use compact_str::{CompactString, ToCompactString as _};
use serde_json::Number;

use crate::data::{self, Data};

/// The deepest nesting of a message, in levels of arrays and maps: that of an event's argument, which
/// a broadcast of Socket.IO's Redis adapter has within a message, a packet and its data.
pub const MAX_DEPTH: usize = 3 + data::MAX_DEPTH;

/// The most values in one message.
pub const MAX_VALUES: usize = 1 << 20;

/// The longest message, in bytes.
pub const MAX_MESSAGE: usize = 64 << 20;

/// Why bytes are not the message of Socket.IO's Redis adapter, or the packet of a client, that they
/// should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The message ends before its last value does.
    #[error("the message is cut short")]
    Short,
    /// Bytes follow the last value.
    #[error("bytes follow the end of the message")]
    Trailing,
    /// Values nest deeper than is permitted, [`MAX_DEPTH`] levels in [`read`], or an event's argument
    /// deeper than [`data::MAX_DEPTH`].
    #[error("an argument nests deeper than {} levels of arrays and objects", data::MAX_DEPTH)]
    Deep,
    /// The message has more than [`MAX_VALUES`] values or [`MAX_MESSAGE`] bytes.
    #[error("the message is too large")]
    Large,
    /// A value has a marker that MessagePack lacks, or an extension that Node does not write.
    #[error("a value of unknown type")]
    Type,
    /// The message is valid MessagePack, but not a message of the adapter.
    #[error("not a message of Socket.IO's Redis adapter: {0}")]
    Shape(&'static str),
}

/// Reads a message that holds exactly one value.
///
/// # Errors
/// Any [`WireError`] except [`WireError::Shape`].
pub fn read(bytes: &[u8]) -> Result<Data, WireError> {
    read_within(bytes, MAX_DEPTH)
}

/// Reads a message that holds exactly one value and nests at most `max_depth` levels.
///
/// # Errors
/// Any [`WireError`] except [`WireError::Shape`].
pub fn read_within(bytes: &[u8], max_depth: usize) -> Result<Data, WireError> {
    if bytes.len() > MAX_MESSAGE {
        return Err(WireError::Large);
    }
    let mut reader = Reader { bytes, values: 0, max_depth };
    let value = reader.value(0)?;
    if reader.bytes.is_empty() { Ok(value) } else { Err(WireError::Trailing) }
}

/// Appends a value.
pub fn write(to: &mut Vec<u8>, data: &Data) {
    match data {
        Data::Null => to.push(0xc0),
        Data::Bool(b) => to.push(if *b { 0xc3 } else { 0xc2 }),
        Data::Number(n) => write_number(to, n),
        Data::String(text) => write_str(to, text),
        Data::Binary(bytes) => {
            written(rmp::encode::write_bin(to, bytes));
        }
        Data::Array(items) => {
            write_array_len(to, items.len());
            items.iter().for_each(|item| write(to, item));
        }
        Data::Object(entries) => {
            write_map_len(to, entries.len());
            for (key, value) in entries {
                write_str(to, key);
                write(to, value);
            }
        }
    }
}

/// Appends a string.
pub fn write_str(to: &mut Vec<u8>, text: &str) {
    written(rmp::encode::write_str(to, text));
}

/// Appends the head of an array of `len` items.
pub fn write_array_len(to: &mut Vec<u8>, len: usize) {
    written(rmp::encode::write_array_len(to, clamp(len)));
}

/// Appends the head of a map of `len` entries.
pub fn write_map_len(to: &mut Vec<u8>, len: usize) {
    written(rmp::encode::write_map_len(to, clamp(len)));
}

/// Appends an unsigned integer.
pub fn write_uint(to: &mut Vec<u8>, n: u64) {
    written(rmp::encode::write_uint(to, n));
}

fn write_number(to: &mut Vec<u8>, n: &Number) {
    if let Some(n) = n.as_u64() {
        write_uint(to, n);
    } else if let Some(n) = n.as_i64() {
        written(rmp::encode::write_sint(to, n));
    } else {
        written(rmp::encode::write_f64(to, n.as_f64().unwrap_or(f64::NAN)));
    }
}

fn written<T, E: std::fmt::Debug>(result: Result<T, E>) {
    result.map(|_| ()).expect("writing to a vector cannot fail");
}

fn clamp(len: usize) -> u32 {
    u32::try_from(len).expect("a list in memory has less than 2^32 values: it came in one message")
}

struct Reader<'a> {
    bytes: &'a [u8],
    values: usize,
    max_depth: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Data, WireError> {
        self.count()?;
        Ok(match self.byte()? {
            n @ 0x00..=0x7f => Data::Number(n.into()),
            n @ 0x80..=0x8f => self.map(usize::from(n & 0x0f), depth)?,
            n @ 0x90..=0x9f => self.array(usize::from(n & 0x0f), depth)?,
            n @ 0xa0..=0xbf => self.text(usize::from(n & 0x1f))?,
            0xc0 => Data::Null,
            0xc2 => Data::Bool(false),
            0xc3 => Data::Bool(true),
            n @ 0xc4..=0xc6 => {
                let len = self.length(n - 0xc4)?;
                Data::Binary(Bytes::copy_from_slice(self.take(len)?))
            }
            n @ 0xc7..=0xc9 => {
                let len = self.length(n - 0xc7)?;
                self.extension(len, false)?
            }
            0xca => float(f64::from(f32::from_be_bytes(self.fixed()?))),
            0xcb => float(f64::from_be_bytes(self.fixed()?)),
            0xcc => Data::Number(self.byte()?.into()),
            0xcd => Data::Number(u16::from_be_bytes(self.fixed()?).into()),
            0xce => Data::Number(u32::from_be_bytes(self.fixed()?).into()),
            0xcf => Data::Number(u64::from_be_bytes(self.fixed()?).into()),
            0xd0 => Data::Number(i8::from_be_bytes(self.fixed()?).into()),
            0xd1 => Data::Number(i16::from_be_bytes(self.fixed()?).into()),
            0xd2 => Data::Number(i32::from_be_bytes(self.fixed()?).into()),
            0xd3 => Data::Number(i64::from_be_bytes(self.fixed()?).into()),
            n @ 0xd4..=0xd8 => self.extension(1 << (n - 0xd4), true)?,
            n @ 0xd9..=0xdb => {
                let len = self.length(n - 0xd9)?;
                self.text(len)?
            }
            n @ 0xdc..=0xdd => {
                let len = self.length(n - 0xdb)?;
                self.array(len, depth)?
            }
            n @ 0xde..=0xdf => {
                let len = self.length(n - 0xdd)?;
                self.map(len, depth)?
            }
            n @ 0xe0..=0xff => Data::Number(i8::from_be_bytes([n]).into()),
            0xc1 => return Err(WireError::Type),
        })
    }

    /// Counts a value.
    fn count(&mut self) -> Result<(), WireError> {
        self.values += 1;
        if self.values > MAX_VALUES { Err(WireError::Large) } else { Ok(()) }
    }

    /// The depth of the values in an array or map at `depth`.
    fn enter(&self, depth: usize) -> Result<usize, WireError> {
        if depth < self.max_depth { Ok(depth + 1) } else { Err(WireError::Deep) }
    }

    /// Reads a length of 1, 2 or 4 bytes, for a `width` of 0, 1 or 2.
    fn length(&mut self, width: u8) -> Result<usize, WireError> {
        Ok(match width {
            0 => usize::from(self.byte()?),
            1 => usize::from(u16::from_be_bytes(self.fixed()?)),
            _ => u32::from_be_bytes(self.fixed()?) as usize,
        })
    }

    fn text(&mut self, len: usize) -> Result<Data, WireError> {
        Ok(Data::String(CompactString::from_utf8_lossy(self.take(len)?)))
    }

    fn array(&mut self, len: usize, depth: usize) -> Result<Data, WireError> {
        if len > self.bytes.len() {
            return Err(WireError::Short);
        }
        let depth = self.enter(depth)?;
        let mut items = Vec::with_capacity(len.min(64));
        for _ in 0..len {
            items.push(self.value(depth)?);
        }
        Ok(Data::Array(items))
    }

    fn map(&mut self, len: usize, depth: usize) -> Result<Data, WireError> {
        if len > self.bytes.len() / 2 {
            return Err(WireError::Short);
        }
        let depth = self.enter(depth)?;
        let mut entries = Vec::with_capacity(len.min(64));
        for _ in 0..len {
            let key = key(self.value(depth)?)?;
            entries.push((key, self.value(depth)?));
        }
        Ok(Data::Object(entries))
    }

    fn extension(&mut self, len: usize, fixed: bool) -> Result<Data, WireError> {
        let kind = i8::from_be_bytes(self.fixed()?);
        let bytes = self.take(len)?;
        match (kind, fixed, bytes.len()) {
            (0, true, 1) => Ok(Data::Null),
            (0, true, 8) => Ok(date(i64::from_be_bytes(array(bytes)) as f64)),
            (0, false, _) => Ok(Data::Binary(Bytes::copy_from_slice(bytes))),
            (-1, _, 4) => Ok(timestamp(u32::from_be_bytes(array(bytes)).into(), 0)),
            (-1, _, 8) => {
                let both = u64::from_be_bytes(array(bytes));
                Ok(timestamp((both & 0x3_ffff_ffff) as i64, (both >> 34) as u32))
            }
            (-1, _, 12) => {
                let (nanos, seconds) = bytes.split_at(4);
                let nanos = u32::from_be_bytes(array(nanos));
                Ok(timestamp(i64::from_be_bytes(array(seconds)), nanos))
            }
            _ => Err(WireError::Type),
        }
    }

    fn byte(&mut self) -> Result<u8, WireError> {
        let (first, rest) = self.bytes.split_first().ok_or(WireError::Short)?;
        self.bytes = rest;
        Ok(*first)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.bytes.split_at_checked(len).ok_or(WireError::Short)?;
        self.bytes = rest;
        Ok(head)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.take(N).map(array)
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the caller took exactly that many bytes")
}

/// NaN and infinities, which JSON lacks, become null as in JavaScript.
fn float(n: f64) -> Data {
    Number::from_f64(n).map_or(Data::Null, Data::Number)
}

/// The key of an object, which JavaScript converts to text.
fn key(value: Data) -> Result<CompactString, WireError> {
    match value {
        Data::String(text) => Ok(text),
        Data::Number(n) => Ok(n.to_compact_string()),
        Data::Bool(b) => Ok(b.to_compact_string()),
        Data::Null => Ok("null".into()),
        _ => Err(WireError::Type),
    }
}

fn timestamp(seconds: i64, nanos: u32) -> Data {
    date(seconds as f64 * 1e3 + f64::from(nanos) / 1e6)
}

/// A date in milliseconds since 1970, as `JSON.stringify` writes it: ISO 8601 text (ECMAScript,
/// section "Date Time String Format"), or null if it is out of range.
fn date(millis: f64) -> Data {
    const RANGE: f64 = 8.64e15;
    let millis = millis.trunc();
    if !(-RANGE..=RANGE).contains(&millis) {
        return Data::Null;
    }
    let millis = millis as i64;
    let (days, of_day) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let (s, ms) = (of_day / 1000, of_day % 1000);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{}{:06}", if year < 0 { '-' } else { '+' }, year.abs()),
    };
    Data::from(format!(
        "{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z",
        s / 3600,
        s / 60 % 60,
        s % 60
    ))
}

/// Year, month and day of the proleptic Gregorian calendar, from days since 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests;
