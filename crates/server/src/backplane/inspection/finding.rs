//! What an inspection finds.

use std::fmt;

/// What an inspection found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The server's version, such as 7.0.15, where it says it.
    pub version: Option<String>,
    /// What is missing or should be known, the gravest first.
    pub findings: Vec<Finding>,
}

/// Something that a server does not permit or does otherwise than an instance needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it means.
    pub severity: Severity,
    /// A sentence that names the fix.
    pub text: String,
}

/// What a [`Finding`] means, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// An instance does not work with this server.
    Error,
    /// It works, with a loss.
    Warning,
    /// Something could not be looked at.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        })
    }
}
