//! The scope that an API key needs for each route.

use rookery_config::api_keys::KeyScope;

/// Every path of the API, and the scope that its methods need; `None`: any key will do.
const SCOPES: [(&str, Option<KeyScope>); 13] = [
    ("/api/publish", Some(KeyScope::Publish)),
    ("/api/publish/batch", Some(KeyScope::Publish)),
    ("/api/rooms", Some(KeyScope::Members)),
    ("/api/rooms/{room}", Some(KeyScope::Members)),
    ("/api/rooms/{room}/latency", Some(KeyScope::Members)),
    ("/api/rooms/{room}/presence", Some(KeyScope::Members)),
    ("/api/latency", Some(KeyScope::Members)),
    ("/api/status", Some(KeyScope::Members)),
    ("/api/rooms/{room}/join", Some(KeyScope::Admin)),
    ("/api/rooms/{room}/leave", Some(KeyScope::Admin)),
    ("/api/disconnect", Some(KeyScope::Admin)),
    ("/api/explain", Some(KeyScope::Admin)),
    ("/api/openapi.json", None),
];

/// The scope that `path` needs; `None` if it is no route. A path that is a template finds itself.
pub(super) fn required(path: &str) -> Option<Option<KeyScope>> {
    SCOPES.iter().find(|(template, _)| matches(template, path)).map(|(_, scope)| *scope)
}

/// Whether `path` is one of those that `template` describes.
fn matches(template: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    template.split('/').all(|expected| {
        segments.next().is_some_and(|segment| expected.starts_with('{') || expected == segment)
    }) && segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_the_scope_of_its_route() {
        for (path, scope) in [
            ("/api/publish", Some(Some(KeyScope::Publish))),
            ("/api/rooms/publish", Some(Some(KeyScope::Members))),
            ("/api/rooms/a%2Fjoin", Some(Some(KeyScope::Members))),
            ("/api/rooms/latency/join", Some(Some(KeyScope::Admin))),
            ("/api/openapi.json", Some(None)),
            ("/api/rooms/a/kick", None),
            ("/api/publish/", None),
            ("/api", None),
        ] {
            assert_eq!(required(path), scope, "{path}");
        }
    }
}
