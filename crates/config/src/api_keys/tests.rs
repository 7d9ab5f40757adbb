use std::io::Write;

use proptest::prelude::*;

use super::*;

/// The shortest key that is accepted, and another one.
const KEY: &str = "0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedc";

fn parse(text: &str) -> ApiKeys {
    ApiKeys::parse(text).unwrap()
}

/// The only key of a line.
fn key(line: &str) -> ApiKey {
    let keys = parse(line);
    assert_eq!(keys.count(), 1);
    (**keys.find(KEY).unwrap()).clone()
}

fn name<'a>(keys: &'a ApiKeys, secret: &str) -> Option<&'a str> {
    keys.find(secret).map(|key| key.name.as_str())
}

#[test]
fn only_a_whole_key_has_its_name() {
    let keys = parse(&format!("# keys\n\nbilling:{KEY}\nshop: a:b{OTHER} \r\nmy shop:x{OTHER}"));
    assert_eq!(keys.count(), 3);
    assert_eq!(name(&keys, KEY), Some("billing"));
    assert_eq!(name(&keys, &format!("a:b{OTHER}")), Some("shop"));
    assert_eq!(name(&keys, &format!("x{OTHER}")), Some("my shop"));
    for wrong in ["", &KEY[1..], &format!("{KEY}\n"), "billing", &KEY.to_uppercase()] {
        assert_eq!(name(&keys, wrong), None, "{wrong:?}");
    }
}

#[test]
fn a_key_without_a_scope_may_do_everything() {
    for line in [format!("ci:{KEY}"), format!("ci:{KEY} admin"), format!("ci: {KEY}\tadmin ")] {
        let key = key(&line);
        assert_eq!(key, ApiKey::admin("ci"));
        assert!(KeyScope::ALL.iter().all(|scope| key.has(*scope)));
        assert!(key.covers_all_rooms() && key.covers_prefix("") && key.covers_room("a"));
        assert!(key.covers_all_namespaces() && key.covers_namespace("/any"));
    }
}

#[test]
fn a_key_is_limited_to_what_its_line_says() {
    let limited =
        key(&format!("shop:{KEY} publish rooms=orders:*,lobby namespaces=/,/admin members"));
    let has = KeyScope::ALL.map(|scope| limited.has(scope));
    assert_eq!(has, [true, true, false]);
    for (room, covered) in
        [("orders:7", true), ("orders:", true), ("lobby", true), ("lobby2", false), ("or", false)]
    {
        assert_eq!(limited.covers_room(room), covered, "{room}");
    }
    assert!(limited.covers_prefix("orders:e") && !limited.covers_prefix("lobby"));
    assert!(limited.covers_namespace("/") && limited.covers_namespace("/admin"));
    assert!(!limited.covers_namespace("/chat") && !limited.covers_namespace("admin"));
    let tenants = key(&format!("shop:{KEY} publish namespaces=/tenant-*"));
    assert!(tenants.covers_namespace("/tenant-7") && !tenants.covers_namespace("/"));
    assert!(!tenants.covers_all_namespaces());
    assert!(!limited.covers_all_rooms() && !limited.covers_all_namespaces());
    assert!(!key(&format!("shop:{KEY} publish")).has(KeyScope::Members));
}

#[test]
fn debug_output_hides_keys() {
    let shown = format!("{:?}", parse(&format!("billing:{KEY}")));
    assert!(shown.contains("billing") && !shown.contains(KEY), "{shown}");
}

#[test]
fn errors_name_malformed_lines_without_their_key() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let good = format!("a:{OTHER}\n");
    for (text, line, fix) in [
        (format!("{good}{KEY}"), 2, "no `:`"),
        (format!(":{KEY}"), 1, "name is empty"),
        ("a:".to_owned(), 1, "key is empty"),
        (format!("{KEY} publish rooms=a:{OTHER}"), 1, "no name"),
        (format!("a:{KEY} admin:{OTHER}"), 1, "`publish`, `members`"),
        (format!("a:{KEY} {KEY}"), 1, "cannot have blanks"),
        (format!("a:{KEY}é"), 1, "Authorization header"),
        (format!("{good}\n# short\nb:{}", &KEY[1..]), 4, "openssl rand -hex 32"),
        (format!("a:{KEY}\n# x\nb:{KEY}"), 3, "repeats"),
        (format!("a:{KEY} rooms=*"), 1, "no scope"),
        (format!("a:{KEY} namespaces=/"), 1, "no scope"),
        (format!("a:{KEY} publish rooms="), 1, "need a value"),
        (format!("a:{KEY} publish rooms=a,,b"), 1, "need a value"),
        (format!("a:{KEY} publish namespaces=admin"), 1, "begins with `/`"),
        (format!("a:{KEY} publish rooms=a rooms=b"), 1, "twice"),
        (format!("a:{KEY} publish namespaces=/ namespaces=/b"), 1, "twice"),
        (format!("a:{KEY} publish publish"), 1, "twice"),
        (format!("a:{KEY} Publish"), 1, "`publish`, `members`"),
        (format!("a:{KEY} publish # comment"), 1, "`publish`, `members`"),
    ] {
        file.as_file().set_len(0).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let error = ApiKeys::load(file.path()).unwrap_err().to_string();
        let place = format!("{}:{line}: ", file.path().display());
        assert!(error.starts_with(&place) && error.contains(fix), "{text:?}: {error}");
        for secret in [&KEY[1..], OTHER] {
            assert!(!error.contains(secret), "{error}");
        }
    }
}

#[test]
fn a_missing_or_empty_file_is_refused_at_the_start() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(ApiKeys::load(file.path()), Err(ApiKeysError::Empty { .. })));
    file.write_all(b"# none\n\n").unwrap();
    let empty = ApiKeys::load(file.path()).unwrap_err().to_string();
    assert!(empty.contains("holds no key") && empty.contains("auth.apiKeysFile"), "{empty}");
    let missing = ApiKeys::load(Path::new("/nowhere/keys")).unwrap_err();
    assert!(missing.to_string().contains("/nowhere/keys"), "{missing}");
}

#[test]
fn a_text_without_a_key_accepts_none() {
    for text in ["", "\n", "# all revoked\n", " \t\r\n"] {
        let keys = ApiKeys::from_text(Path::new("keys"), text).unwrap();
        assert_eq!(keys.count(), 0);
        assert!(keys.find("").is_none() && keys.find(KEY).is_none());
    }
}

proptest! {
    #[test]
    fn every_key_in_the_file_is_found(keys in proptest::collection::hash_set("[!-~]{16,40}", 1..20)) {
        let text: String = keys.iter().map(|key| format!("name:{key}\n")).collect();
        let known = parse(&text);
        for key in &keys {
            prop_assert_eq!(name(&known, key), Some("name"));
            let shorter = &key[..key.len() - 1];
            prop_assert_eq!(known.find(shorter).is_some(), keys.contains(shorter));
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,80}") {
        let _ = ApiKeys::parse(&text);
    }
}
