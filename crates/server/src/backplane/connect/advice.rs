//! [`advice`]: what to look at after an error of a connection to Redis.

/// Who gave the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A Redis server.
    Server,
    /// A sentinel, asked where the primary is.
    Sentinel,
    /// A node of a Cluster, or what was taken for one.
    Node,
}

/// What to look at, by what an error says; `None` where that is not known. Errors are told apart by
/// their text, because those of TLS and of the sentinels have no code.
pub(super) fn advice(error: &str, asked: Asked) -> Option<&'static str> {
    of_certificates(error).or_else(|| of_login(error, asked)).or_else(|| of_kind(error, asked))
}

/// Errors of rustls, and the alerts of the other side that it passes on.
fn of_certificates(error: &str) -> Option<&'static str> {
    let says = |text: &str| error.contains(text);
    Some(if says("UnknownIssuer") {
        "the certificate is of an authority that is not trusted: name that authority's certificate in \
         redis.tls.caFile; without it, the system's authorities count"
    } else if says("NotValidForName") || says("not valid for name") {
        "the certificate must be for the address by which the server is reached"
    } else if says("invalid peer certificate") {
        "the server needs a certificate that is valid"
    } else if says("CertificateRequired") {
        "the server asks for a client certificate: name it in redis.tls.certFile, and its key in \
         redis.tls.keyFile"
    } else if says("fatal alert: UnknownCA")
        || says("fatal alert: BadCertificate")
        || says("fatal alert: DecryptError")
        || says("fatal alert: CertificateUnknown")
    {
        "the server does not accept the client certificate in redis.tls.certFile: it must be of an \
         authority that the server trusts"
    } else {
        return None;
    })
}

/// Users, passwords, and the right to be asked at all.
fn of_login(error: &str, asked: Asked) -> Option<&'static str> {
    let lacks_login = error.contains("NOAUTH");
    let has_wrong_login = error.contains("WRONGPASS") || error.contains("AuthenticationFailed");
    let is_forbidden = error.contains("NOPERM") || error.contains("has no permissions");
    Some(match asked {
        Asked::Sentinel if lacks_login => {
            "name the file with the sentinels' password in redis.sentinel.passwordFile"
        }
        Asked::Sentinel if has_wrong_login => {
            "correct redis.sentinel.username, or the content of redis.sentinel.passwordFile"
        }
        Asked::Sentinel if is_forbidden => {
            "permit this user on the sentinels what docs/redis.md lists: `+sentinel|master +subscribe`"
        }
        Asked::Node if lacks_login || has_wrong_login => {
            "check the user and the password: each node of a Cluster has users of its own"
        }
        Asked::Node if is_forbidden => "permit this user `+cluster|slots` on every node",
        Asked::Server if lacks_login || has_wrong_login => "check the user and the password",
        _ => return None,
    })
}

/// What is no sentinel, or no node.
fn of_kind(error: &str, asked: Asked) -> Option<&'static str> {
    match asked {
        _ if error.contains("no sentinel knows a primary") => {
            Some("it is the name that `sentinel monitor` has in the sentinels' configuration")
        }
        Asked::Sentinel if error.to_lowercase().contains("unknown command 'sentinel'") => Some(
            "this is a Redis server and no sentinel: name the addresses of the sentinels, which listen \
             on 26379 by default; or leave out redis.mode, or write a redis:// URL",
        ),
        Asked::Node if error.contains("cluster support disabled") => Some(
            "this server is no node of a Cluster: leave out redis.mode, or write a redis:// URL",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_look_at_is_named() {
        use Asked::{Node, Sentinel, Server};
        for (said, asked, expected) in [
            ("invalid peer certificate: UnknownIssuer", Server, "redis.tls.caFile"),
            ("invalid peer certificate: UnknownIssuer", Sentinel, "redis.tls.caFile"),
            ("invalid peer certificate: certificate not valid for name \"a\"", Node, "address"),
            ("invalid peer certificate: Expired", Server, "valid"),
            ("received fatal alert: CertificateRequired", Server, "redis.tls.certFile"),
            ("received fatal alert: UnknownCA", Node, "does not accept"),
            ("\"NOAUTH\": Authentication required.", Sentinel, "redis.sentinel.passwordFile"),
            ("\"NOAUTH\": Authentication required.", Server, "check the user and the password"),
            ("\"WRONGPASS\": invalid username-password pair", Sentinel, "redis.sentinel.username"),
            ("\"WRONGPASS\": invalid username-password pair", Node, "each node"),
            (
                "NoPerm: User r has no permissions to run the 'cluster|slots' command",
                Node,
                "+cluster",
            ),
            (
                "NoPerm: this user has no permissions to run the 'sentinel|get'",
                Sentinel,
                "+sentinel",
            ),
            ("unknown command 'SENTINEL', with args", Sentinel, "no sentinel"),
            ("no sentinel knows a primary of this name; correct it", Server, "sentinel monitor"),
            ("This instance has cluster support disabled", Node, "no node of a Cluster"),
        ] {
            let found = advice(said, asked).unwrap_or_else(|| panic!("{said}"));
            assert!(found.contains(expected), "{said}: {found}");
        }
        for asked in [Server, Sentinel, Node] {
            assert_eq!(advice("ERR unknown", asked), None);
            assert_eq!(advice("Connection refused (os error 111)", asked), None);
        }
    }
}
