//! The ClientHello, read without a word to the client, and what rustls does not tell of it.
//!
//! rustls shows a ClientHello's name and algorithms, not whether it brings a ticket. So the bytes
//! are looked at on their way to rustls, which alone decides whether they are a ClientHello.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::StartHandshake;

use super::meter::Meter;
use crate::base::bounds::HELLO_KEPT;

/// A client that has said hello and waits for an answer.
pub(super) struct Greeted {
    /// On the heap: it takes a kilobyte, and changes hands some times.
    pub(super) start: Box<StartHandshake<TcpStream>>,
    /// Whether the client brings a ticket that was found good.
    pub(super) ticket: bool,
    /// What was read.
    pub(super) meter: Meter,
}

/// Reads the ClientHello from `stream`, of which `unread` was read before; `good` is asked about the ticket in it, if there is one.
///
/// # Errors
/// Of the connection, or `InvalidData` for what is no ClientHello, which the client was told.
pub(super) async fn read(
    stream: TcpStream,
    unread: Vec<u8>,
    good: impl Fn(&[u8]) -> bool + Unpin,
) -> io::Result<Greeted> {
    let meter = Meter::default();
    let tap = Tap { stream, unread, good, kept: Vec::new(), ticket: None, meter };
    let start = LazyConfigAcceptor::new(Acceptor::default(), tap).await?;
    let Tap { stream, ticket, meter, .. } = start.io;
    let start = Box::new(StartHandshake::from_parts(start.accepted, stream));
    Ok(Greeted { start, ticket: ticket.unwrap_or(false), meter })
}

/// A connection whose first bytes are looked at.
struct Tap<F> {
    stream: TcpStream,
    /// What was read of it before, and is to be read again.
    unread: Vec<u8>,
    good: F,
    /// What came before, when the hello did not come in one piece.
    kept: Vec<u8>,
    /// `None` until it is known.
    ticket: Option<bool>,
    meter: Meter,
}

impl<F: Fn(&[u8]) -> bool> Tap<F> {
    fn look(&mut self, fresh: &[u8]) {
        if self.ticket.is_some() {
            return;
        }
        let whole = if self.kept.is_empty() {
            fresh
        } else {
            self.kept.extend_from_slice(fresh);
            &self.kept
        };
        match ticket(whole) {
            Search::Found(ticket) => self.ticket = Some((self.good)(ticket)),
            Search::Absent => self.ticket = Some(false),
            Search::Short if whole.len() >= HELLO_KEPT => self.ticket = Some(false),
            Search::Short => {
                if self.kept.is_empty() {
                    self.kept.extend_from_slice(fresh);
                }
                return;
            }
        }
        self.kept = Vec::new();
    }
}

impl<F: Fn(&[u8]) -> bool + Unpin> AsyncRead for Tap<F> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if this.unread.is_empty() {
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        } else {
            let count = this.unread.len().min(buf.remaining());
            buf.put_slice(this.unread.drain(..count).as_slice());
        }
        let fresh = buf.filled().get(before..).unwrap_or_default();
        this.meter.feed(fresh);
        this.look(fresh);
        Poll::Ready(Ok(()))
    }
}

impl<F: Unpin> AsyncWrite for Tap<F> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[derive(Debug, Eq, PartialEq)]
enum Search<'a> {
    Found(&'a [u8]),
    Absent,
    /// The hello is not whole yet.
    Short,
}

/// RFC 8446, section 4.2.11, and RFC 5077, section 3.2.
const PRE_SHARED_KEY: u16 = 41;
const SESSION_TICKET: u16 = 35;

/// The ticket in the ClientHello that is all of `record`, a TLS record; see [`ticket`].
pub(super) fn ticket_of(record: &[u8]) -> Option<&[u8]> {
    match ticket(record) {
        Search::Found(ticket) => Some(ticket),
        Search::Absent | Search::Short => None,
    }
}

/// The ticket in the ClientHello at the beginning of `bytes`: the first identity of TLS 1.3, else
/// the ticket of TLS 1.2. What is no ClientHello, or comes in several records, has none.
fn ticket(bytes: &[u8]) -> Search<'_> {
    let mut octets = Octets(bytes);
    // Type and version of the record, its length, then type and length of the message (RFC 8446,
    // sections 5.1 and 4).
    let head = (octets.number(1), octets.number(2), octets.number(2), octets.number(1));
    let (Some(record), Some(_), Some(length), Some(message)) = head else { return Search::Short };
    let Some(body) = octets.number(3) else { return Search::Short };
    if record != 22 || message != 1 || length < body + 4 {
        return Search::Absent;
    }
    match octets.take(body) {
        Some(hello) => ticket_in(Octets(hello)).map_or(Search::Absent, Search::Found),
        None => Search::Short,
    }
}

/// RFC 8446, section 4.1.2.
fn ticket_in(mut hello: Octets<'_>) -> Option<&[u8]> {
    // Version and random, session id, suites, compression methods.
    hello.take(34)?;
    hello.list(1)?;
    hello.list(2)?;
    hello.list(1)?;
    let mut extensions = Octets(hello.list(2)?);
    let mut older = None;
    while let Some(kind) = extensions.number(2) {
        let body = extensions.list(2)?;
        if kind == usize::from(PRE_SHARED_KEY) {
            return Octets(Octets(body).list(2)?).list(2);
        }
        if kind == usize::from(SESSION_TICKET) && !body.is_empty() {
            older = Some(body);
        }
    }
    older
}

/// Bytes that are taken from the front.
#[derive(Clone, Copy)]
pub(super) struct Octets<'a>(pub(super) &'a [u8]);

impl<'a> Octets<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of `width` octets.
    pub(super) fn number(&mut self, width: usize) -> Option<usize> {
        Some(self.take(width)?.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)))
    }

    /// What follows its length of `width` octets.
    pub(super) fn list(&mut self, width: usize) -> Option<&'a [u8]> {
        let length = self.number(width)?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A list with its length.
    fn list(width: usize, body: &[u8]) -> Vec<u8> {
        let length = body.len().to_be_bytes();
        [&length[length.len() - width..], body].concat()
    }

    fn hello(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let extensions: Vec<u8> = extensions
            .iter()
            .flat_map(|(kind, body)| [kind.to_be_bytes().to_vec(), list(2, body)].concat())
            .collect();
        let body = [
            &[3; 34][..],
            &list(1, &[9; 32]),
            &list(2, &[0x13, 1]),
            &list(1, &[0]),
            &list(2, &extensions),
        ]
        .concat();
        let message = [&[1][..], &list(3, &body)].concat();
        [&[22, 3, 1][..], &list(2, &message)].concat()
    }

    fn psk(identity: &[u8]) -> Vec<u8> {
        let identities = [list(2, identity), vec![0; 4]].concat();
        [list(2, &identities), list(2, &list(1, &[7; 32]))].concat()
    }

    #[test]
    fn a_ticket_is_found_in_either_version() {
        assert_eq!(ticket(&hello(&[])), Search::Absent);
        assert_eq!(ticket(&hello(&[(0, vec![1; 9]), (SESSION_TICKET, vec![])])), Search::Absent);
        let old = hello(&[(SESSION_TICKET, b"old".to_vec()), (0, vec![])]);
        assert_eq!(ticket(&old), Search::Found(b"old"));
        let new = [(SESSION_TICKET, b"old".to_vec()), (PRE_SHARED_KEY, psk(b"new"))];
        let new = hello(&new);
        assert_eq!(ticket(&new), Search::Found(b"new"));
        // What follows the hello is none of its business.
        assert_eq!(ticket(&[new.clone(), b"more".to_vec()].concat()), Search::Found(b"new"));
        for end in 0..new.len() {
            assert_eq!(ticket(&new[..end]), Search::Short, "{end}");
        }
        let mut other = new;
        other[0] = 23;
        assert_eq!(ticket(&other), Search::Absent);
    }

    proptest! {
        /// Whatever is in there: no panic, and what is found is a part of it.
        #[test]
        fn anything_may_be_sent(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let framed = hello(&[(PRE_SHARED_KEY, bytes.clone()), (SESSION_TICKET, bytes.clone())]);
            for text in [&bytes, &framed] {
                if let Search::Found(ticket) = ticket(text) {
                    prop_assert!(ticket.is_empty() || text.windows(ticket.len()).any(|w| w == ticket));
                }
            }
        }
    }
}
