//! Why certificates could not be made or read.

use thiserror::Error;

/// Why certificates could not be made or read.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A key or a certificate could not be made, or an authority's key cannot be read.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// What is kept is no certificate.
    #[error("cannot read a certificate: {0}")]
    Read(String),
    /// A part is missing.
    #[error("the Secret has no {0}")]
    Missing(&'static str),
}
