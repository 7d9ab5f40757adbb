//! The users that docs/redis.md gives: read there, so that the tests use what people copy.

use std::path::Path;

/// What an ACL rule of the document begins with.
const USER: &str = "ACL SETUSER rookery on >PASSWORD ";

/// The rights of the user on Redis, with the classic wire.
pub fn classic() -> String {
    with("+publish")
}

/// The rights of the user on Redis, with the sharded wire.
pub fn sharded() -> String {
    with("+spublish")
}

/// The rights of the user on the sentinels.
pub fn on_sentinels() -> String {
    with("+sentinel|master")
}

/// What is added for rooms with hooks: the rights of a line of the table that names them.
pub fn of_hooks() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/redis.md");
    let text = std::fs::read_to_string(path).unwrap();
    let of_hooks = |line: &&str| line.starts_with("| `+") && line.contains("[hooks](");
    let line = text.lines().find(of_hooks).expect("docs/redis.md has rights for rooms with hooks");
    let rights = line.split('`').filter(|word| word.starts_with('+'));
    rights.collect::<Vec<_>>().join(" ")
}

/// The same as [`classic`] or [`sharded`], for pods whose bridge is on the channel `bridge`.
pub fn with_bridge(rights: &str) -> String {
    assert!(rights.contains("&rookery:publish"), "{rights}");
    rights.replace("&rookery:publish", "&bridge")
}

/// The first rights of the document that hold this one.
fn with(right: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/redis.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rules = text.lines().filter_map(|line| line.strip_prefix(USER));
    let mut found = rules.filter(|rule| rule.split(' ').any(|word| word == right));
    let rule = found.next().unwrap_or_else(|| panic!("docs/redis.md gives no user with {right}"));
    rule.to_owned()
}
