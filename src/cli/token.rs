//! `rookery token`: sign a JWT for development.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Map, Value};

use super::report::{self, Usage};
use rookery_config::load::Sources;
use rookery_config::{Algorithm, Jwt, files};

/// Sign a JWT for development, with the secret that the configuration names.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  rookery token --config rookery.yaml --user ada --claims '{\"workspaces\":[\"w1\"]}' --expires 8h")]
pub struct Args {
    /// The configuration file, whose `auth.jwt.secretFile` holds the secret
    #[arg(long, value_name = "FILE", env = "ROOKERY_CONFIG")]
    config: PathBuf,
    /// The user, for the claim that `auth.jwt.userClaim` names
    #[arg(long, value_name = "U")]
    user: Option<String>,
    /// More claims, as a JSON object; they override `iss`, `aud`, `iat` and `exp`
    #[arg(long, value_name = "JSON", value_parser = claims_of)]
    claims: Option<Map<String, Value>>,
    /// How long the token is valid
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    expires: Duration,
}

/// Prints the token.
///
/// # Errors
/// [`Usage`] when the configuration has no secret to sign with.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let config = Sources::file(&args.config).load_without_files()?;
    let jwt = config.auth.jwt.as_ref().ok_or_else(|| {
        Usage(format!(
            "{} has no `auth.jwt`; write auth: {{ jwt: {{ algorithms: [HS256], secretFile: FILE }} }}",
            args.config.display()
        ))
    })?;
    let now = SystemTime::now();
    report::print(&format!("{}\n", sign(jwt, args, now)?))
}

/// Signs the token that `args` describe, valid from `now` on.
fn sign(jwt: &Jwt, args: &Args, now: SystemTime) -> anyhow::Result<String> {
    let path = jwt.secret_file.as_ref().ok_or_else(|| Usage(no_secret(jwt)))?;
    let secret = files::read_secret(path).map_err(|error| {
        Usage(format!(
            "`auth.jwt.secretFile` names {}, which cannot be used: {error}",
            path.display()
        ))
    })?;
    let algorithm = jwt.algorithms.iter().find_map(|algorithm| match algorithm {
        Algorithm::HS256 => Some(jsonwebtoken::Algorithm::HS256),
        Algorithm::HS384 => Some(jsonwebtoken::Algorithm::HS384),
        Algorithm::HS512 => Some(jsonwebtoken::Algorithm::HS512),
        _ => None,
    });
    let algorithm = algorithm.ok_or_else(|| Usage(no_secret(jwt)))?;
    let claims = claims(jwt, args, now.duration_since(UNIX_EPOCH)?);
    let key = EncodingKey::from_secret(&secret);
    Ok(jsonwebtoken::encode(&Header::new(algorithm), &claims, &key)?)
}

fn no_secret(jwt: &Jwt) -> String {
    let written = match jwt.jwks_url {
        Some(_) => "auth.jwt.jwksUrl",
        None => "auth.jwt.publicKeyFile",
    };
    format!(
        "`{written}` holds public keys, which verify tokens but cannot sign them; get a token from \
         the owner of the private key, or use `auth.jwt.secretFile` with HS256 for development"
    )
}

/// The claims that the configuration requires, overridden by `--claims` and then by `--user`.
fn claims(jwt: &Jwt, args: &Args, now: Duration) -> Map<String, Value> {
    let mut claims = Map::new();
    for (name, value) in [("iss", &jwt.issuer), ("aud", &jwt.audience)] {
        if let Some(value) = value {
            claims.insert(name.to_owned(), value.as_str().into());
        }
    }
    claims.insert("iat".to_owned(), now.as_secs().into());
    claims.insert("exp".to_owned(), now.saturating_add(args.expires).as_secs().into());
    claims.extend(args.claims.clone().unwrap_or_default());
    if let Some(user) = &args.user {
        claims.insert(jwt.user_claim.clone(), user.as_str().into());
    }
    claims
}

fn claims_of(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("expected a JSON object such as {{\"role\":\"admin\"}}: {error}"))
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation};

    use super::*;

    fn jwt(secret: Option<PathBuf>) -> Jwt {
        Jwt {
            algorithms: vec![Algorithm::HS384],
            secret_file: secret,
            public_key_file: None,
            jwks_url: None,
            issuer: Some("dev".to_owned()),
            audience: Some("rooms".to_owned()),
            jwks_max_age: Jwt::default_jwks_max_age(),
            user_claim: "uid".to_owned(),
        }
    }

    fn args(claims: Option<&str>) -> Args {
        Args {
            config: "x.yaml".into(),
            user: Some("ada".to_owned()),
            claims: claims.map(|text| claims_of(text).unwrap()),
            expires: Duration::from_secs(60),
        }
    }

    #[test]
    fn a_token_is_accepted_by_its_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let secret = "s3cret-0123456789-0123456789-abcdef";
        std::fs::write(&path, format!("{secret}\n")).unwrap();
        let token =
            sign(&jwt(Some(path)), &args(Some(r#"{"team":[1]}"#)), SystemTime::now()).unwrap();
        let mut validation = Validation::new(jsonwebtoken::Algorithm::HS384);
        validation.set_issuer(&["dev"]);
        validation.set_audience(&["rooms"]);
        let key = DecodingKey::from_secret(secret.as_bytes());
        let claims = jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap().claims;
        assert_eq!(claims["uid"], "ada");
        assert_eq!(claims["team"][0], 1);
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 60);
    }

    #[test]
    fn claims_override_the_defaults_and_the_user_overrides_claims() {
        let args = args(Some(r#"{"iss":"other","exp":5,"uid":"eve"}"#));
        let claims = claims(&jwt(None), &args, Duration::from_secs(100));
        assert_eq!(
            Value::Object(claims),
            serde_json::json!({
                "iss": "other", "aud": "rooms", "iat": 100, "exp": 5, "uid": "ada",
            })
        );
    }

    #[test]
    fn a_public_key_cannot_sign_and_the_error_names_the_fix() {
        let jwt = Jwt { jwks_url: Some("https://id.example".to_owned()), ..jwt(None) };
        let error = sign(&jwt, &args(None), SystemTime::now()).unwrap_err();
        assert!(error.is::<Usage>());
        let text = error.to_string();
        assert!(text.contains("auth.jwt.jwksUrl") && text.contains("secretFile"), "{text}");
    }
}
