use super::*;
use crate::gateway::forwarded::Source;
use rookery_config::PerIp;
use rookery_config::units::Rate;

/// A client on the internet.
fn client(last: u8) -> Origin {
    Origin { address: [198, 51, 100, last].into(), source: Source::Peer }
}

/// A peer that may be a proxy.
fn internal() -> Origin {
    Origin { address: [10, 0, 0, 1].into(), source: Source::Peer }
}

fn refused(limits: &Limits, from: Origin) -> Option<Rejected> {
    limits.acquire(from).err().map(|reached| reached.reason)
}

/// Opens `n` sessions; returns the permits, and the first refusal.
fn open(limits: &Limits, from: Origin, n: usize) -> (Vec<Permit>, Option<Rejected>) {
    let mut permits = Vec::new();
    for _ in 0..n {
        match limits.acquire(from) {
            Ok(permit) => permits.push(permit),
            Err(reached) => return (permits, Some(reached.reason)),
        }
    }
    (permits, None)
}

#[test]
fn the_address_of_a_proxy_has_no_share_of_the_queue_to_redis() {
    let limits = Limits::new(config::Limits::default());
    let of = |address: &str, source| {
        limits.publishing_address(Origin { address: address.parse().unwrap(), source })
    };
    let network = of("2001:db8::1", Source::Reported);
    assert!(network.is_some() && network == of("2001:db8::2", Source::Peer));
    assert!(of("10.0.0.9", Source::Reported).is_some());
    for (address, source) in [
        ("10.0.0.1", Source::Peer),
        ("203.0.113.1", Source::Proxy),
        ("203.0.113.1", Source::Unreadable),
    ] {
        assert_eq!(of(address, source), None, "{address} {source:?}");
    }
}

#[test]
fn dropping_a_permit_frees_a_connection() {
    let limits = Limits::new(config::Limits { connections: 1.into(), ..Default::default() });
    let permit = limits.acquire(client(1)).ok().unwrap();
    assert_eq!(refused(&limits, client(2)), Some(Rejected::Connections));
    drop(permit);
    assert_eq!(refused(&limits, client(2)), None);
}

#[test]
fn reaching_and_clearing_the_limit_are_each_reported_once() {
    let limits = Limits::new(config::Limits { connections: 1.into(), ..Default::default() });
    let permit = limits.acquire(client(1)).ok().unwrap();
    assert_eq!(limits.connection_limit_event(), None);
    for (times, event) in [(2, Some(ConnectionLimitEvent::Reached)), (3, None)] {
        (0..times).for_each(|_| assert!(refused(&limits, client(2)).is_some()));
        assert_eq!(limits.connection_limit_event(), event);
    }
    drop(permit);
    assert_eq!(limits.connection_limit_event(), Some(ConnectionLimitEvent::Cleared { refused: 5 }));
    assert_eq!(limits.connection_limit_event(), None);
}

#[test]
fn the_connect_rate_allows_a_burst_of_one_second() {
    let limits = Limits::new(config::Limits { connect_rate: Rate(2), ..Default::default() });
    assert_eq!(refused(&limits, client(1)), None);
    assert_eq!(refused(&limits, client(1)), None);
    assert_eq!(refused(&limits, client(1)), Some(Rejected::ConnectRate));
}

#[test]
fn an_address_at_its_limit_does_not_affect_others() {
    let per_ip = PerIp { connections: Some(1), connect_rate: Some(Rate(2)), ..Default::default() };
    let limits = Limits::new(config::Limits { per_ip: Some(per_ip), ..Default::default() });
    for first in [client(1), internal()] {
        let permit = limits.acquire(first).ok().unwrap();
        assert_eq!(refused(&limits, first), Some(Rejected::PerIp));
        assert_eq!(refused(&limits, client(2)), None);
        drop(permit);
        assert_eq!(refused(&limits, first), None);
        assert_eq!(refused(&limits, first), Some(Rejected::PerIp));
    }
}

#[test]
fn one_address_cannot_use_up_what_all_share() {
    for (hostile, reason) in [(client(1), Rejected::PerIp), (internal(), Rejected::ConnectRate)] {
        let limits = Limits::new(config::Limits::default());
        let (permits, refusal) = open(&limits, hostile, 500);
        assert_eq!(refusal, Some(reason), "{} sessions", permits.len());
        for other in 2..20 {
            assert_eq!(refused(&limits, client(other)), None, "{other}");
        }
    }
    let limits = Limits::new(config::Limits {
        connections: 1000.into(),
        connect_rate: Rate(1_000_000),
        per_ip: Some(PerIp { connect_rate: Some(Rate(1_000_000)), ..Default::default() }),
        ..Default::default()
    });
    let (permits, refusal) = open(&limits, client(1), 1000);
    assert_eq!((permits.len(), refusal), (500, Some(Rejected::PerIp)));
    assert_eq!(open(&limits, internal(), 500).1, None, "it may be a proxy that is not trusted");
}

#[test]
fn a_refused_address_uses_up_nothing() {
    let limits = Limits::new(config::Limits { connect_rate: Rate(60), ..Default::default() });
    assert_eq!(open(&limits, client(1), 1000).1, Some(Rejected::PerIp));
    for _ in 0..1000 {
        assert_eq!(refused(&limits, client(1)), Some(Rejected::PerIp));
    }
    let others = (2..60).filter(|n| refused(&limits, client(*n)).is_none()).count();
    assert!(others >= 10, "{others}");
}

#[test]
fn a_trusted_proxy_that_names_no_client_is_not_limited_as_one() {
    let per_ip = PerIp { connections: Some(1), ..Default::default() };
    let limits = Limits::new(config::Limits { per_ip: Some(per_ip), ..Default::default() });
    for source in [Source::Proxy, Source::Unreadable] {
        let proxy = Origin { address: [198, 51, 100, 7].into(), source };
        assert_eq!(open(&limits, proxy, 100).1, None);
    }
    let reported = Origin { address: [10, 0, 0, 9].into(), source: Source::Reported };
    assert_eq!(open(&limits, reported, 2).1, Some(Rejected::PerIp));
}

#[test]
fn an_address_that_a_trusted_proxy_reports_is_a_clients_even_if_it_is_internal() {
    let limits = Limits::new(config::Limits::default());
    let reported = Origin { address: [10, 0, 0, 9].into(), source: Source::Reported };
    assert_eq!(open(&limits, reported, 100).1, Some(Rejected::PerIp));
}
