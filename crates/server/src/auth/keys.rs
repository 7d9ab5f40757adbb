//! [`KeySet`]: the keys that verify tokens.

use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::{Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};

use super::signature_verifier::SignatureVerifier;

/// The smallest RSA modulus, in bits (RFC 7518, section 3.3).
const MIN_RSA_BITS: usize = 2048;

/// The most keys of a key set that are used: a token without a key id is tried with each.
pub const MAX_KEYS: usize = 100;

/// The most bytes of what is wrong with a key set.
const MAX_PROBLEM_BYTES: usize = 300;

/// Keys of any kind, with or without ids.
#[derive(Default)]
pub(super) struct KeySet {
    keys: Vec<Key>,
}

struct Key {
    id: Option<String>,
    /// Verifies signatures, for each algorithm that the key may be used with.
    verifiers: Vec<(Algorithm, SignatureVerifier)>,
}

impl KeySet {
    /// Creates a set of one shared secret.
    ///
    /// # Errors
    /// Fails if the secret is empty.
    pub(super) fn secret(secret: &[u8]) -> Result<Self, String> {
        let verifiers = verifiers(&DecodingKey::from_secret(secret), None)?;
        Ok(KeySet { keys: vec![Key { id: None, verifiers }] })
    }

    /// Parses public keys in PEM (RFC 7468): RSA, EC on P-256 or P-384, Ed25519. A file may hold
    /// several, so that keys can be rotated.
    ///
    /// # Errors
    /// Fails if there is no key, or for a private key, a certificate, or an unusable key.
    pub(super) fn pem(text: &str) -> Result<Self, String> {
        let starts: Vec<usize> = text.match_indices("-----BEGIN ").map(|(at, _)| at).collect();
        let ends = starts.iter().skip(1).copied().chain([text.len()]);
        let blocks = starts.iter().zip(ends).map(|(start, end)| &text[*start..end]);
        let keys = blocks.map(public_key).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err("it holds no `-----BEGIN PUBLIC KEY-----`".to_owned());
        }
        Ok(KeySet { keys })
    }

    /// Parses a JSON Web Key Set (RFC 7517, section 5). Keys of other kinds and for other uses are
    /// ignored, as that section requires.
    ///
    /// # Errors
    /// Fails if the text is not a key set.
    pub(super) fn jwks(json: &[u8]) -> Result<Self, String> {
        #[derive(serde::Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_slice(json).map_err(|error| not_a_key_set(&error))?;
        let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        Ok(KeySet { keys: keys.filter_map(published_key).take(MAX_KEYS).collect() })
    }

    /// The number of keys.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether some key has this id.
    pub(super) fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// The keys that may have signed a token with this algorithm and key id: those with the id and
    /// those without one, or all if the token has no id. A key is never used with an algorithm of
    /// another family.
    pub(super) fn candidates(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
    ) -> impl Iterator<Item = &SignatureVerifier> {
        let is_named =
            move |key: &&Key| id.is_none() || key.id.is_none() || key.id.as_deref() == id;
        self.keys.iter().filter(is_named).filter_map(move |key| {
            let fits = key.verifiers.iter().find(|(of, _)| *of == algorithm);
            fits.map(|(_, verifier)| verifier)
        })
    }
}

/// Says why, in a line that is not as long as the text that the error may quote.
fn not_a_key_set(error: &serde_json::Error) -> String {
    let mut problem = error.to_string();
    problem.truncate(problem.floor_char_boundary(MAX_PROBLEM_BYTES));
    format!("it is not a JSON Web Key Set: {problem}")
}

fn public_key(block: &str) -> Result<Key, String> {
    let label = block["-----BEGIN ".len()..].split("-----").next().unwrap_or_default();
    match label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => {}
        "CERTIFICATE" => {
            return Err("it is a certificate; write the key of `openssl x509 -pubkey`".to_owned());
        }
        private if private.ends_with("PRIVATE KEY") => {
            return Err("it is a private key; write the key of `openssl pkey -pubout`".to_owned());
        }
        other => return Err(format!("it holds a `{other}`, not a `PUBLIC KEY`")),
    }
    let pem = block.as_bytes();
    let decoding = DecodingKey::from_rsa_pem(pem)
        .or_else(|_| DecodingKey::from_ec_pem(pem))
        .or_else(|_| DecodingKey::from_ed_pem(pem))
        .map_err(|_| "it holds no RSA, EC or Ed25519 public key".to_owned())?;
    Ok(Key { id: None, verifiers: verifiers(&decoding, None)? })
}

fn published_key(jwk: Jwk) -> Option<Key> {
    let common = &jwk.common;
    let for_signatures = common
        .public_key_use
        .as_ref()
        .is_none_or(|u| *u == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|ops| ops.contains(&KeyOperations::Verify));
    let decoding = DecodingKey::from_jwk(&jwk).ok().filter(|_| for_signatures)?;
    let own = match common.key_algorithm {
        Some(algorithm) => Some(Algorithm::try_from(algorithm).ok()?),
        None => None,
    };
    let verifiers = verifiers(&decoding, own).ok().filter(|verifiers| !verifiers.is_empty())?;
    Some(Key { id: jwk.common.key_id, verifiers })
}

/// Prepares a key for the algorithms that it may be used with: those of its family or, on an
/// elliptic curve, the curve's; of these only `own` if there is one.
fn verifiers(
    key: &DecodingKey,
    own: Option<Algorithm>,
) -> Result<Vec<(Algorithm, SignatureVerifier)>, String> {
    use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512};
    use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
    let length = key.try_get_as_bytes().map_or(0, <[u8]>::len);
    let algorithms: &[Algorithm] = match key.family() {
        AlgorithmFamily::Hmac if length == 0 => return Err("the secret is empty".to_owned()),
        AlgorithmFamily::Hmac => &[HS256, HS384, HS512],
        AlgorithmFamily::Rsa => {
            let bits = rsa_bits(key)?;
            if bits < MIN_RSA_BITS {
                return Err(format!("the RSA key has {bits} bits; use {MIN_RSA_BITS} or more"));
            }
            &[RS256, RS384, RS512, PS256, PS384, PS512]
        }
        AlgorithmFamily::Ec => match length {
            33 | 65 => &[ES256],
            49 | 97 => &[ES384],
            _ => return Err("the EC key is not on P-256 or P-384".to_owned()),
        },
        // jsonwebtoken does not check the length of an Ed25519 key when it reads one.
        AlgorithmFamily::Ed if length != 32 => return Err("the key is not Ed25519".to_owned()),
        AlgorithmFamily::Ed => &[EdDSA],
    };
    let used = algorithms.iter().filter(|algorithm| own.is_none_or(|own| own == **algorithm));
    used.map(|algorithm| Ok((*algorithm, SignatureVerifier::new(key, *algorithm)?))).collect()
}

fn rsa_bits(key: &DecodingKey) -> Result<usize, String> {
    let modulus = match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, .. } => n.clone(),
        DecodingKeyKind::SecretOrDer(der) => {
            (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(der)
                .map_err(|error| format!("the key cannot be used: {error}"))?
                .0
        }
    };
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let bytes = &modulus[zeros..];
    Ok(bytes.first().map_or(0, |first| 8 * bytes.len() - first.leading_zeros() as usize))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{self, jwk};
    use super::*;

    fn jwks(keys: &[Value]) -> KeySet {
        KeySet::jwks(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    fn pem_error(text: &str) -> String {
        KeySet::pem(text).map(|_| ()).unwrap_err()
    }

    #[test]
    fn a_pem_file_may_hold_several_rsa_ec_and_ed25519_keys() {
        let pkcs1 = include_str!("../../../../tests/keys/rsa.pkcs1.pub.pem");
        let all = [
            testing::RSA_PUBLIC,
            testing::RSA2_PUBLIC,
            pkcs1,
            testing::EC256_PUBLIC,
            testing::EC384_PUBLIC,
            testing::ED_PUBLIC,
        ];
        for pem in all {
            assert_eq!(KeySet::pem(pem).unwrap().len(), 1);
        }
        let set = KeySet::pem(&format!("# comment\n{}", all.concat())).unwrap();
        assert_eq!(set.len(), 6);
        let count = |algorithm| set.candidates(algorithm, None).count();
        assert_eq!(count(Algorithm::RS256), 3);
        assert_eq!(count(Algorithm::PS512), 3);
        assert_eq!(count(Algorithm::ES256), 1);
        assert_eq!(count(Algorithm::ES384), 1);
        assert_eq!(count(Algorithm::EdDSA), 1);
        assert_eq!(count(Algorithm::HS256), 0);
    }

    #[test]
    fn a_pem_without_a_public_key_is_refused_with_a_remedy() {
        assert!(pem_error(testing::RSA).contains("private key"));
        assert!(pem_error(testing::ED).contains("private key"));
        assert!(
            pem_error(include_str!("../../../../tests/keys/rsa.cert.pem")).contains("x509 -pubkey")
        );
        assert!(
            pem_error(include_str!("../../../../tests/keys/rsa1024.pub.pem")).contains("1024 bits")
        );
        assert!(pem_error("").contains("BEGIN PUBLIC KEY"));
        assert!(
            pem_error("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----")
                .contains("no RSA")
        );
        assert!(pem_error("-----BEGIN ").contains("not a"));
        assert!(KeySet::secret(b"").is_err());
    }

    #[test]
    fn candidates_are_selected_by_id_and_family() {
        let set = jwks(&[
            jwk(testing::RSA, Algorithm::RS256, Some("one")),
            jwk(testing::EC256, Algorithm::ES256, Some("two")),
            jwk(testing::RSA2, Algorithm::RS256, None),
        ]);
        assert_eq!(set.len(), 3);
        assert!(set.has("one") && !set.has("three"));
        let count = |algorithm, id| set.candidates(algorithm, id).count();
        assert_eq!(count(Algorithm::RS256, None), 2);
        assert_eq!(count(Algorithm::RS256, Some("one")), 2, "the key, and the one without id");
        assert_eq!(count(Algorithm::RS256, Some("two")), 1, "never a key of another family");
        assert_eq!(count(Algorithm::ES256, Some("one")), 0);
        assert_eq!(count(Algorithm::RS384, None), 0, "a key's own `alg` is kept to");
    }

    #[test]
    fn unusable_keys_of_a_key_set_are_ignored() {
        let rsa = || jwk(testing::RSA, Algorithm::RS256, None);
        let with = |mut key: Value, field: &str, value: Value| {
            key[field] = value;
            key
        };
        let set = jwks(&[
            with(rsa(), "use", json!("enc")),
            with(rsa(), "key_ops", json!(["sign"])),
            with(rsa(), "alg", json!("RSA-OAEP")),
            with(rsa(), "kty", json!("AKP")),
            with(rsa(), "n", json!("AQAB")),
            with(rsa(), "n", json!("!")),
            with(jwk(testing::ED, Algorithm::EdDSA, None), "x", json!("AAAA")),
            with(jwk(testing::EC256, Algorithm::ES256, None), "alg", json!("ES384")),
            with(jwk(testing::EC256, Algorithm::ES256, None), "x", json!("AAAA")),
            with(jwk(testing::EC256, Algorithm::ES256, None), "x", json!("A".repeat(43))),
            with(rsa(), "e", json!("AA")),
            json!({"kty": "oct", "k": ""}),
            json!({}),
            json!("text"),
        ]);
        assert_eq!(set.len(), 0);
        let uses = [json!("sig"), json!("enc")].map(|value| with(rsa(), "use", value));
        assert_eq!(jwks(&uses).len(), 1);
        assert_eq!(jwks(&[with(rsa(), "key_ops", json!(["verify"]))]).len(), 1);
    }

    #[test]
    fn text_that_is_not_a_key_set_is_an_error() {
        for text in ["", "[]", "{}", "{\"keys\": {}}", "<html>", "\u{0}"] {
            assert!(KeySet::jwks(text.as_bytes()).is_err(), "{text}");
        }
        let long = format!("{{\"keys\": \"{}\"}}", "x".repeat(1 << 20));
        let error = KeySet::jwks(long.as_bytes()).map(drop).unwrap_err();
        assert!(error.len() < 400, "{} bytes", error.len());
        assert_eq!(jwks(&[]).len(), 0);
        let many = vec![jwk(testing::ED, Algorithm::EdDSA, None); MAX_KEYS + 1];
        assert_eq!(jwks(&many).len(), MAX_KEYS);
    }
}
