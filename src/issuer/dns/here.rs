//! Whether an address is one of this machine's, asked of the kernel without a right or an open door.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::net::UdpSocket;

/// Whether `address` is one of this machine's; `None` where the kernel does not say.
///
/// Behind a translation of addresses the public one is not, although it leads here.
pub fn is_here(address: IpAddr) -> Option<bool> {
    match UdpSocket::bind((address, 0)) {
        Ok(_) => Some(true),
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => Some(false),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_here_and_an_address_of_documentation_is_not() {
        assert_eq!(is_here("127.0.0.1".parse().unwrap()), Some(true));
        // RFC 5737: nobody's.
        assert_eq!(is_here("192.0.2.77".parse().unwrap()), Some(false));
    }
}
