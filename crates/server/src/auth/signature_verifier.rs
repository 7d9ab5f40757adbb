//! The [`SignatureVerifier`]: a key that is ready to verify the signatures of one algorithm.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};

/// A key that is ready to verify the signatures of one algorithm. jsonwebtoken keeps the bytes of a
/// key and parses them for each signature; this is parsed once.
pub(super) enum SignatureVerifier {
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl SignatureVerifier {
    /// Parses a key of the algorithm's family.
    ///
    /// # Errors
    /// Fails if the key is none, such as a point that is not on the algorithm's curve.
    pub(super) fn new(key: &DecodingKey, algorithm: Algorithm) -> Result<Self, String> {
        use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512};
        use signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519};
        match algorithm {
            HS256 => secret(key, hmac::HMAC_SHA256),
            HS384 => secret(key, hmac::HMAC_SHA384),
            HS512 => secret(key, hmac::HMAC_SHA512),
            ES256 => public(key, &ECDSA_P256_SHA256_FIXED),
            ES384 => public(key, &ECDSA_P384_SHA384_FIXED),
            EdDSA => public(key, &ED25519),
            Algorithm::RS256 => rsa(key, &signature::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => rsa(key, &signature::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => rsa(key, &signature::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => rsa(key, &signature::RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => rsa(key, &signature::RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => rsa(key, &signature::RSA_PSS_2048_8192_SHA512),
            other => Err(format!("{other:?} is not supported")),
        }
    }

    /// Whether `signature` is this key's for `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            SignatureVerifier::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            SignatureVerifier::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

fn secret(key: &DecodingKey, algorithm: hmac::Algorithm) -> Result<SignatureVerifier, String> {
    let bytes = key.try_get_as_bytes().map_err(|error| error.to_string())?;
    Ok(SignatureVerifier::Secret(Box::new(hmac::Key::new(algorithm, bytes))))
}

fn public(
    key: &DecodingKey,
    algorithm: &'static dyn VerificationAlgorithm,
) -> Result<SignatureVerifier, String> {
    let bytes = key.try_get_as_bytes().map_err(|error| error.to_string())?;
    parsed(ParsedPublicKey::new(algorithm, bytes).map_err(|error| error.to_string()))
}

fn rsa(key: &DecodingKey, parameters: &'static RsaParameters) -> Result<SignatureVerifier, String> {
    match key.kind() {
        DecodingKeyKind::SecretOrDer(_) => public(key, parameters),
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            let components = RsaPublicKeyComponents { n, e };
            let key = components.to_parsed_public_key(parameters);
            parsed(key.map_err(|_| "its modulus and exponent are no RSA key".to_owned()))
        }
    }
}

fn parsed(key: Result<ParsedPublicKey, String>) -> Result<SignatureVerifier, String> {
    let key = key.map_err(|error| format!("the key cannot be used: {error}"))?;
    Ok(SignatureVerifier::Public(key))
}
