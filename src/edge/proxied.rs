//! The PROXY protocol, versions 1 and 2, from the networks that are listed for it: who a balancer
//! speaks for.
//!
//! From a listed network the header is required, and from any other it is what it looks like: no
//! TLS. Only the header is read, so that what follows is left to whoever comes next.

use std::io;
use std::net::SocketAddr;

use proxy_header::{Error, ParseConfig, ProxyHeader};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::base::bounds::proxied::PROXY_V1;
use crate::base::bounds::proxied::PROXY_V2;

/// Both ends of a connection as a client sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ends {
    pub(super) client: SocketAddr,
    /// `None` is the address of the socket.
    pub(super) server: Option<SocketAddr>,
}

/// The first octets of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Reads the header from `stream`. `None` where the balancer speaks for itself, as it does to see
/// whether somebody is there.
///
/// # Errors
/// Of the connection, or `InvalidData` for anything else than a header.
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Option<Ends>> {
    // The shortest header of either version is longer.
    let mut header = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == SIGNATURE {
        let mut rest = [0; 4];
        stream.read_exact(&mut rest).await?;
        let [_, _, high, low] = rest;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > PROXY_V2 {
            return Err(invalid("a header of version 2 that is too long"));
        }
        header.extend_from_slice(&rest);
        let begun = header.len();
        header.resize(begun + length, 0);
        stream.read_exact(header.get_mut(begun..).unwrap_or_default()).await?;
    } else if header.starts_with(b"PROXY ") {
        // It has no length: octet by octet, up to the end of the line.
        while !header.ends_with(b"\r\n") {
            if header.len() >= PROXY_V1 {
                return Err(invalid("a header of version 1 that does not end"));
            }
            header.push(stream.read_u8().await?);
        }
    } else {
        return Err(invalid("no header, which every connection from this network begins with"));
    }
    parse(&header)
}

fn parse(header: &[u8]) -> io::Result<Option<Ends>> {
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (parsed, length) = ProxyHeader::parse(header, config).map_err(|error| match error {
        Error::BufferTooShort => invalid("a header that is shorter than it says"),
        _ => invalid("a header that makes no sense"),
    })?;
    if length != header.len() {
        return Err(invalid("a header that is longer than it says"));
    }
    let address = parsed.proxied_address();
    Ok(address.map(|address| Ends { client: address.source, server: Some(address.destination) }))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(client: &str, server: &str) -> Ends {
        Ends { client: client.parse().unwrap(), server: Some(server.parse().unwrap()) }
    }

    #[test]
    fn both_versions_say_who_it_is() {
        let four = ends("192.0.2.9:1234", "198.51.100.7:443");
        assert_eq!(parse(b"PROXY TCP4 192.0.2.9 198.51.100.7 1234 443\r\n").unwrap(), Some(four));
        let six = ends("[2001:db8::9]:1234", "[2001:db8::7]:443");
        let text = b"PROXY TCP6 2001:db8::9 2001:db8::7 1234 443\r\n";
        assert_eq!(parse(text).unwrap(), Some(six));
        assert_eq!(parse(b"PROXY UNKNOWN\r\n").unwrap(), None);
        let mut two = SIGNATURE.to_vec();
        two.extend([0x21, 0x11, 0, 12, 192, 0, 2, 9, 198, 51, 100, 7, 4, 210, 1, 187]);
        assert_eq!(parse(&two).unwrap(), Some(four));
        let local = [&SIGNATURE[..], &[0x20, 0, 0, 0]].concat();
        assert_eq!(parse(&local).unwrap(), None);
        for bad in [
            &b"PROXY TCP4 192.0.2.9 198.51.100.7 1234 443"[..],
            b"PROXY TCP4 192.0.2.9 198.51.100.7 1234 99999\r\n",
            b"PROXY TCP4 2001:db8::9 2001:db8::7 1234 443\r\n",
            b"PROXY TCP4 192.0.2.9 198.51.100.7 1234 443\r\nmore",
            b"PROXY \r\n",
            &two[..20],
        ] {
            assert!(parse(bad).is_err(), "{}", bad.escape_ascii());
        }
    }

    proptest! {
        /// Whatever a listed network sends: no panic.
        #[test]
        fn anything_may_be_sent(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = parse(&bytes);
            let _ = parse(&[&SIGNATURE[..], &bytes].concat());
            let _ = parse(&[b"PROXY ", &bytes[..], b"\r\n"].concat());
        }
    }
}
