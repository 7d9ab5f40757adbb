//! Checks of `admin`.

use crate::config::{Admin, Config};

use super::problems::Problems;

/// The most that `admin.maxSockets` may be: each look at the sockets goes through all of them.
const MAX_SOCKETS: u32 = 100_000;

pub(super) fn check(config: &Config, problems: &mut Problems) {
    let Some(Admin { namespace, username, max_sockets, .. }) = &config.admin else { return };
    let is_namespace = namespace.starts_with('/') && !namespace.contains([',', '?', '{', '}']);
    let is_offered = config.offered_namespaces().is_ok_and(|offered| offered.offers(namespace));
    if !is_namespace {
        problems.say(
            "admin.namespace",
            format_args!(
                "is `{namespace}`; a namespace starts with `/` and has no `,`, `?` or brace, such as /admin"
            ),
        );
    } else if namespace == "/" {
        problems.say(
            "admin.namespace",
            "is `/`, to which every client of Socket.IO 2 connects; use another, such as /admin",
        );
    } else if is_offered {
        problems.say(
            "admin.namespace",
            format_args!(
                "is `{namespace}`, which `namespaces` offers to all clients; use another, such as /admin"
            ),
        );
    }
    problems.not_blank("admin.username", username);
    problems.say_if(
        !(1..=MAX_SOCKETS).contains(max_sockets),
        "admin.maxSockets",
        "must be from 1 to 100000, such as 10000",
    );
}
