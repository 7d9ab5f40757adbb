//! The [`AdminEvent`]: what admins are told, in the form of the package's server side. Pure.

use std::fmt::Write as _;
use std::time::SystemTime;

use rookery_protocol::Data;
use smallvec::SmallVec;

/// An event for admins.
#[derive(Clone, Debug, PartialEq)]
pub struct AdminEvent {
    /// The event's name.
    pub name: &'static str,
    /// Its arguments.
    pub args: SmallVec<[Data; 1]>,
}

impl AdminEvent {
    /// An event with these arguments.
    pub fn new(name: &'static str, args: impl IntoIterator<Item = Data>) -> Self {
        AdminEvent { name, args: args.into_iter().collect() }
    }
}

/// A number as JSON has it.
pub fn number(n: impl Into<serde_json::Number>) -> Data {
    Data::Number(n.into())
}

/// An object of these fields.
pub fn object<const N: usize>(fields: [(&str, Data); N]) -> Data {
    Data::Object(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

/// A time as JSON has a JavaScript Date.
pub fn date(time: SystemTime) -> Data {
    let mut text = String::new();
    // Only for a time before 1970 or after the year 9999.
    let _ = write!(text, "{}", humantime::format_rfc3339_millis(time));
    Data::from(text)
}
