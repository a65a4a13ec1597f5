//! Where it is seen which certificate a target shows: `smtp://mail.example.org:25`.
//!
//! Deliberately absent: the dialogues, which `deploy::probe` has.

use std::fmt;
use std::net::Ipv6Addr;

/// A place at which a certificate is shown.
#[derive(Clone, Debug, Eq, PartialEq, Hash)]
pub struct Probe {
    /// How one gets to see it.
    pub protocol: ProbeProtocol,
    /// A name or an address; one of IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// How one gets to see a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum ProbeProtocol {
    /// TLS from the first octet.
    Tls,
    /// The same, with the port and the ALPN of HTTP.
    Https,
    /// STARTTLS of RFC 3207.
    Smtp,
    /// TLS from the first octet (RFC 8314).
    Smtps,
    /// STARTTLS of RFC 9051.
    Imap,
    /// TLS from the first octet (RFC 8314).
    Imaps,
    /// STLS of RFC 2595.
    Pop3,
    /// TLS from the first octet (RFC 8314).
    Pop3s,
    /// PostgreSQL's `SSLRequest`.
    Postgres,
    /// StartTLS of RFC 4511, section 4.14.
    Ldap,
    /// TLS from the first octet.
    Ldaps,
    /// MariaDB's and MySQL's `SSLRequest`.
    Mysql,
    /// STARTTLS of RFC 6120, section 5.
    Xmpp,
}

/// Why a text is no probe.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoProbe {
    /// There is no known protocol in front.
    #[error("it begins with no protocol that is known")]
    Protocol,
    /// There is nothing that could be a host.
    #[error("it names no host")]
    Host,
    /// The port is none, or is missing where the protocol has none of its own.
    #[error("it has no port")]
    Port,
    /// Something stands behind the port.
    #[error("something stands behind the host and port")]
    More,
}

impl ProbeProtocol {
    /// All of them, by the words of the file, each with its port.
    pub const ALL: [(&'static str, Self, Option<u16>); 13] = [
        ("tls", Self::Tls, None),
        ("https", Self::Https, Some(443)),
        ("smtp", Self::Smtp, Some(25)),
        ("smtps", Self::Smtps, Some(465)),
        ("imap", Self::Imap, Some(143)),
        ("imaps", Self::Imaps, Some(993)),
        ("pop3", Self::Pop3, Some(110)),
        ("pop3s", Self::Pop3s, Some(995)),
        ("postgres", Self::Postgres, Some(5432)),
        ("ldap", Self::Ldap, Some(389)),
        ("ldaps", Self::Ldaps, Some(636)),
        ("mysql", Self::Mysql, Some(3306)),
        ("xmpp", Self::Xmpp, Some(5222)),
    ];

    /// The word of the file.
    pub fn word(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, known, _)| *known == self).map_or("tls", |(word, ..)| word)
    }
}

impl Probe {
    /// Reads `PROTOCOL://HOST:PORT`; the port may be missing where the protocol has one.
    ///
    /// # Errors
    /// [`NoProbe`].
    pub fn parse(text: &str) -> Result<Self, NoProbe> {
        let (word, rest) = text.split_once("://").ok_or(NoProbe::Protocol)?;
        let known = ProbeProtocol::ALL.into_iter().find(|(known, ..)| *known == word);
        let (_, protocol, port) = known.ok_or(NoProbe::Protocol)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err(NoProbe::More);
        }
        let (host, given) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or(NoProbe::Host)?;
                let host: Ipv6Addr = host.parse().map_err(|_| NoProbe::Host)?;
                let given = match after.strip_prefix(':') {
                    Some(given) => Some(given),
                    None if after.is_empty() => None,
                    None => return Err(NoProbe::More),
                };
                (host.to_string(), given)
            }
            None => match rest.split_once(':') {
                Some((host, given)) => (host.to_ascii_lowercase(), Some(given)),
                None => (rest.to_ascii_lowercase(), None),
            },
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || host.len() > 253 || host.starts_with('-') || !host.chars().all(plain)
        {
            return Err(NoProbe::Host);
        }
        let port = match given {
            Some(given) if given.bytes().all(|octet| octet.is_ascii_digit()) => given.parse().ok(),
            Some(_) => None,
            None => port,
        };
        let port = port.filter(|port| *port > 0).ok_or(NoProbe::Port)?;
        Ok(Self { protocol, host, port })
    }
}

impl fmt::Display for Probe {
    /// As it is written, with the port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, port) = (self.protocol.word(), self.port);
        if self.host.contains(':') {
            return write!(f, "{word}://[{}]:{port}", self.host);
        }
        write!(f, "{word}://{}:{port}", self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_has_a_protocol_a_host_and_a_port() {
        for (text, written) in [
            ("smtp://mail.example.org", "smtp://mail.example.org:25"),
            ("smtp://Mail.Example.org:587/", "smtp://mail.example.org:587"),
            ("tls://127.0.0.1:8883", "tls://127.0.0.1:8883"),
            ("imaps://[::1]", "imaps://[::1]:993"),
            ("ldap://[2001:db8::0:1]:3389", "ldap://[2001:db8::1]:3389"),
            ("https://localhost", "https://localhost:443"),
        ] {
            let probe = Probe::parse(text).unwrap();
            assert_eq!(probe.to_string(), written);
            assert_eq!(Probe::parse(written), Ok(probe));
        }
        for (text, why) in [
            ("", NoProbe::Protocol),
            ("mail.example.org:25", NoProbe::Protocol),
            ("ftp://a:21", NoProbe::Protocol),
            ("tls://a", NoProbe::Port),
            ("tls://a:", NoProbe::Port),
            ("tls://a:0", NoProbe::Port),
            ("tls://a:+1", NoProbe::Port),
            ("tls://a:65536", NoProbe::Port),
            ("tls://:1", NoProbe::Host),
            ("tls://[::1:1", NoProbe::Host),
            ("tls://[a]:1", NoProbe::Host),
            ("tls://-a:1", NoProbe::Host),
            ("tls://a b:1", NoProbe::Host),
            ("tls://u:p@a:1", NoProbe::More),
            ("https://a/path", NoProbe::More),
            ("tls://[::1]x", NoProbe::More),
        ] {
            assert_eq!(Probe::parse(text), Err(why), "{text}");
        }
    }
}
