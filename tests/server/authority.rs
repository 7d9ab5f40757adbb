//! A private certificate authority.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// Writes files in PEM: the certificate of an authority (`ca.pem`) and of another one
/// (`other.pem`), and a certificate of the first for 127.0.0.1 (`server.pem`) with its key
/// (`server.key`).
pub fn write_certificates(folder: &Path) {
    let authority = || {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    let (trusted, other) = (authority(), authority());
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &trusted).unwrap();
    write("ca.pem", trusted.pem());
    write("other.pem", other.pem());
    write("server.pem", certificate.pem());
    write("server.key", key.serialize_pem());
}
