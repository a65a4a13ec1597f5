//! The first message of a client that has begun to speak TLS, read so that others can read it again.
//!
//! Not an octet more is taken from the connection than the records that hold it, and none is judged:
//! what is no ClientHello, whoever comes next shall say so.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::base::bounds::tcp::FIRST_FLIGHT;
use crate::edge::hello::Octets;
use crate::edge::tls::ACME_TLS;

/// What a client began with.
#[derive(Debug, Default)]
pub(in crate::edge) struct First {
    /// Everything that was read.
    pub(in crate::edge) octets: Vec<u8>,
    /// The ClientHello without its head, if it is one.
    pub(in crate::edge) hello: Option<Vec<u8>>,
}

/// RFC 8446, section 5.1: type, version and length.
const HEADER: usize = 5;
/// The longest that is not under keys.
const RECORD: usize = 1 << 14;
/// RFC 7301, section 3.1.
const ALPN: usize = 16;
/// RFC 8446, section 4: type and length.
const HEAD: usize = 4;

/// Reads the ClientHello from `stream`, in as many records as it comes, behind what was `read`
/// already.
///
/// # Errors
/// Of the connection.
pub(in crate::edge) async fn read(stream: &mut TcpStream, read: Vec<u8>) -> io::Result<First> {
    let mut octets = read;
    let (mut begin, mut message) = (0, Vec::new());
    loop {
        fill(stream, &mut octets, begin + HEADER).await?;
        let mut record = Octets(octets.get(begin..).unwrap_or_default());
        let (kind, _, length) = (record.number(1), record.number(2), record.number(2));
        let length = length.unwrap_or(0);
        if kind != Some(22) || length == 0 || length > RECORD || begin + length > FIRST_FLIGHT {
            return Ok(First { octets, hello: None });
        }
        let end = begin + HEADER + length;
        fill(stream, &mut octets, end).await?;
        message.extend_from_slice(octets.get(begin + HEADER..end).unwrap_or_default());
        begin = end;
        let mut head = Octets(&message);
        let (Some(kind), Some(length)) = (head.number(1), head.number(3)) else { continue };
        if kind != 1 {
            return Ok(First { octets, hello: None });
        }
        if message.len() >= HEAD + length {
            let hello = message.get(HEAD..HEAD + length).map(<[u8]>::to_vec);
            return Ok(First { octets, hello });
        }
    }
}

/// Reads until there are `count` octets.
async fn fill(stream: &mut TcpStream, octets: &mut Vec<u8>, count: usize) -> io::Result<()> {
    let there = octets.len();
    if there < count {
        octets.resize(count, 0);
        stream.read_exact(octets.get_mut(there..).unwrap_or_default()).await?;
    }
    Ok(())
}

/// The extensions of a ClientHello, with their types (RFC 8446, section 4.1.2).
fn extensions(hello: &[u8]) -> Option<Vec<(usize, &[u8])>> {
    let mut hello = Octets(hello);
    // Version and random, session id, suites, compression methods.
    hello.take(34)?;
    hello.list(1)?;
    hello.list(2)?;
    hello.list(1)?;
    let mut left = Octets(hello.list(2).unwrap_or_default());
    let mut found = Vec::new();
    while let Some(kind) = left.number(2) {
        found.push((kind, left.list(2)?));
    }
    Some(found)
}

impl First {
    /// Whether the client speaks `acme-tls/1` and nothing else, as a CA does (RFC 8737, section 3).
    pub(in crate::edge) fn is_challenge(&self) -> bool {
        let all = self.hello.as_deref().and_then(extensions).unwrap_or_default();
        let Some((_, body)) = all.into_iter().find(|(kind, _)| *kind == ALPN) else { return false };
        let mut names = Octets(Octets(body).list(2).unwrap_or_default());
        names.list(1) == Some(ACME_TLS) && names.0.is_empty()
    }

    /// The name that the client asks for (RFC 6066, section 3). Where it hides the one that it means
    /// (RFC 9849), this is the one that it shows.
    pub(in crate::edge) fn name(&self) -> Option<&str> {
        let all = extensions(self.hello.as_deref()?)?;
        let (_, body) = all.into_iter().find(|(kind, _)| *kind == 0)?;
        let mut names = Octets(Octets(body).list(2)?);
        while let Some(kind) = names.number(1) {
            let name = names.list(2)?;
            if kind == 0 {
                return std::str::from_utf8(name).ok().filter(|name| name.is_ascii());
            }
        }
        None
    }
}

#[cfg(test)]
#[path = "first_tests.rs"]
mod tests;
