//! The hash tables of the server, with [aHash](ahash) in place of the standard library's SipHash.
//!
//! Clients choose many of the keys: rooms, namespaces, the addresses that they come from. aHash is
//! made to resist chosen keys that collide, seeded by the operating system, at half of SipHash's
//! time for a room's key and a third for a number. foldhash and rapidhash are no faster here and
//! promise less.

pub use ahash::RandomState;

/// A hash map.
pub type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;

/// A hash set.
pub type HashSet<K> = std::collections::HashSet<K, RandomState>;

/// A hash map that keeps the order of insertion and can be visited by position.
pub type IndexMap<K, V> = indexmap::IndexMap<K, V, RandomState>;
