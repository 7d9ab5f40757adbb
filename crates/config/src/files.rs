//! Checks and reads the files that a configuration names.

use std::io;
use std::path::Path;

use jsonwebtoken::DecodingKey;

use crate::api_keys::ApiKeys;
use crate::config::{Algorithm, Config};
use crate::error::Problem;

/// Reads every file that `config` names, and returns what is wrong with them. Blocking I/O.
pub fn check_files(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut found = |key: &str, result: Result<(), String>| {
        if let Err(text) = result {
            problems.push(Problem::new(key, format!("`{key}` {text}")));
        }
    };
    if let Some(jwt) = &config.auth.jwt {
        if let Some(path) = &jwt.secret_file {
            found("auth.jwt.secretFile", read_key(path).map(drop));
        }
        if let Some(path) = &jwt.public_key_file {
            found("auth.jwt.publicKeyFile", check_public_key(path, &jwt.algorithms));
        }
    }
    if let Some(path) = &config.auth.api_keys_file {
        let keys = ApiKeys::load(path).map(drop);
        found("auth.apiKeysFile", keys.map_err(|error| format!("is refused: {error}")));
    }
    problems
}

/// Reads a secret from a file, without one trailing newline. Blocking I/O.
///
/// # Errors
/// Fails if the file cannot be read, and with [`io::ErrorKind::InvalidData`] if it is empty.
pub fn read_secret(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = std::fs::read(path)?;
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    if bytes.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty"));
    }
    Ok(bytes)
}

fn read_key(path: &Path) -> Result<Vec<u8>, String> {
    read_secret(path).map_err(|error| {
        format!(
            "names {}, which cannot be used: {error}; check the path and its mode",
            path.display()
        )
    })
}

fn check_public_key(path: &Path, algorithms: &[Algorithm]) -> Result<(), String> {
    let pem = read_key(path)?;
    let misfit = algorithms.iter().find(|algorithm| !fits(**algorithm, &pem));
    match misfit {
        None => Ok(()),
        Some(algorithm) => Err(format!(
            "names {}, which holds no public key in PEM for {algorithm:?}; \
             name another file, or correct auth.jwt.algorithms",
            path.display()
        )),
    }
}

/// Whether `pem` is a public key of the kind that `algorithm` needs.
fn fits(algorithm: Algorithm, pem: &[u8]) -> bool {
    match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => false,
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512 => DecodingKey::from_rsa_pem(pem).is_ok(),
        Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(pem).is_ok(),
        Algorithm::EdDSA => DecodingKey::from_ed_pem(pem).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Jwt;

    const RSA: &str = "-----BEGIN PUBLIC KEY-----\n\
        MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtAi+wuNH8r/cUmY8kxZx\n\
        xRcAybyQQ10nxY+AQh//kXDAv5vz1QkaOEtotintugLlUmi1YGUpatCrpJnzdGWJ\n\
        HE6bp4tuM3B176G/LXfx+w4IkcMckgceIIWEKeUsM9IGp8l9VwI5hW+hZB+xBU0f\n\
        2Q3IgKzHc4ML9IhFKBufwrrweuQWDM9c5ULEZgE/Y4WVTgEJeQ4p56RenVcP6aJ/\n\
        Fzp30z/JUvA7zchfUOBQOobkErC79tmz6/pR+I1pY0FBjRWhJYoPxmF56tWmbNUm\n\
        wI2VTZkUrxFFprYyq8B/dM/T9VUUTL2ei3wMzLfOJpEDtbCVHzLl4rshgoskrEVV\n\
        YwIDAQAB\n\
        -----END PUBLIC KEY-----\n";

    fn config(jwt: Jwt) -> Config {
        let mut config = Config::default();
        config.auth.jwt = Some(jwt);
        config
    }

    fn jwt() -> Jwt {
        Jwt {
            algorithms: vec![Algorithm::RS256],
            secret_file: None,
            public_key_file: None,
            jwks_url: None,
            issuer: None,
            audience: None,
            jwks_max_age: Jwt::default_jwks_max_age(),
            user_claim: "sub".to_owned(),
        }
    }

    #[test]
    fn one_trailing_newline_is_not_part_of_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        for (written, read) in [("ab", "ab"), ("ab\n", "ab"), ("ab\r\n", "ab"), ("ab\n\n", "ab\n")]
        {
            std::fs::write(&path, written).unwrap();
            assert_eq!(read_secret(&path).unwrap(), read.as_bytes());
        }
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(read_secret(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn every_missing_file_is_reported_with_its_key() {
        let mut config = config(Jwt { secret_file: Some("/nowhere/secret".into()), ..jwt() });
        config.auth.api_keys_file = Some("/nowhere/keys".into());
        let problems = check_files(&config);
        assert_eq!(problems.len(), 2);
        assert!(problems[0].text.starts_with("`auth.jwt.secretFile` names /nowhere/secret"));
        assert!(problems[1].text.starts_with("`auth.apiKeysFile` is refused"));
        assert!(problems[1].text.contains("/nowhere/keys"));
    }

    #[test]
    fn a_public_key_must_fit_every_algorithm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        std::fs::write(&path, RSA).unwrap();
        let of = |algorithms| {
            check_files(&config(Jwt { algorithms, public_key_file: Some(path.clone()), ..jwt() }))
        };
        assert_eq!(of(vec![Algorithm::RS256, Algorithm::PS512]), []);
        let problems = of(vec![Algorithm::RS256, Algorithm::ES256]);
        assert!(problems[0].text.contains("for ES256"), "{problems:?}");
        std::fs::write(&path, "no key").unwrap();
        assert_eq!(of(vec![Algorithm::EdDSA]).len(), 1);
    }
}
