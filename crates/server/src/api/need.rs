//! [`Need`]: what a request asks of its API key.

use std::fmt;

use rookery_config::api_keys::{ApiKey, KeyScope};

/// What a request asks of its API key. Its text says what a key lacks, and what to do about it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Need<'a> {
    /// The scope of the route.
    Scope(KeyScope),
    /// The namespace that the request is about.
    Namespace(&'a str),
    /// Every namespace, for a query that names none.
    AllNamespaces,
    /// Every namespace, because a connection is closed with all of its own.
    WholeConnection,
    /// A room that the request is about.
    Room(&'a str),
    /// Every room whose name begins with this text.
    RoomsFrom(&'a str),
    /// Every room.
    AllRooms,
}

impl Need<'_> {
    /// Whether the key has what is needed.
    pub(super) fn is_met_by(self, key: &ApiKey) -> bool {
        match self {
            Need::Scope(scope) => key.has(scope),
            Need::Namespace(namespace) => key.covers_namespace(namespace),
            Need::AllNamespaces | Need::WholeConnection => key.covers_all_namespaces(),
            Need::Room(room) => key.covers_room(room),
            Need::RoomsFrom(prefix) => key.covers_prefix(prefix),
            Need::AllRooms => key.covers_all_rooms(),
        }
    }
}

impl fmt::Display for Need<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Need::Scope(scope) => write!(
                f,
                "This API key does not have the scope `{0}`: add `{0}` to its line in \
                 auth.apiKeysFile, or use another key",
                scope.label()
            ),
            Need::Namespace(namespace) => write!(
                f,
                "This API key is not for the namespace `{namespace}`: see `namespaces=` in its \
                 line in auth.apiKeysFile"
            ),
            Need::AllNamespaces => f.write_str(
                "This API key is for some namespaces only: name one of them in `namespace`",
            ),
            Need::WholeConnection => f.write_str(
                "This API key is for some namespaces only, and a closed connection leaves all of \
                 its own: send `\"close\": false`",
            ),
            Need::Room(room) => write!(
                f,
                "This API key is not for the room `{room}`: see `rooms=` in its line in \
                 auth.apiKeysFile"
            ),
            Need::RoomsFrom(prefix) => write!(
                f,
                "This API key is for some rooms only, not for all that begin with `{prefix}`: use \
                 a `prefix` that `rooms=` in its line in auth.apiKeysFile covers"
            ),
            Need::AllRooms => f.write_str(
                "This API key is for some rooms only, and this request is about all: use a key \
                 without `rooms=` in its line in auth.apiKeysFile",
            ),
        }
    }
}
