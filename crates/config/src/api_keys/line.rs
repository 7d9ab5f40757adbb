//! Parses a line of a file of API keys.

use super::key::{ApiKey, KeyScope};
use crate::glob::Glob;

/// The least length of a key, in bytes: 128 bits if its bytes are random.
const MIN_KEY_BYTES: usize = 16;

/// The key and its secret text in `line`: `name:key`, then scopes and limits.
///
/// # Errors
/// What is wrong, without any part of the line.
pub(super) fn parse(line: &str) -> Result<(ApiKey, &str), &'static str> {
    let (name, rest) = line.split_once(':').ok_or("no `:` between a name and a key")?;
    let name = checked_name(name.trim())?;
    let mut words = rest.split_whitespace();
    let secret = checked_secret(words.next().ok_or("the key is empty")?)?;
    let mut key = ApiKey { scopes: Vec::new(), ..ApiKey::admin(name) };
    for word in words {
        add(&mut key, word)?;
    }
    if key.scopes.is_empty() {
        if key.rooms.is_some() || key.namespaces.is_some() {
            return Err("no scope: write `publish`, `members` or `admin` after the key");
        }
        key.scopes.push(KeyScope::Admin);
    }
    Ok((key, secret))
}

fn checked_name(name: &str) -> Result<&str, &'static str> {
    // A line without a name, such as `KEY publish rooms=a:b`, must not make the key its name.
    let is_misplaced =
        |word: &str| word.contains('=') || KeyScope::ALL.iter().any(|s| s.label() == word);
    if name.is_empty() {
        return Err("the name is empty");
    }
    if name.split_whitespace().skip(1).any(is_misplaced) {
        return Err("no name before the key");
    }
    Ok(name)
}

fn checked_secret(secret: &str) -> Result<&str, &'static str> {
    if !secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("the key has characters that an Authorization header cannot carry");
    }
    if secret.len() < MIN_KEY_BYTES {
        return Err("the key is shorter than 16 bytes; generate one with `openssl rand -hex 32`");
    }
    Ok(secret)
}

/// Adds what a word after the key says.
fn add(key: &mut ApiKey, word: &str) -> Result<(), &'static str> {
    if let Some(scope) = KeyScope::ALL.into_iter().find(|scope| scope.label() == word) {
        if key.scopes.contains(&scope) {
            return Err("a scope is written twice");
        }
        key.scopes.push(scope);
        return Ok(());
    }
    match word.split_once('=') {
        Some(("rooms", value)) => {
            let globs = list(value)?.map(Glob::new).collect();
            once(key.rooms.replace(globs), "`rooms=` is written twice")
        }
        Some(("namespaces", value)) => {
            if list(value)?.any(|name| !name.starts_with('/')) {
                return Err("a namespace begins with `/`, as in `namespaces=/,/admin`");
            }
            let globs = list(value)?.map(Glob::new).collect();
            once(key.namespaces.replace(globs), "`namespaces=` is written twice")
        }
        _ => Err("a word after the key is none of `publish`, `members`, `admin`, \
                  `rooms=PATTERN,…` and `namespaces=/PATTERN,…`; a key cannot have blanks"),
    }
}

fn once<T>(earlier: Option<T>, twice: &'static str) -> Result<(), &'static str> {
    if earlier.is_some() { Err(twice) } else { Ok(()) }
}

/// The parts of a list, none of which may be empty: an empty pattern would match nothing, or stand
/// for a forgotten one.
fn list(value: &str) -> Result<impl Iterator<Item = &str>, &'static str> {
    if value.split(',').any(str::is_empty) {
        return Err("`rooms=` and `namespaces=` need a value, as in `rooms=orders:*`, and no \
                    comma without a value on each side");
    }
    Ok(value.split(','))
}
