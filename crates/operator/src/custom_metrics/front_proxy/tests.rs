use http::HeaderValue;

use super::*;

fn data(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    let ca = params.self_signed(&key).unwrap().pem();
    let mut data = BTreeMap::from([("requestheader-client-ca-file".to_owned(), ca)]);
    data.extend(entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    data
}

fn headers(entries: &[(&'static str, &str)]) -> HeaderMap {
    let entries = entries.iter();
    entries
        .map(|(name, value)| {
            (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        })
        .collect()
}

#[test]
fn a_configuration_without_an_authority_is_rejected() {
    let error = FrontProxy::parse(&BTreeMap::new()).unwrap_err();
    assert_eq!(error.to_string(), "it has no requestheader-client-ca-file");
    let empty = BTreeMap::from([("requestheader-client-ca-file".to_owned(), String::new())]);
    assert!(FrontProxy::parse(&empty).is_err());
    assert!(FrontProxy::parse(&data(&[("requestheader-allowed-names", "front")])).is_err());
}

#[test]
fn the_user_is_read_from_the_headers() {
    let proxy = FrontProxy::parse(&data(&[
        ("requestheader-allowed-names", r#"["front-proxy-client", "other"]"#),
        ("requestheader-username-headers", r#"["X-Remote-User"]"#),
        ("requestheader-group-headers", r#"["X-Remote-Group", "X-Group"]"#),
        ("requestheader-extra-headers-prefix", r#"["X-Remote-Extra-"]"#),
    ]))
    .unwrap();
    let headers = headers(&[
        ("x-remote-user", "ann"),
        ("x-remote-uid", "42"),
        ("x-remote-group", "devs"),
        ("x-remote-group", "ops"),
        ("x-group", "more"),
        ("x-remote-extra-scopes", "a"),
        ("x-remote-extra-scopes", "b"),
        ("x-remote-extra-example.org%2fkey", "c"),
    ]);
    let user = proxy.user(Some("front-proxy-client"), &headers).unwrap();
    assert_eq!(user.name, "ann");
    assert_eq!(user.uid.as_deref(), Some("42"));
    assert_eq!(user.groups, ["devs", "ops", "more"]);
    let extra = [("example.org/key", vec!["c"]), ("scopes", vec!["a", "b"])];
    let extra = extra.map(|(key, values)| {
        (key.to_owned(), values.into_iter().map(str::to_owned).collect::<Vec<_>>())
    });
    assert_eq!(user.extra, BTreeMap::from(extra));
}

#[test]
fn headers_are_trusted_only_from_the_front_proxy() {
    let named = data(&[("requestheader-allowed-names", r#"["front-proxy-client"]"#)]);
    let any = data(&[("requestheader-allowed-names", "[]")]);
    let (named, any) = (FrontProxy::parse(&named).unwrap(), FrontProxy::parse(&any).unwrap());
    let ann = headers(&[("x-remote-user", "ann")]);
    assert!(named.user(Some("front-proxy-client"), &ann).is_ok());
    assert!(named.user(Some("somebody"), &ann).is_err());
    assert!(named.user(None, &ann).is_err());
    assert!(any.user(Some("somebody"), &ann).is_ok());
    assert!(any.user(None, &ann).is_err());
    assert!(any.user(Some("somebody"), &HeaderMap::new()).is_err());
    assert!(any.user(Some("somebody"), &headers(&[("x-remote-user", "")])).is_err());
}
