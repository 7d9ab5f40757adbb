//! Sizes, times, rates and percentages, as they are written in the configuration.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes, written as `1MiB`, `64KiB` or `1000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A length of time, written as `25s`, `500ms`, `2m` or `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// A number of occurrences per second, written as `500/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(pub u32);

/// A number of sessions per second, written as `250/s` or `250`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pace(pub u32);

/// Hundredths, written as `20%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u32);

impl Size {
    /// The size as a `usize`, at most `usize::MAX`.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Parses `1MiB`, `64KiB`, `2GiB`, `10MB`, `5KB` or a bare number of bytes.
    ///
    /// # Errors
    /// Says in a sentence what is expected.
    pub fn parse(text: &str) -> Result<Size, String> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let factor: u64 = match unit.trim() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "KB" | "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            _ => return Err(format!("expected a size such as 1MiB or 65536, found `{text}`")),
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(factor))
            .map(Size)
            .ok_or_else(|| format!("expected a size such as 1MiB or 65536, found `{text}`"))
    }
}

impl Period {
    /// Parses `25s`, `500ms`, `2m`, `1h` and sums of them, such as `1m 30s`.
    ///
    /// # Errors
    /// Says in a sentence what is expected.
    pub fn parse(text: &str) -> Result<Period, String> {
        humantime::parse_duration(text)
            .map(Period)
            .map_err(|_| format!("expected a time such as 25s or 500ms, found `{text}`"))
    }
}

impl Rate {
    /// Parses `500/s`.
    ///
    /// # Errors
    /// Says in a sentence what is expected.
    pub fn parse(text: &str) -> Result<Rate, String> {
        text.trim()
            .strip_suffix("/s")
            .and_then(|n| n.trim().parse().ok())
            .filter(|n| *n > 0)
            .map(Rate)
            .ok_or_else(|| format!("expected a rate such as 500/s, found `{text}`"))
    }
}

impl Pace {
    /// Parses `250/s` or `250`.
    ///
    /// # Errors
    /// Says in a sentence what is expected.
    pub fn parse(text: &str) -> Result<Pace, String> {
        let number = text.trim();
        let number = number.strip_suffix("/s").unwrap_or(number).trim();
        let digits = number.bytes().all(|b| b.is_ascii_digit());
        let parsed = digits.then(|| number.parse().ok()).flatten();
        parsed
            .filter(|n| *n > 0)
            .map(Pace)
            .ok_or_else(|| format!("expected sessions per second such as 250/s, found `{text}`"))
    }
}

impl Percent {
    /// Parses `20%`.
    ///
    /// # Errors
    /// Says in a sentence what is expected.
    pub fn parse(text: &str) -> Result<Percent, String> {
        text.trim()
            .strip_suffix('%')
            .and_then(|n| n.trim().parse().ok())
            .map(Percent)
            .ok_or_else(|| format!("expected a percentage such as 20%, found `{text}`"))
    }
}

struct SizeVisitor;

impl de::Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("a size such as 1MiB or a number of bytes")
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<Size, E> {
        Ok(Size(n))
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<Size, E> {
        u64::try_from(n).map(Size).map_err(|_| E::custom("a size cannot be negative"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        Size::parse(text).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(SizeVisitor)
    }
}

/// Reads text with `parse`; a value of another type is refused with `expected`.
struct TextVisitor<T> {
    expected: &'static str,
    parse: fn(&str) -> Result<T, String>,
}

impl<T> de::Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let expected = "a time such as 25s or 500ms";
        d.deserialize_str(TextVisitor { expected, parse: Period::parse })
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_str(TextVisitor { expected: "a rate such as 500/s", parse: Rate::parse })
    }
}

struct PaceVisitor;

impl de::Visitor<'_> for PaceVisitor {
    type Value = Pace;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("sessions per second such as 250/s")
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<Pace, E> {
        Pace::parse(&n.to_string()).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<Pace, E> {
        Pace::parse(&n.to_string()).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Pace, E> {
        Pace::parse(text).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Pace {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(PaceVisitor)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_str(TextVisitor {
            expected: "a percentage such as 20%",
            parse: Percent::parse,
        })
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        for (factor, unit) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

impl std::fmt::Display for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

impl std::fmt::Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}%", self.0)
    }
}

macro_rules! serialize_by_display {
    ($($unit:ty),*) => {$(
        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
    )*};
}
serialize_by_display!(Size, Period, Rate, Pace, Percent);

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Bytes: a number, or text such as 64KiB or 1MiB.",
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^[0-9]+ *(B|KiB|MiB|GiB|kB|KB|MB|GB)?$" },
            ],
        })
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A length of time such as 25s, 500ms or 1m 30s.",
            "type": "string",
            "pattern": "^([0-9]+ *[A-Za-z]+ *)+$",
            "examples": ["25s", "500ms"],
        })
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Occurrences per second, such as 500/s.",
            "type": "string",
            "pattern": "^[0-9]+ */ *s$",
        })
    }
}

impl JsonSchema for Pace {
    fn schema_name() -> Cow<'static, str> {
        "Pace".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Sessions per second, such as 250/s.",
            "anyOf": [
                { "type": "integer", "minimum": 1 },
                { "type": "string", "pattern": "^[0-9]+ *(/ *s)?$" },
            ],
        })
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A percentage such as 20%.",
            "type": "string",
            "pattern": "^[0-9]+ *%$",
        })
    }
}
