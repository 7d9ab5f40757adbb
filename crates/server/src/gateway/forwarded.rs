//! The client's address behind proxies, from `X-Forwarded-For`. Pure.
//!
//! `Forwarded` (RFC 7239) is not read: the proxies that write it write `X-Forwarded-For` too, and
//! with two sources a client could choose the one that its proxy does not overwrite.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The client's address; an IPv4-mapped one is IPv4.
    pub address: IpAddr,
    /// How the address was found.
    pub source: Source,
}

/// How the address of an [`Origin`] was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is the connection's other end, which is no trusted proxy.
    Peer,
    /// A trusted proxy reported it.
    Reported,
    /// It is that of a trusted proxy, which reported none.
    Proxy,
    /// It is that of a trusted proxy, and what that proxy reported is no address.
    Unreadable,
}

impl Origin {
    /// The origin of a request from `peer` with these `X-Forwarded-For` headers, which are one
    /// list: the peer, or behind proxies of the `trusted` networks the last hop outside them.
    pub fn of<'a>(
        peer: IpAddr,
        headers: impl DoubleEndedIterator<Item = &'a [u8]>,
        trusted: &[IpNet],
    ) -> Self {
        let mut address = peer.to_canonical();
        if !is_trusted(address, trusted) {
            return Origin { address, source: Source::Peer };
        }
        let hops = headers.rev().flat_map(|header| header.rsplit(|byte| *byte == b','));
        for hop in hops.map(<[u8]>::trim_ascii).filter(|hop| !hop.is_empty()) {
            let Some(reported) = parse_hop(hop) else {
                return Origin { address, source: Source::Unreadable };
            };
            address = reported;
            if !is_trusted(address, trusted) {
                return Origin { address, source: Source::Reported };
            }
        }
        Origin { address, source: Source::Proxy }
    }
}

/// Whether a canonical address is in one of the networks, which may be IPv4 mapped into IPv6.
fn is_trusted(address: IpAddr, networks: &[IpNet]) -> bool {
    let mapped = match address {
        IpAddr::V4(address) => Some(IpAddr::V6(address.to_ipv6_mapped())),
        IpAddr::V6(_) => None,
    };
    networks
        .iter()
        .any(|net| net.contains(&address) || mapped.is_some_and(|mapped| net.contains(&mapped)))
}

/// The address of one hop: with or without a port, brackets, quotes and a zone. `None` for
/// anything else, such as `unknown`.
fn parse_hop(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?;
    let hop = hop.trim_matches(|c: char| c == '"' || c == '\'' || c.is_ascii_whitespace());
    let address: IpAddr = match hop.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            if !(port.is_empty() || port.strip_prefix(':').is_some_and(is_port)) {
                return None;
            }
            without_zone(address).parse().ok()?
        }
        None => match without_zone(hop).parse() {
            Ok(address) => address,
            Err(_) => {
                let (address, port) = hop.split_once(':')?;
                address.parse::<Ipv4Addr>().ok().filter(|_| is_port(port))?.into()
            }
        },
    };
    Some(address.to_canonical())
}

/// Some proxies write a port of `0`, or none after the colon.
fn is_port(text: &str) -> bool {
    text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit())
}

/// The address without its zone (RFC 4007, section 11), which has a meaning on one host only.
fn without_zone(address: &str) -> &str {
    address.split_once('%').map_or(address, |(address, _)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn origin(peer: &str, headers: &[&str], trusted: &[&str]) -> (IpAddr, Source) {
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let headers = headers.iter().map(|header| header.as_bytes());
        let Origin { address, source } = Origin::of(ip(peer), headers, &trusted);
        (address, source)
    }

    #[test]
    fn x_forwarded_for_counts_only_from_trusted_proxies() {
        let from = |peer: &str, headers: &[&str]| origin(peer, headers, &["10.0.0.0/8"]);
        assert_eq!(from("1.2.3.4", &["9.9.9.9"]), (ip("1.2.3.4"), Source::Peer));
        let list = &["9.9.9.9, 8.8.8.8, 10.2.2.2"];
        assert_eq!(from("10.0.0.1", list), (ip("8.8.8.8"), Source::Reported));
        assert_eq!(from("10.0.0.1", &[]), (ip("10.0.0.1"), Source::Proxy));
        assert_eq!(from("10.0.0.1", &["10.3.3.3"]), (ip("10.3.3.3"), Source::Proxy));
    }

    #[test]
    fn several_headers_are_one_list_and_blank_elements_are_none() {
        let from = |headers: &[&str]| origin("10.0.0.1", headers, &["10.0.0.0/8"]).0;
        assert_eq!(from(&["9.9.9.9", "8.8.8.8", "10.2.2.2"]), ip("8.8.8.8"));
        assert_eq!(from(&["8.8.8.8,", " , ,10.2.2.2,, "]), ip("8.8.8.8"));
        assert_eq!(from(&["", ","]), ip("10.0.0.1"));
    }

    #[test]
    fn an_address_is_read_in_every_form_that_proxies_write() {
        let from = |hop: &str| origin("10.0.0.1", &[hop], &["10.0.0.0/8"]);
        for hop in [
            "9.9.9.9",
            "9.9.9.9:1234",
            "9.9.9.9:0",
            "9.9.9.9:",
            "[9.9.9.9]",
            "[9.9.9.9]:80",
            "[9.9.9.9]:",
            "\"9.9.9.9\"",
            "\"9.9.9.9:80\"",
            "::ffff:9.9.9.9",
            "[::ffff:9.9.9.9]:80",
            "[::FFFF:909:909]",
            "\"[::ffff:9.9.9.9]:65535\"",
            "\t 9.9.9.9 ",
        ] {
            assert_eq!(from(hop), (ip("9.9.9.9"), Source::Reported), "{hop}");
        }
        for hop in ["2001:db8::1", "[2001:DB8::1]", "[2001:db8::1]:443", "\"[2001:db8::1%eth0]:1\""]
        {
            assert_eq!(from(hop), (ip("2001:db8::1"), Source::Reported), "{hop}");
        }
    }

    #[test]
    fn nothing_to_the_left_of_an_unreadable_hop_is_believed() {
        for hop in [
            "unknown",
            "_hidden",
            "9.9.9",
            "9.9.9.9:x",
            "[9.9.9.9",
            "[::1]x",
            "[]",
            "\u{e9}",
            "9.9.9.9:1:2",
            ":80",
        ] {
            let headers = &["7.7.7.7", hop, "10.2.2.2"];
            let found = origin("10.0.0.1", headers, &["10.0.0.0/8"]);
            assert_eq!(found, (ip("10.2.2.2"), Source::Unreadable), "{hop}");
            let headers = &[hop, "8.8.8.8"];
            let found = origin("10.0.0.1", headers, &["10.0.0.0/8"]);
            assert_eq!(found, (ip("8.8.8.8"), Source::Reported), "{hop}");
        }
    }

    #[test]
    fn mapped_addresses_and_networks_are_the_ipv4_ones() {
        for trusted in ["10.0.0.0/8", "::ffff:10.0.0.0/104", "::ffff:a00:1/128", "::/0"] {
            for peer in ["10.0.0.1", "::ffff:10.0.0.1"] {
                let found = origin(peer, &["2001:db8::1, ::ffff:9.9.9.9"], &[trusted]);
                let expected = if trusted == "::/0" { ip("2001:db8::1") } else { ip("9.9.9.9") };
                assert_eq!(found.0, expected, "{peer} {trusted}");
            }
        }
        assert_eq!(origin("::ffff:1.2.3.4", &[], &[]), (ip("1.2.3.4"), Source::Peer));
        assert_eq!(origin("::1", &["9.9.9.9"], &["127.0.0.0/8"]), (ip("::1"), Source::Peer));
    }
}
