//! `X-Forwarded-For`. The first line is the address of the connection's other end, the second the
//! trusted networks, and each further line a header.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use rookery_server::gateway::fuzzing::{Origin, Source};

use crate::repeat::repeated;
use crate::target::{Shape, Target};

/// The most bytes of a request's head here.
const MAX: usize = 1 << 16;

/// Trusts the peer, and every hop.
const TRUSTED: &str = "10.0.0.1\n10.0.0.0/8\n";

/// The target.
pub const TARGET: Target = Target {
    name: "forwarded",
    run,
    shapes: &[
        Shape {
            name: "trusted hops",
            input: |n| repeated(TRUSTED, b"10.0.0.2,", b"", n),
            max: MAX,
        },
        Shape { name: "headers", input: |n| repeated(TRUSTED, b"10.0.0.2\n", b"", n), max: MAX },
        Shape { name: "commas", input: |n| repeated(TRUSTED, b",", b"", n), max: MAX },
        Shape { name: "one hop", input: |n| repeated(TRUSTED, b"[::", b"", n), max: MAX },
        Shape { name: "blanks", input: |n| repeated(TRUSTED, b" \"", b"", n), max: MAX },
    ],
};

/// Finds the origin, and looks for it in other forms of the same list.
pub fn run(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let text = |line: Option<&[u8]>| String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
    let peer: IpAddr = text(lines.next()).parse().unwrap_or(Ipv4Addr::new(10, 0, 0, 1).into());
    let trusted: Vec<IpNet> =
        text(lines.next()).split(',').take(8).filter_map(|net| net.trim().parse().ok()).collect();
    let headers: Vec<&[u8]> = lines.collect();
    let of = |headers: &[&[u8]]| Origin::of(peer, headers.iter().copied(), &trusted);
    let origin = of(&headers);
    assert_eq!(origin.address, origin.address.to_canonical());
    let is_trusted = |address: IpAddr| is_trusted(address, &trusted);
    match origin.source {
        Source::Peer => assert!(origin.address == peer.to_canonical() && !is_trusted(peer)),
        Source::Reported => assert!(!is_trusted(origin.address)),
        Source::Proxy | Source::Unreadable => assert!(is_trusted(origin.address)),
    }
    let joined = headers.join(&b","[..]);
    assert_eq!(of(&[&joined]), origin, "several headers are one list");
    // What a client writes itself stands to the left of what proxies add.
    let forged: Vec<&[u8]> =
        std::iter::once(&b"1.2.3.4, ::1"[..]).chain(headers.iter().copied()).collect();
    match origin.source {
        Source::Proxy => assert!(of(&forged).source != Source::Unreadable),
        _ => assert_eq!(of(&forged), origin, "what is left of the client counts for nothing"),
    }
    if origin.source == Source::Reported {
        for written in forms(origin.address) {
            assert_eq!(of(&[written.as_bytes()]), origin, "{written}");
        }
    }
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    let mapped = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        IpAddr::V6(_) => address,
    };
    trusted.iter().any(|net| net.contains(&address) || net.contains(&mapped))
}

/// An address as proxies write it.
fn forms(address: IpAddr) -> Vec<String> {
    match address {
        IpAddr::V4(v4) => vec![
            format!("{v4}"),
            format!("\"{v4}:80\""),
            format!("::ffff:{v4}"),
            format!("[::ffff:{v4}]:1"),
        ],
        IpAddr::V6(v6) => vec![format!("{v6}"), format!("[{v6}]"), format!(" \"[{v6}%eth0]:443\"")],
    }
}
