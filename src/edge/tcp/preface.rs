//! What a server is told first of the client: a header of the PROXY protocol, version 1 or 2.
//!
//! Reading such headers is the business of `proxied`.

use std::io;
use std::net::SocketAddr;

use proxy_header::ProxiedAddress;
use proxy_header::ProxyHeader;
use proxy_header::SslInfo;
use proxy_header::Tlv;

use crate::config::ProxyVersion;
use crate::edge::facts::Facts;

/// The header for a client at one end of a connection, whose other end is `server`; version 2 says
/// as well which `name` was asked for, and what is known of its TLS.
///
/// # Errors
/// When something does not fit into a header.
pub(in crate::edge) fn header(
    version: ProxyVersion,
    (client, server): (SocketAddr, SocketAddr),
    name: Option<&str>,
    facts: Option<&Facts>,
) -> io::Result<Vec<u8>> {
    let (client, server) = alike(client, server);
    let mut header = ProxyHeader::with_address(ProxiedAddress::stream(client, server));
    let mut out = Vec::new();
    let written = match version {
        ProxyVersion::V1 => header.encode_v1(&mut out),
        ProxyVersion::V2 => {
            if let Some(alpn) = facts.and_then(|facts| facts.alpn.as_deref()) {
                header.append_tlv(Tlv::Alpn(alpn.as_bytes().into()));
            }
            if let Some(name) = name {
                header.append_tlv(Tlv::Authority(name.into()));
            }
            if let Some(facts) = facts {
                header.append_tlv(Tlv::Ssl(ssl(facts)));
            }
            header.encode_v2(&mut out)
        }
    };
    written.map_err(|error| io::Error::other(format!("no PROXY header: {error:?}")))?;
    Ok(out)
}

/// The header for a connection that is for nobody, as to see whether a server is well.
///
/// # Errors
/// None that is known.
pub(in crate::edge) fn nobody(version: ProxyVersion) -> io::Result<Vec<u8>> {
    let (header, mut out) = (ProxyHeader::with_local(), Vec::new());
    let written = match version {
        ProxyVersion::V1 => header.encode_v1(&mut out),
        ProxyVersion::V2 => header.encode_v2(&mut out),
    };
    written.map_err(|error| io::Error::other(format!("no PROXY header: {error:?}")))?;
    Ok(out)
}

fn ssl(facts: &Facts) -> SslInfo<'static> {
    // `verify` is zero only for a certificate that was shown and found good.
    let mut ssl = SslInfo::new(true, facts.shown, facts.shown, u32::from(!facts.shown));
    ssl.append_tlv(Tlv::SslVersion(facts.version.into()));
    ssl.append_tlv(Tlv::SslCipher(facts.suite.into()));
    if let Some(name) = &facts.common_name {
        ssl.append_tlv(Tlv::SslCn(name.as_ref().into()));
    }
    ssl
}

/// Both as IPv4 if they are, else both as IPv6: a header has one family.
fn alike(client: SocketAddr, server: SocketAddr) -> (SocketAddr, SocketAddr) {
    let canonical = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
    let (one, two) = (canonical(client), canonical(server));
    if one.is_ipv4() == two.is_ipv4() {
        return (one, two);
    }
    let six = |a: SocketAddr| match a.ip() {
        std::net::IpAddr::V4(four) => SocketAddr::new(four.to_ipv6_mapped().into(), a.port()),
        std::net::IpAddr::V6(_) => a,
    };
    (six(one), six(two))
}

#[cfg(test)]
mod tests {
    use proxy_header::ParseConfig;

    use super::*;

    fn ends(client: &str, server: &str) -> (SocketAddr, SocketAddr) {
        (client.parse().unwrap(), server.parse().unwrap())
    }

    #[test]
    fn version_1_is_the_line_of_the_specification() {
        let ends = ends("[::ffff:192.0.2.9]:1234", "198.51.100.7:993");
        let header = header(ProxyVersion::V1, ends, Some("a.example"), None).unwrap();
        assert_eq!(header, b"PROXY TCP4 192.0.2.9 198.51.100.7 1234 993\r\n");
    }

    /// Of the specification, sections 2.1 and 2.2.
    #[test]
    fn whoever_is_asked_for_nobody_is_told_so() {
        assert_eq!(nobody(ProxyVersion::V1).unwrap(), b"PROXY UNKNOWN\r\n");
        assert_eq!(nobody(ProxyVersion::V2).unwrap(), b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00");
    }

    #[test]
    fn version_2_tells_of_the_handshake() {
        let facts = Facts {
            version: "TLSv1.3",
            suite: "TLS_AES_128_GCM_SHA256",
            alpn: Some("imap".into()),
            shown: true,
            common_name: Some("visitor".into()),
            ja4: None,
        };
        for (client, server) in [
            ("192.0.2.9:1234", "198.51.100.7:993"),
            ("[2001:db8::9]:1", "[2001:db8::7]:2"),
            ("192.0.2.9:1", "[2001:db8::7]:2"),
        ] {
            let ends = ends(client, server);
            let header = header(ProxyVersion::V2, ends, Some("a.example"), Some(&facts)).unwrap();
            let (read, length) = ProxyHeader::parse(&header, ParseConfig::default()).unwrap();
            assert_eq!(length, header.len());
            let address = read.proxied_address().unwrap();
            assert_eq!((address.source.port(), address.destination), (ends.0.port(), ends.1));
            assert_eq!(address.source.ip().to_canonical(), ends.0.ip());
            assert_eq!((read.authority(), read.alpn()), (Some("a.example"), Some(&b"imap"[..])));
            let ssl = read.ssl().unwrap();
            assert_eq!(ssl.verify(), 0);
            assert!(ssl.client_ssl() && ssl.client_cert_conn());
            assert_eq!((ssl.version(), ssl.cn()), (Some("TLSv1.3"), Some("visitor")));
            assert_eq!(ssl.cipher(), Some("TLS_AES_128_GCM_SHA256"));
        }
    }
}
