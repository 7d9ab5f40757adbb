//! The process's limit of open files: every connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use rookery_config::Limits;

/// Files beside the clients' connections: listeners, Redis, the API's connections, logs.
const OTHERS: u64 = 500;

/// Raises the soft limit to the hard one, and says where that is less than `limits.connections`
/// needs: container runtimes start processes with a soft limit of 1,024 or so.
pub(super) fn raise_limit(limits: &Limits) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    if let Some(short) = too_few(getrlimit(Resource::Nofile).current, limits) {
        tracing::info!(
            files = short,
            limit = limits.connections.get(),
            "fewer files may be open than limits.connections needs; raise `ulimit -Hn`, or lower it"
        );
    }
}

/// The limit, where it is too low for the connections that are allowed; `None` is no limit.
fn too_few(limit: Option<u64>, limits: &Limits) -> Option<u64> {
    limit.filter(|limit| *limit < u64::from(limits.connections.get()) + OTHERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        raise_limit(&Limits::default());
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }

    #[test]
    fn a_limit_must_leave_place_for_all_connections() {
        let limits = Limits { connections: 1_000.into(), ..Limits::default() };
        assert_eq!(too_few(Some(1_024), &limits), Some(1_024));
        assert_eq!(too_few(Some(2_000), &limits), None);
        assert_eq!(too_few(None, &limits), None);
    }
}
