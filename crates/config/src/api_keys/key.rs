//! [`ApiKey`]: what the owner of a key may do.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::glob::Glob;

/// What a key is for, as its line in the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyScope {
    /// To publish to rooms, one publication or a batch at a time.
    Publish,
    /// To read rooms, members, latencies and the status of instances.
    Members,
    /// To do everything, also to move and to disconnect members.
    Admin,
}

impl KeyScope {
    /// Every scope, the narrowest first.
    pub const ALL: [KeyScope; 3] = [KeyScope::Publish, KeyScope::Members, KeyScope::Admin];

    /// The word that stands for the scope, in the file and in answers.
    pub fn label(self) -> &'static str {
        match self {
            KeyScope::Publish => "publish",
            KeyScope::Members => "members",
            KeyScope::Admin => "admin",
        }
    }
}

/// What the owner of a key may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// The name of the key's owner, which log lines show.
    pub name: String,
    /// A digest of the name, in 32 hexadecimal digits: what tells owners apart where their names
    /// must not be shown.
    pub owner: Arc<str>,
    /// What it is for; one scope at least.
    pub(super) scopes: Vec<KeyScope>,
    /// The rooms that it is for; `None`: all rooms.
    pub(super) rooms: Option<Vec<Glob>>,
    /// The namespaces that it is for; `None`: all namespaces.
    pub(super) namespaces: Option<Vec<Glob>>,
}

impl ApiKey {
    /// A key that may do everything.
    pub(super) fn admin(name: &str) -> Self {
        let digest = Sha256::digest(name);
        let owner = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        ApiKey {
            name: name.to_owned(),
            owner: owner.into(),
            scopes: vec![KeyScope::Admin],
            rooms: None,
            namespaces: None,
        }
    }

    /// Whether the key may do what `scope` is for.
    pub fn has(&self, scope: KeyScope) -> bool {
        self.scopes.iter().any(|own| *own == scope || *own == KeyScope::Admin)
    }

    /// Whether the key is for this room.
    pub fn covers_room(&self, room: &str) -> bool {
        self.rooms.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.matches(room)))
    }

    /// Whether the key is for every room whose name begins with `prefix`.
    pub fn covers_prefix(&self, prefix: &str) -> bool {
        let covered = |globs: &Vec<Glob>| globs.iter().any(|glob| glob.matches_all_with(prefix));
        self.rooms.as_ref().is_none_or(covered)
    }

    /// Whether the key is for all rooms.
    pub fn covers_all_rooms(&self) -> bool {
        self.rooms.is_none()
    }

    /// Whether the key is for this namespace.
    pub fn covers_namespace(&self, namespace: &str) -> bool {
        self.namespaces
            .as_ref()
            .is_none_or(|globs| globs.iter().any(|glob| glob.matches(namespace)))
    }

    /// Whether the key is for all namespaces.
    pub fn covers_all_namespaces(&self) -> bool {
        self.namespaces.is_none()
    }
}
