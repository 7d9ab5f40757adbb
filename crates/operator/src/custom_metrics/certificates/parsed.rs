//! What is read out of certificates.

use k8s_openapi::jiff::Timestamp;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use x509_parser::extensions::GeneralName;
use x509_parser::time::ASN1Time;

use super::error::CertificateError;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// What a certificate says of itself.
#[derive(Debug)]
pub struct ParsedCertificate {
    /// The subject, in DER.
    pub subject: Vec<u8>,
    /// Who signed it, in DER.
    pub issuer: Vec<u8>,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub not_after: Timestamp,
    /// The servers' names, in their order.
    pub dns_names: Vec<String>,
}

impl ParsedCertificate {
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// When there is none, or it is damaged.
    pub fn of(pem: &str) -> Result<Self, CertificateError> {
        let read = |error: &dyn std::fmt::Display| CertificateError::Read(error.to_string());
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| read(&e))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|e| read(&e))?;
        let names = parsed.subject_alternative_name().map_err(|e| read(&e))?;
        let names = names.iter().flat_map(|extension| &extension.value.general_names);
        let dns_names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
        Ok(ParsedCertificate {
            subject: parsed.subject().as_raw().to_vec(),
            issuer: parsed.issuer().as_raw().to_vec(),
            not_before: timestamp(parsed.validity().not_before)?,
            not_after: timestamp(parsed.validity().not_after)?,
            dns_names: dns_names.collect(),
        })
    }

    /// Whether two thirds of its time have gone.
    pub fn is_due_for_renewal(&self, now: Timestamp) -> bool {
        let life = self.not_after.as_second() - self.not_before.as_second();
        now.as_second() - self.not_before.as_second() >= life / 3 * 2
    }
}

fn timestamp(time: ASN1Time) -> Result<Timestamp, CertificateError> {
    Timestamp::from_second(time.timestamp()).map_err(|e| CertificateError::Read(e.to_string()))
}

/// The certificates of a PEM text without those that have expired or cannot be read. Without
/// any such it is the same text.
pub fn unexpired(bundle: &str, now: Timestamp) -> String {
    let certificates = bundle.split(BEGIN).skip(1).map(|rest| format!("{BEGIN}{rest}"));
    certificates
        .filter(|pem| ParsedCertificate::of(pem).is_ok_and(|parsed| parsed.not_after > now))
        .collect()
}
