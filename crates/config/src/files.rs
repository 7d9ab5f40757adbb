//! Checks and reads the files that a configuration names.

use std::io;
use std::path::Path;

use jsonwebtoken::DecodingKey;

use crate::api_keys::ApiKeys;
use crate::client_certificate::{self, PairFile};
use crate::config::{Algorithm, Backend, Config, Redis};
use crate::error::Problem;
use crate::password_hash::PasswordHash;

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
            found(
                "auth.jwt.secretFile",
                read_secret(path).map(drop).map_err(|error| unusable(path, &error)),
            );
        }
        if let Some(path) = &jwt.public_key_file {
            found("auth.jwt.publicKeyFile", check_public_key(path, &jwt.algorithms));
        }
    }
    if let Some(redis) = &config.redis {
        check_redis(redis, &mut found);
    }
    if let Some(backend) = &config.backend {
        check_backend(backend, &mut found);
    }
    if let Some(admin) = &config.admin {
        let path = &admin.password_hash_file;
        let read = read_password_hash(path).map(drop);
        found("admin.passwordHashFile", read.map_err(|error| unusable(path, &error)));
    }
    if let Some(path) = &config.auth.api_keys_file {
        let keys = ApiKeys::load(path).map(drop);
        found("auth.apiKeysFile", keys.map_err(|error| format!("is refused: {error}")));
    }
    problems
}

fn check_backend(backend: &Backend, found: &mut impl FnMut(&str, Result<(), String>)) {
    if let Some(path) = &backend.signing_key_file {
        let read = read_signing_key(path).map(drop);
        found("backend.signingKeyFile", read.map_err(|error| unusable(path, &error)));
    }
    if let Some(path) = &backend.ca_file {
        let read = read_authorities(path).map(drop);
        found("backend.caFile", read.map_err(|error| unusable(path, &error)));
    }
}

fn check_redis(redis: &Redis, found: &mut impl FnMut(&str, Result<(), String>)) {
    let sentinel = redis.sentinel.as_ref().and_then(|sentinel| sentinel.password_file.as_ref());
    for (key, path) in [
        ("redis.passwordFile", redis.password_file.as_ref()),
        ("redis.sentinel.passwordFile", sentinel),
    ] {
        if let Some(path) = path {
            let read = read_password(path).map(drop);
            found(key, read.map_err(|error| unusable(path, &error)));
        }
    }
    if let Some(path) = &redis.tls.ca_file {
        let read = read_authorities(path).map(drop);
        found("redis.tls.caFile", read.map_err(|error| unusable(path, &error)));
    }
    if let (Some(certificate), Some(key)) = (&redis.tls.cert_file, &redis.tls.key_file) {
        let read = client_certificate::read(certificate, key).map(drop);
        if let Err((file, error)) = read {
            let (name, path) = match file {
                PairFile::Certificate => ("redis.tls.certFile", certificate),
                PairFile::Key => ("redis.tls.keyFile", key),
            };
            found(name, Err(unusable(path, &error)));
        }
    }
}

/// The shortest secret that verifies tokens, in bytes. A key for HS256 must be at least as long as
/// its hash (RFC 7518, section 3.2).
pub const MIN_SECRET_BYTES: usize = 32;

/// Reads a secret that signs tokens from a file. Blocking I/O.
///
/// # Errors
/// Fails if the file cannot be read, and with [`io::ErrorKind::InvalidData`] if [`secret_in`] its
/// content fails.
pub fn read_secret(path: &Path) -> io::Result<Vec<u8>> {
    let content = std::fs::read(path)?;
    let secret = secret_in(&content);
    secret.map(<[u8]>::to_vec).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
}

/// The secret in the content of a file: all of it but one trailing newline.
///
/// # Errors
/// Says in a sentence that it is empty, or shorter than [`MIN_SECRET_BYTES`].
pub fn secret_in(content: &[u8]) -> Result<&[u8], String> {
    let secret = without_newline(content);
    match secret.len() {
        0 => Err("the file is empty".to_owned()),
        MIN_SECRET_BYTES.. => Ok(secret),
        short => Err(format!(
            "the secret has {short} bytes, and can be guessed from one token: use at least \
             {MIN_SECRET_BYTES}, such as `openssl rand -base64 48` makes (RFC 7518, section 3.2)"
        )),
    }
}

/// The content of a file without one trailing newline.
fn without_newline(content: &[u8]) -> &[u8] {
    match content.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => content,
    }
}

/// Reads the key that signs webhooks from a file: all of it but one trailing newline. Blocking I/O.
///
/// # Errors
/// Fails if the file cannot be read, and with [`io::ErrorKind::InvalidData`] if it is empty.
pub fn read_signing_key(path: &Path) -> io::Result<Vec<u8>> {
    let content = std::fs::read(path)?;
    match without_newline(&content) {
        [] => Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty")),
        key => Ok(key.to_vec()),
    }
}

/// Reads a password from a file: all of it but one trailing newline. Blocking I/O.
///
/// # Errors
/// Fails if the file cannot be read, and with [`io::ErrorKind::InvalidData`] if it is empty or not
/// text.
pub fn read_password(path: &Path) -> io::Result<String> {
    let text = std::fs::read_to_string(path)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let password = line.strip_suffix('\r').unwrap_or(line);
    if password.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty"));
    }
    Ok(password.to_owned())
}

/// Reads the hash of a password from a file: all of it but one trailing newline. Blocking I/O.
///
/// # Errors
/// Fails if the file cannot be read, and with [`io::ErrorKind::InvalidData`] if it holds no hash.
pub fn read_password_hash(path: &Path) -> io::Result<PasswordHash> {
    let text = read_password(path)?;
    PasswordHash::parse(&text).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
}

/// Reads the certificates of authorities from a file, in PEM. Blocking I/O.
///
/// # Errors
/// Fails if the file cannot be read, and with [`io::ErrorKind::InvalidData`] if it holds no
/// certificate.
pub fn read_authorities(path: &Path) -> io::Result<Vec<u8>> {
    let content = std::fs::read(path)?;
    if !content.windows(BEGIN_CERTIFICATE.len()).any(|part| part == BEGIN_CERTIFICATE) {
        let why = "it holds no certificate in PEM";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(content)
}

/// The first line of a certificate in PEM (RFC 7468, section 5.1).
const BEGIN_CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

fn unusable(path: &Path, error: &io::Error) -> String {
    let file = path.display();
    match error.kind() {
        io::ErrorKind::InvalidData => format!("names {file}, which cannot be used: {error}"),
        _ => format!("names {file}, which cannot be used: {error}; check the path and its mode"),
    }
}

fn check_public_key(path: &Path, algorithms: &[Algorithm]) -> Result<(), String> {
    let pem = std::fs::read(path).map_err(|error| unusable(path, &error))?;
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
        let secret = "0123456789".repeat(4);
        for (end, kept) in [("", ""), ("\n", ""), ("\r\n", ""), ("\n\n", "\n"), ("\r", "\r")] {
            std::fs::write(&path, format!("{secret}{end}")).unwrap();
            assert_eq!(read_secret(&path).unwrap(), format!("{secret}{kept}").as_bytes());
        }
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(read_secret(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_short_secret_is_refused_with_its_length_and_not_with_its_text() {
        assert!(secret_in(&[b'x'; MIN_SECRET_BYTES]).is_ok());
        assert!(secret_in(&[&[b'x'; MIN_SECRET_BYTES - 1][..], b"\n"].concat()).is_err());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "hunter2\n").unwrap();
        let secret_file = Some(path);
        let jwt = Jwt { algorithms: vec![Algorithm::HS512], secret_file, ..jwt() };
        let problems = check_files(&config(jwt));
        let text = &problems[0].text;
        assert!(text.starts_with("`auth.jwt.secretFile` names"), "{text}");
        for part in ["7 bytes", "at least 32", "openssl rand"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_file_that_holds_no_hash_of_a_password_is_reported_without_its_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.hash");
        let yaml = format!("{{ username: ada, passwordHashFile: {} }}", path.display());
        let admin = serde_saphyr::from_str(&yaml).unwrap();
        let config = Config { admin: Some(admin), ..Config::default() };
        let text = || check_files(&config).pop().map(|problem| problem.text);
        assert!(text().unwrap().contains("check the path"));
        std::fs::write(&path, "ada:hunter2\n").unwrap();
        let no_hash = text().unwrap();
        assert!(no_hash.starts_with("`admin.passwordHashFile` names"), "{no_hash}");
        assert!(no_hash.contains("no bcrypt hash") && !no_hash.contains("hunter2"), "{no_hash}");
        std::fs::write(&path, format!("{}\n", bcrypt::hash("hunter2", 4).unwrap())).unwrap();
        assert_eq!(text(), None);
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
