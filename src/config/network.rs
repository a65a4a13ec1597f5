//! Networks of addresses, as balancers and clients are named by.

use std::net::IpAddr;

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IpNetwork {
    /// The first of them.
    pub address: IpAddr,
    /// How many bits are alike; at most as many as an address has.
    pub prefix: u8,
}

impl std::fmt::Display for IpNetwork {
    /// As it is written in the file: `10.0.0.0/8`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl IpNetwork {
    /// Whether `address` is one of them; an IPv4 address may be written as one of IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4()
            && Self { address, prefix: self.prefix }.first() == self.first()
    }

    /// The first address.
    pub fn first(&self) -> IpAddr {
        let lost = |bits: u32| bits.saturating_sub(u32::from(self.prefix));
        match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(lost(32)).unwrap_or(0);
                IpAddr::V4((u32::from(address) & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(lost(128)).unwrap_or(0);
                IpAddr::V6((u128::from(address) & mask).into())
            }
        }
    }
}
