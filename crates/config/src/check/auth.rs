//! Checks of `auth`, which a public address requires.

use std::time::Duration;

use reqwest::Url;

use crate::config::{Algorithm, Config, Jwt, is_loopback};

use super::problems::Problems;

/// Query parameters that Engine.IO uses itself (Engine.IO protocol, "Query parameters").
const ENGINE_PARAMETERS: [&str; 6] = ["EIO", "transport", "sid", "t", "j", "b64"];

pub(super) fn check(config: &Config, problems: &mut Problems) {
    let auth = &config.auth;
    if !is_loopback(config.listen.ip()) && auth.jwt.is_none() && auth.anonymous != Some(true) {
        problems.say(
            "listen",
            format_args!(
                "is {}, which other hosts can reach: configure `auth.jwt`, or write \
                 `auth.anonymous: true` to admit clients without a token",
                config.listen
            ),
        );
    }
    if let Some(jwt) = &auth.jwt {
        check_jwt(jwt, problems);
    }
    if let Some(parameter) = &auth.query_param {
        problems.not_blank("auth.queryParam", parameter);
        if ENGINE_PARAMETERS.contains(&parameter.as_str()) {
            problems.say(
                "auth.queryParam",
                format_args!(
                    "is `{parameter}`, which Engine.IO uses itself; use another name, such as token"
                ),
            );
        }
    }
}

fn check_jwt(jwt: &Jwt, problems: &mut Problems) {
    let sources = [
        jwt.secret_file.as_ref().map(|_| "secretFile"),
        jwt.public_key_file.as_ref().map(|_| "publicKeyFile"),
        jwt.jwks_url.as_ref().map(|_| "jwksUrl"),
    ];
    let written: Vec<&str> = sources.into_iter().flatten().collect();
    match written.as_slice() {
        [_] => check_algorithms(jwt, problems),
        [] => problems.say(
            "auth.jwt",
            "has no key; write one of `secretFile`, `publicKeyFile` and `jwksUrl`",
        ),
        several => problems.say(
            "auth.jwt",
            format_args!(
                "has {}; keep exactly one of `secretFile`, `publicKeyFile` and `jwksUrl`",
                several.join(" and ")
            ),
        ),
    }
    check_jwks(jwt, problems);
    problems.not_blank("auth.jwt.userClaim", &jwt.user_claim);
    for (key, value) in [("auth.jwt.issuer", &jwt.issuer), ("auth.jwt.audience", &jwt.audience)] {
        if let Some(value) = value {
            problems.not_blank(key, value);
        }
    }
}

fn check_jwks(jwt: &Jwt, problems: &mut Problems) {
    if let Some(url) = &jwt.jwks_url {
        let usable = Url::parse(url).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.host_str().is_some_and(|h| !h.is_empty())
        });
        if !usable {
            problems.say(
                "auth.jwt.jwksUrl",
                // The URL may hold a password, so it is not repeated.
                "is not an http:// or https:// URL, \
                 such as https://id.example.com/.well-known/jwks.json",
            );
        }
    }
    if jwt.jwks_max_age.0 < Duration::from_secs(1) {
        problems.say(
            "auth.jwt.jwksMaxAge",
            format_args!(
                "is {}, in which no key set can be fetched; write 1s or more, such as 24h",
                jwt.jwks_max_age
            ),
        );
    }
}

fn check_algorithms(jwt: &Jwt, problems: &mut Problems) {
    let key = "auth.jwt.algorithms";
    if jwt.algorithms.is_empty() {
        problems.say(key, "is empty; name what the tokens are signed with, such as RS256");
    }
    problems.distinct(key, &jwt.algorithms, |algorithm| format!("{algorithm:?}"));
    let secret = jwt.secret_file.is_some();
    let misfit = jwt.algorithms.iter().find(|algorithm| is_shared(**algorithm) != secret);
    match misfit {
        Some(algorithm) if secret => problems.say(
            key,
            format_args!(
                "has {algorithm:?}, which needs a public key; with `auth.jwt.secretFile` \
                 write HS256, HS384 or HS512"
            ),
        ),
        Some(algorithm) => problems.say(
            key,
            format_args!(
                "has {algorithm:?}, which needs a shared secret; use `auth.jwt.secretFile`, \
                 or an algorithm with public keys such as RS256"
            ),
        ),
        None => {}
    }
}

/// Whether the algorithm uses a shared secret (RFC 7518, section 3.2).
fn is_shared(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
}
