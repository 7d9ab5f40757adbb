//! The [`AddressKey`]: what counts as one client address.

use std::net::IpAddr;

use ipnet::Ipv6Net;

/// What counts as one address: an IPv4 address, or an IPv6 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressKey(IpAddr);

impl AddressKey {
    /// The key of an address. `ipv6_prefix` is the length in bits of the networks that count as
    /// one; a provider assigns each customer a whole network.
    pub fn of(address: IpAddr, ipv6_prefix: u8) -> Self {
        AddressKey(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let network = Ipv6Net::new(address, ipv6_prefix);
                network.map_or(address, |network| network.network()).into()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_is_one_address() {
        let of = |text: &str, prefix| AddressKey::of(text.parse().unwrap(), prefix);
        assert_eq!(of("2001:db8::1", 64), of("2001:db8::ffff:0:0:1", 64));
        assert_ne!(of("2001:db8::1", 64), of("2001:db8:0:1::1", 64));
        assert_eq!(of("2001:db8::1", 56), of("2001:db8:0:1::1", 56));
        assert_ne!(of("2001:db8::1", 128), of("2001:db8::2", 128));
        assert_ne!(of("9.9.9.9", 64), of("9.9.9.8", 64));
        assert_eq!(of("::ffff:9.9.9.9", 64), of("9.9.9.9", 64));
    }
}
