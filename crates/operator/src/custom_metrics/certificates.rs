//! The certificate that the API is served with, and the authorities that sign it. Pure but for the
//! randomness of keys: the time is passed in.
//!
//! An authority is replaced in two steps, a day apart. First the next authority is created and
//! becomes trusted, in the Secret's `ca.crt` and from there in the APIService's `caBundle`; then it
//! starts to sign. The old one stays trusted until it expires. So the API server always knows the
//! authority of a certificate before it is served.

mod error;
mod parsed;
mod secret;

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use self::error::CertificateError;
use self::parsed::ParsedCertificate;
pub use secret::{ServingCertificate, run};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long an authority is valid.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(730 * 24 * 3600);

/// How long a served certificate is valid.
const SERVING_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// Certificates begin this long before they are made, for clocks that differ.
const BACKDATE: Duration = HOUR;

/// How long the next authority is trusted before it signs.
const OVERLAP: Duration = DAY;

/// A certificate and its key, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct PemPair {
    certificate: String,
    key: String,
}

impl std::fmt::Debug for PemPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// The certificates and keys that are kept in the Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSet {
    /// What the API is served with.
    serving: PemPair,
    /// The authority that signed `serving`.
    signing_ca: PemPair,
    /// The authority that will sign next: trusted already.
    next: Option<PemPair>,
    /// Every authority that is trusted, in PEM.
    ca_bundle: String,
}

/// Returns the set to keep from `now` on; `None` if nothing is due. `dns_names` are the names under
/// which the API server connects to the Service. A set that cannot be read, or whose authority
/// expires within a day, is replaced.
///
/// # Errors
/// If a key cannot be generated, or a kept key cannot be read.
pub fn renew(
    set: Option<&CertificateSet>,
    dns_names: &[String],
    now: Timestamp,
) -> Result<Option<CertificateSet>, CertificateError> {
    let Some(set) = set.filter(|set| set.is_sound(now)) else {
        return CertificateSet::new(dns_names, now).map(Some);
    };
    let mut renewed = set.clone();
    renewed.renew_authority(now)?;
    if renewed.needs_serving(dns_names, now)? {
        renewed.serving = serve(&renewed.signing_ca, dns_names, now)?;
    }
    renewed.ca_bundle = parsed::unexpired(&renewed.ca_bundle, now);
    Ok((renewed != *set).then_some(renewed))
}

impl CertificateSet {
    fn new(dns_names: &[String], now: Timestamp) -> Result<Self, CertificateError> {
        let signing_ca = authority(now)?;
        let serving = serve(&signing_ca, dns_names, now)?;
        let ca_bundle = signing_ca.certificate.clone();
        Ok(CertificateSet { serving, signing_ca, next: None, ca_bundle })
    }

    /// Whether all of it can be read and its authority lasts another day.
    fn is_sound(&self, now: Timestamp) -> bool {
        let lasts = |pair: &PemPair| {
            ParsedCertificate::of(&pair.certificate).is_ok_and(|f| f.not_after > now + DAY)
        };
        let readable = |pair: &PemPair| KeyPair::from_pem(&pair.key).is_ok();
        let trusts = |pair: &PemPair| self.ca_bundle.contains(pair.certificate.trim());
        lasts(&self.signing_ca)
            && readable(&self.signing_ca)
            && trusts(&self.signing_ca)
            && self.next.as_ref().is_none_or(|next| lasts(next) && readable(next) && trusts(next))
            && ParsedCertificate::of(&self.serving.certificate).is_ok()
    }

    fn renew_authority(&mut self, now: Timestamp) -> Result<(), CertificateError> {
        match &self.next {
            Some(next)
                if ParsedCertificate::of(&next.certificate)?.not_before + BACKDATE + OVERLAP
                    <= now =>
            {
                self.signing_ca = next.clone();
                self.next = None;
            }
            None if ParsedCertificate::of(&self.signing_ca.certificate)?
                .is_due_for_renewal(now) =>
            {
                let next = authority(now)?;
                self.ca_bundle = format!("{}{}", self.ca_bundle, next.certificate);
                self.next = Some(next);
            }
            _ => {}
        }
        Ok(())
    }

    fn needs_serving(
        &self,
        dns_names: &[String],
        now: Timestamp,
    ) -> Result<bool, CertificateError> {
        let serving = ParsedCertificate::of(&self.serving.certificate)?;
        let signing_ca = ParsedCertificate::of(&self.signing_ca.certificate)?;
        Ok(serving.is_due_for_renewal(now)
            || serving.issuer != signing_ca.subject
            || serving.dns_names != dns_names)
    }
}

/// A new authority. Its name has the time in it, so that two of them are told apart.
fn authority(now: Timestamp) -> Result<PemPair, CertificateError> {
    let mut params = CertificateParams::new(Vec::new())?;
    let name = format!("rookery-operator-metrics-api-ca@{}", now.as_second());
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    valid(&mut params, now, AUTHORITY_LIFETIME);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    Ok(PemPair { certificate, key: key.serialize_pem() })
}

/// A new certificate for a server, signed by `signing_ca`.
fn serve(
    signing_ca: &PemPair,
    dns_names: &[String],
    now: Timestamp,
) -> Result<PemPair, CertificateError> {
    let issuer =
        Issuer::from_ca_cert_pem(&signing_ca.certificate, KeyPair::from_pem(&signing_ca.key)?)?;
    let mut params = CertificateParams::new(dns_names)?;
    let name = dns_names.first().map_or("rookery-operator", String::as_str);
    // A common name has at most 64 characters (RFC 5280, ub-common-name); nobody reads it.
    let name: String = name.chars().take(64).collect();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params, now, SERVING_LIFETIME);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?.pem();
    Ok(PemPair { certificate, key: key.serialize_pem() })
}

fn valid(params: &mut CertificateParams, now: Timestamp, life: Duration) {
    let since_1970 = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or(0));
    let now = date_time_ymd(1970, 1, 1) + since_1970;
    params.not_before = now - BACKDATE;
    params.not_after = now + life;
}

#[cfg(test)]
mod tests;
