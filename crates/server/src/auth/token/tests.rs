use jsonwebtoken::{Algorithm as Library, EncodingKey, Header};
use serde_json::json;

use super::super::testing::{self, sign, signing_key};
use super::*;

/// The moment at which the tokens here are verified, in seconds.
const NOW: u64 = 1_700_000_000;

fn at(seconds: f64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs_f64(seconds)
}

fn expected(algorithms: &[Algorithm]) -> Expected {
    Expected {
        algorithms: algorithms.iter().map(|a| library_name(*a)).collect(),
        issuer: None,
        audience: None,
        user_claim: "sub".to_owned(),
    }
}

fn secret() -> EncodingKey {
    EncodingKey::from_secret(b"secret")
}

/// Verifies claims that are signed with the secret.
fn verified(claims: &Value, expected: &Expected, now: SystemTime) -> Result<Claims, AuthError> {
    let token = sign(Library::HS256, &secret(), None, claims);
    let keys = [Arc::new(KeySet::secret(b"secret").unwrap())];
    verify(&token, &keys, expected, now).map_err(Failure::into_error)
}

fn why(result: Result<Claims, AuthError>) -> String {
    match result {
        Err(AuthError::Unauthenticated(why)) => why,
        other => panic!("expected `unauthenticated`, found {other:?}"),
    }
}

#[test]
fn every_algorithm_verifies_with_its_key_and_no_other() {
    use Library::*;
    let pem = |text| Arc::new(KeySet::pem(text).unwrap());
    let shared = || Arc::new(KeySet::secret(b"secret").unwrap());
    let cases = [
        (HS256, secret(), shared()),
        (HS384, secret(), shared()),
        (HS512, secret(), shared()),
        (RS256, signing_key(testing::RSA), pem(testing::RSA_PUBLIC)),
        (RS384, signing_key(testing::RSA), pem(testing::RSA_PUBLIC)),
        (RS512, signing_key(testing::RSA), pem(testing::RSA_PUBLIC)),
        (PS256, signing_key(testing::RSA), pem(testing::RSA_PUBLIC)),
        (PS384, signing_key(testing::RSA), pem(testing::RSA_PUBLIC)),
        (PS512, signing_key(testing::RSA), pem(testing::RSA_PUBLIC)),
        (ES256, signing_key(testing::EC256), pem(testing::EC256_PUBLIC)),
        (ES384, signing_key(testing::EC384), pem(testing::EC384_PUBLIC)),
        (EdDSA, signing_key(testing::ED), pem(testing::ED_PUBLIC)),
    ];
    let claims = json!({"sub": "ada", "exp": NOW + 1});
    for (algorithm, signing, own) in &cases {
        let token = sign(*algorithm, signing, None, &claims);
        let mut expected = expected(&[]);
        expected.algorithms = vec![*algorithm];
        for (_, _, keys) in &cases {
            let fits = keys.candidates(*algorithm, None).count() == 1;
            let result = verify(&token, std::slice::from_ref(keys), &expected, at(NOW as f64));
            assert_eq!(result.is_ok(), fits, "{algorithm:?}");
        }
        assert_eq!(own.candidates(*algorithm, None).count(), 1);
        let all: Vec<_> = cases.iter().map(|(_, _, keys)| keys.clone()).collect();
        let claims = verify(&token, &all, &expected, at(NOW as f64)).unwrap();
        assert_eq!(claims.user.as_deref(), Some("ada"));
        expected.algorithms = cases.iter().map(|c| c.0).filter(|a| a != algorithm).collect();
        let refused = verify(&token, &all, &expected, at(NOW as f64));
        assert!(why(refused.map_err(Failure::into_error)).contains("not accepted"));
    }
}

#[test]
fn a_public_key_is_never_a_secret() {
    let forged = EncodingKey::from_secret(testing::RSA_PUBLIC.as_bytes());
    let token = sign(Library::HS256, &forged, None, &json!({"exp": NOW + 1}));
    let keys = [Arc::new(KeySet::pem(testing::RSA_PUBLIC).unwrap())];
    let accepted = [Algorithm::RS256, Algorithm::HS256];
    assert!(verify(&token, &keys, &expected(&accepted), at(NOW as f64)).is_err());
    let other = Arc::new(KeySet::secret(b"other").unwrap());
    let keys = [keys[0].clone(), other];
    assert!(verify(&token, &keys, &expected(&accepted), at(NOW as f64)).is_err());
}

#[test]
fn an_unsigned_token_is_refused() {
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let claims = part(json!({"sub": "ada", "exp": NOW + 60}));
    let keys = [Arc::new(KeySet::secret(b"secret").unwrap())];
    for alg in ["none", "None", "NONE", "HS1", ""] {
        let token = format!("{}.{claims}.", part(json!({"alg": alg, "typ": "JWT"})));
        let result = verify(&token, &keys, &expected(&[Algorithm::HS256]), at(NOW as f64));
        assert!(why(result.map_err(Failure::into_error)).contains("not a JWT"), "{alg}");
    }
    let token = format!("{}.{claims}.", part(json!({"alg": "HS256"})));
    assert!(verify(&token, &keys, &expected(&[Algorithm::HS256]), at(NOW as f64)).is_err());
}

#[test]
fn a_tampered_token_is_refused_and_never_quoted() {
    let token = sign(Library::HS256, &secret(), None, &json!({"exp": NOW + 1, "sub": "ada"}));
    let keys = [Arc::new(KeySet::secret(b"secret").unwrap())];
    let expected = expected(&[Algorithm::HS256]);
    let parts: Vec<&str> = token.split('.').collect();
    let other = sign(Library::HS256, &secret(), None, &json!({"exp": NOW + 1, "sub": "bob"}));
    let payload = other.split('.').nth(1).unwrap();
    let mut changed = vec![
        format!("{}.{payload}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{token}.x"),
        format!("{token}="),
        "garbage".to_owned(),
        "..".to_owned(),
        String::new(),
    ];
    changed.extend((0..token.len()).step_by(7).map(|end| token[..end].to_owned()));
    for changed in changed {
        let error = verify(&changed, &keys, &expected, at(NOW as f64)).unwrap_err();
        let why = error.into_error().to_string();
        assert!(parts.iter().all(|part| !why.contains(part)), "{why}");
    }
}

#[test]
fn exp_is_required_and_exact() {
    let expected = expected(&[Algorithm::HS256]);
    let ends = |exp: Value, now: f64| verified(&json!({"exp": exp}), &expected, at(now));
    let now = NOW as f64;
    assert_eq!(ends(json!(NOW), now - 0.001).unwrap().expires, at(now));
    assert_eq!(ends(json!(NOW), now).unwrap_err(), AuthError::Expired);
    assert_eq!(ends(json!(NOW), now + 0.001).unwrap_err(), AuthError::Expired);
    assert!(ends(json!(now + 0.5), now + 0.25).is_ok());
    assert_eq!(ends(json!(now + 0.5), now + 0.5).unwrap_err(), AuthError::Expired);
    assert_eq!(ends(json!(-1), now).unwrap_err(), AuthError::Expired);
    assert_eq!(AuthError::Expired.code().as_str(), "token_expired");
    for exp in [json!("1800000000"), json!(null), json!(1e300), json!([]), json!(u64::MAX)] {
        assert!(why(ends(exp, now)).contains("`exp` is not a time"));
    }
    let none = verified(&json!({"sub": "ada"}), &expected, at(now));
    assert_eq!(none.as_ref().unwrap_err().code().as_str(), "unauthenticated");
    assert!(why(none).contains("no `exp`"));
}

#[test]
fn nbf_has_five_seconds_of_leeway() {
    let expected = expected(&[Algorithm::HS256]);
    let starts =
        |nbf: Value, now: f64| verified(&json!({"exp": NOW + 100, "nbf": nbf}), &expected, at(now));
    let now = NOW as f64;
    assert!(starts(json!(NOW), now).is_ok());
    assert!(starts(json!(NOW), now - 5.0).is_ok());
    assert!(why(starts(json!(NOW), now - 5.001)).contains("not valid yet"));
    assert!(why(starts(json!("soon"), now)).contains("`nbf` is not a time"));
}

#[test]
fn issuer_and_audience_are_checked_if_configured() {
    let mut expected = expected(&[Algorithm::HS256]);
    let check = |expected: &Expected, iss: Value, aud: Value| {
        let claims = json!({"exp": NOW + 1, "iss": iss, "aud": aud});
        verified(&claims, expected, at(NOW as f64))
    };
    assert!(check(&expected, json!("anybody"), json!("anything")).is_ok());
    expected.issuer = Some("me".to_owned());
    expected.audience = Some("app".to_owned());
    assert!(check(&expected, json!("me"), json!("app")).is_ok());
    assert!(check(&expected, json!("me"), json!(["web", "app"])).is_ok());
    for (iss, aud, claim) in [
        (json!("you"), json!("app"), "`iss`"),
        (json!(["me"]), json!("app"), "`iss`"),
        (Value::Null, json!("app"), "`iss`"),
        (json!("me"), json!("web"), "`aud`"),
        (json!("me"), json!(["web"]), "`aud`"),
        (json!("me"), json!({"app": 1}), "`aud`"),
        (json!("me"), Value::Null, "`aud`"),
    ] {
        assert!(why(check(&expected, iss, aud)).contains(claim));
    }
    let missing = verified(&json!({"exp": NOW + 1}), &expected, at(NOW as f64));
    assert!(why(missing).contains("`iss`"));
    let both = verified(&json!({"exp": NOW - 1}), &expected, at(NOW as f64));
    assert!(why(both).contains("`iss`"), "an expired token of another issuer is not ours");
}

#[test]
fn the_user_claim_is_text_or_a_number() {
    let user = |claim: &str, value: Value| {
        let mut claims = json!({"exp": NOW + 1});
        claims[claim] = value;
        let mut expected = expected(&[Algorithm::HS256]);
        expected.user_claim = claim.to_owned();
        verified(&claims, &expected, at(NOW as f64)).unwrap().user
    };
    assert_eq!(user("sub", json!("ada")).as_deref(), Some("ada"));
    assert_eq!(user("https://issuer.example/id", json!(42)).as_deref(), Some("42"));
    for value in [json!(""), json!(null), json!(true), json!({"id": 1}), json!(["ada"])] {
        assert_eq!(user("sub", value), None);
    }
}

#[test]
fn the_subject_has_the_tokens_claims() {
    let claims = json!({"exp": NOW + 1, "sub": "ada", "workspaces": ["w1"]});
    let claims = verified(&claims, &expected(&[Algorithm::HS256]), at(NOW as f64)).unwrap();
    let subject = claims.subject();
    assert_eq!(subject.user(), Some("ada"));
    assert_eq!(subject.claims().get("workspaces"), Some(&json!(["w1"])));
}

#[test]
fn a_key_id_selects_keys_and_without_one_all_are_tried() {
    let jwks = json!({"keys": [
        testing::jwk(testing::RSA, Library::RS256, Some("one")),
        testing::jwk(testing::RSA2, Library::RS256, Some("two")),
    ]});
    let keys = [Arc::new(KeySet::jwks(jwks.to_string().as_bytes()).unwrap())];
    let expected = expected(&[Algorithm::RS256, Algorithm::ES256]);
    let claims = json!({"exp": NOW + 1});
    let check = |algorithm, pem: &str, id: Option<&str>| {
        let token = sign(algorithm, &signing_key(pem), id, &claims);
        verify(&token, &keys, &expected, at(NOW as f64)).map(|_| ())
    };
    assert_eq!(check(Library::RS256, testing::RSA2, Some("two")), Ok(()));
    assert_eq!(check(Library::RS256, testing::RSA2, None), Ok(()));
    assert!(matches!(check(Library::RS256, testing::RSA2, Some("one")), Err(Failure::Refused(_))));
    let unknown = Err(Failure::UnknownKey);
    assert_eq!(check(Library::RS256, testing::RSA, Some("three")), unknown);
    assert_eq!(check(Library::ES256, testing::EC256, None), unknown);
}

#[test]
fn critical_header_extensions_are_refused() {
    let header = Header { crit: Some(vec!["b64".to_owned()]), ..Header::new(Library::HS256) };
    let token = jsonwebtoken::encode(&header, &json!({"exp": NOW + 1}), &secret()).unwrap();
    let keys = [Arc::new(KeySet::secret(b"secret").unwrap())];
    let result = verify(&token, &keys, &expected(&[Algorithm::HS256]), at(NOW as f64));
    assert!(why(result.map_err(Failure::into_error)).contains("`crit`"));
}

#[test]
fn claims_that_are_not_an_object_are_refused() {
    for claims in [json!([]), json!("text"), json!(null)] {
        let result = verified(&claims, &expected(&[Algorithm::HS256]), at(NOW as f64));
        assert!(why(result).contains("not a JSON object"));
    }
}
