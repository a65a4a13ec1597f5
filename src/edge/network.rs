//! The network a client comes from, as far as shares go.
//!
//! An address alone says little about who is asking: whoever rents a machine has a whole IPv6 /64
//! or more, and IPv4 addresses come in neighbourhoods. So shares are of an IPv4 /24 and an IPv6
//! /48, the smallest that are announced to the whole internet.

use std::fmt;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

/// An IPv4 /24 or an IPv6 /48, in eight octets.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub struct Network(u64);

/// Set for IPv6, whose 48 bits lie below.
const SIX: u64 = 1 << 63;

/// Set for IPv4, whose 24 bits lie below.
const FOUR: u64 = 1 << 62;

impl Network {
    /// The one that has `address`; an IPv4 address inside of IPv6 is one of IPv4.
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(FOUR | u64::from(address.to_bits() >> 8)),
            IpAddr::V6(address) => {
                let [a, b, c, ..] = address.segments();
                Self(SIX | u64::from(a) << 32 | u64::from(b) << 16 | u64::from(c))
            }
        }
    }

    /// A number that is never 0.
    pub(super) const fn as_number(self) -> u64 {
        self.0
    }

    /// The other way; `None` for 0.
    pub(super) const fn from_number(number: u64) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 & SIX == 0 {
            let [.., a, b, c] = self.0.to_be_bytes();
            write!(f, "{}/24", Ipv4Addr::new(a, b, c, 0))
        } else {
            let [_, _, a, b, c, d, e, g] = self.0.to_be_bytes();
            let part = |high, low| u16::from_be_bytes([high, low]);
            write!(f, "{}/48", Ipv6Addr::new(part(a, b), part(c, d), part(e, g), 0, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Network {
        Network::of(address.parse().unwrap())
    }

    #[test]
    fn neighbours_are_one_network_and_others_are_not() {
        assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.9"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("2001:db8:7::1"), of("2001:db8:7:ffff::1"));
        assert_ne!(of("2001:db8:7::1"), of("2001:db8:8::1"));
        assert_ne!(of("0.0.0.0"), of("::"));
    }

    #[test]
    fn a_network_is_written_with_its_length() {
        for (address, text) in [
            ("192.0.2.77", "192.0.2.0/24"),
            ("0.0.0.0", "0.0.0.0/24"),
            ("255.255.255.255", "255.255.255.0/24"),
            ("2001:db8:7:8::9", "2001:db8:7::/48"),
            ("ffff:ffff:ffff::", "ffff:ffff:ffff::/48"),
            ("fe80::1", "fe80::/48"),
        ] {
            let network = of(address);
            assert_eq!(network.to_string(), text);
            assert_eq!(Network::from_number(network.as_number()), Some(network));
        }
        assert_eq!(Network::from_number(0), None);
    }
}
