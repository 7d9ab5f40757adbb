//! Keys and tokens for the tests of this module.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

pub(super) const RSA: &str = include_str!("../../../../tests/keys/rsa.pem");
pub(super) const RSA_PUBLIC: &str = include_str!("../../../../tests/keys/rsa.pub.pem");
pub(super) const RSA2: &str = include_str!("../../../../tests/keys/rsa2.pem");
pub(super) const RSA2_PUBLIC: &str = include_str!("../../../../tests/keys/rsa2.pub.pem");
pub(super) const EC256: &str = include_str!("../../../../tests/keys/ec256.pem");
pub(super) const EC256_PUBLIC: &str = include_str!("../../../../tests/keys/ec256.pub.pem");
pub(super) const EC384: &str = include_str!("../../../../tests/keys/ec384.pem");
pub(super) const EC384_PUBLIC: &str = include_str!("../../../../tests/keys/ec384.pub.pem");
pub(super) const ED: &str = include_str!("../../../../tests/keys/ed25519.pem");
pub(super) const ED_PUBLIC: &str = include_str!("../../../../tests/keys/ed25519.pub.pem");

/// The private key in a PEM file.
pub(super) fn signing_key(pem: &str) -> EncodingKey {
    let pem = pem.as_bytes();
    EncodingKey::from_rsa_pem(pem)
        .or_else(|_| EncodingKey::from_ec_pem(pem))
        .or_else(|_| EncodingKey::from_ed_pem(pem))
        .unwrap()
}

/// A token with these claims.
pub(super) fn sign(
    algorithm: Algorithm,
    key: &EncodingKey,
    id: Option<&str>,
    claims: &Value,
) -> String {
    let header = Header { kid: id.map(str::to_owned), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, claims, key).unwrap()
}

/// The claims of a token that is valid for a minute from now.
pub(super) fn ada() -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    json!({"sub": "ada", "exp": now + 60})
}

/// The public half of a key, as a key set holds it.
pub(super) fn jwk(pem: &str, algorithm: Algorithm, id: Option<&str>) -> Value {
    let mut jwk = Jwk::from_encoding_key(&signing_key(pem), algorithm).unwrap();
    jwk.common.key_id = id.map(str::to_owned);
    serde_json::to_value(jwk).unwrap()
}
