//! A client certificate and its key, from two files.

use std::io;
use std::path::Path;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// A certificate, with its chain, and its key, as they are in their files: in PEM.
pub struct ClientCertificate {
    /// The certificate, followed by those of its chain.
    pub chain: Vec<u8>,
    /// The key.
    pub key: Vec<u8>,
}

/// One of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairFile {
    /// That of the certificate.
    Certificate,
    /// That of the key.
    Key,
}

/// Reads a certificate and its key, and checks that they belong together. Blocking I/O.
///
/// # Errors
/// Names the file that cannot be read, or, with [`io::ErrorKind::InvalidData`], that holds no
/// certificate in PEM, no key in PEM that is not encrypted, or the key of another certificate.
pub fn read(certificate: &Path, key: &Path) -> Result<ClientCertificate, (PairFile, io::Error)> {
    let of_certificate = |error| (PairFile::Certificate, error);
    let of_key = |error| (PairFile::Key, error);
    let pair = ClientCertificate {
        chain: std::fs::read(certificate).map_err(of_certificate)?,
        key: std::fs::read(key).map_err(of_key)?,
    };
    let chain = CertificateDer::pem_slice_iter(&pair.chain).collect::<Result<Vec<_>, _>>();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| of_certificate(invalid("it holds no certificate in PEM")))?;
    let key = PrivateKeyDer::from_pem_slice(&pair.key)
        .map_err(|_| of_key(invalid("it holds no unencrypted private key in PEM")))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    match CertifiedKey::from_der(chain, key, &provider) {
        Ok(_) => Ok(pair),
        Err(rustls::Error::InconsistentKeys(_)) => Err(of_key(invalid(
            "it is the key of another certificate than `redis.tls.certFile` has",
        ))),
        Err(error) => Err(of_certificate(invalid(&error.to_string()))),
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn written(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_key_must_belong_to_its_certificate() {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        let certificate = written(&certificate.pem());
        let (key, other) = (written(&key.serialize_pem()), written(&other.serialize_pem()));
        let nothing = written("no PEM");
        let read = |certificate: &tempfile::NamedTempFile, key: &tempfile::NamedTempFile| {
            let read = read(certificate.path(), key.path()).map(|pair| pair.key.len());
            read.map_err(|(file, error)| (file, error.to_string()))
        };
        assert!(read(&certificate, &key).is_ok());
        for (certificate, key, file, says) in [
            (&certificate, &other, PairFile::Key, "another certificate"),
            (&certificate, &nothing, PairFile::Key, "no unencrypted private key in PEM"),
            (&nothing, &key, PairFile::Certificate, "no certificate in PEM"),
            (&key, &key, PairFile::Certificate, "no certificate in PEM"),
        ] {
            let (wrong, text) = read(certificate, key).unwrap_err();
            assert!(wrong == file && text.contains(says), "{wrong:?} {text}");
        }
        let missing = super::read(Path::new("/nowhere"), key.path()).err().unwrap();
        assert_eq!((missing.0, missing.1.kind()), (PairFile::Certificate, io::ErrorKind::NotFound));
    }
}
