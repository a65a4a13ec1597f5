//! What must hold for any octets that a server says before TLS; see [`crate::base::property`] for who
//! runs it.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a property that does not hold ends in a panic"
)]

use std::net::SocketAddr;
use std::pin::pin;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use rustls_pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;

use super::imap;
use super::ldap;
use super::mysql;
use super::plain::Plain;
use super::plain::Trouble;
use super::pop3;
use super::postgres;
use super::smtp;
use super::xmpp;
use crate::base::bounds::deployment::probe::PLAIN;
use crate::base::property::Property;

/// However a server talks, a dialogue ends with TLS, or with words that are fit to be told; at once when
/// the server hangs up, and having read no more than it may.
pub const DIALOGUE: Property = Property { name: "dialogue", check: dialogue, seeds, tries: 20_000 };

fn dialogue(octets: &[u8]) {
    let (asked, total) = ask(octets);
    assert!(total <= PLAIN + 1024, "{total} octets were read");
    match asked {
        Ok(()) | Err(Trouble::Closed | Trouble::Stuffed) => {}
        Err(Trouble::Broken(words) | Trouble::Garbled(words) | Trouble::Refused(words)) => {
            assert!(!words.contains(char::is_control), "{words:?}");
            // A few words around what is quoted, in which an octet may be written as several.
            assert!(words.len() < 2000, "{words}");
        }
    }
}

/// How it goes with a server that says all of `octets` but the first, which says which protocol, and
/// hangs up; and how much was read of it.
fn ask(octets: &[u8]) -> (Result<(), Trouble>, usize) {
    let (which, said) = octets.split_first().unwrap_or((&0, &[]));
    // More fits in than may be read, so that nobody waits.
    let (near, mut far) = tokio::io::duplex(2 * PLAIN);
    let said = said.get(..said.len().min(2 * PLAIN)).unwrap_or_default();
    assert!(at_once(far.write_all(said)).is_ok());
    assert!(at_once(far.shutdown()).is_ok());
    let mut plain = Plain::new(near);
    let asked = at_once(async {
        let own = SocketAddr::from(([127, 0, 0, 1], 1));
        match which % 7 {
            0 => smtp::ask(&mut plain, own).await,
            1 => imap::ask(&mut plain).await,
            2 => pop3::ask(&mut plain).await,
            3 => postgres::ask(&mut plain).await,
            4 => ldap::ask(&mut plain).await,
            5 => mysql::ask(&mut plain).await,
            _ => xmpp::ask(&mut plain, &ServerName::try_from("a.example").unwrap()).await,
        }
    });
    let total = plain.total();
    (asked.and_then(|()| plain.secured().map(|_| ())), total)
}

/// The outcome of what never waits.
fn at_once<F: Future>(doing: F) -> F::Output {
    match pin!(doing).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("it waits, and nothing more will come"),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let endless = [&[0], b"220-again\r\n".repeat(PLAIN / 8).as_slice()].concat();
    sound().into_iter().chain([endless]).collect()
}

/// The first of each pair is of a server that begins TLS, the second of one that refuses.
fn sound() -> Vec<Vec<u8>> {
    let with = |which: u8, said: &[u8]| [&[which], said].concat();
    vec![
        with(0, b"220-a\r\n220 b\r\n250-c\r\n250-SIZE 1\r\n250 STARTTLS\r\n220 go\r\n"),
        with(0, b"554 no\r\n"),
        with(1, b"* OK [CAPABILITY IMAP4rev1] a\r\n* CAPABILITY X\r\nk1 OK go\r\n"),
        with(1, b"* OK\r\nk1 BAD what\r\n"),
        with(2, b"+OK a\r\n+OK go\r\n"),
        with(2, b"+OK a\r\n-ERR no\r\n"),
        with(3, b"S"),
        with(3, b"E\0\0\0\x10SFATAL\0"),
        with(4, b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"),
        with(4, b"\x30\x81\x0f\x02\x01\x01\x78\x0a\x0a\x01\x02\x04\x00\x04\x03off"),
        with(5, b"\x16\0\0\0\x0a5.5.5\0\x01\0\0\0saltsalt\0\xff\xff"),
        with(5, b"\x0b\0\0\0\xff\x69\x04blocked!"),
        with(6, b"<stream:features><starttls/></stream:features><proceed xmlns='x'/>"),
        with(6, b"<stream:features><starttls/></stream:features><failure/>"),
    ]
}

#[cfg(test)]
mod tests {
    use super::DIALOGUE;

    #[test]
    fn a_dialogue_with_any_server_ends() {
        DIALOGUE.hold();
    }

    #[test]
    fn the_seeds_come_to_an_end() {
        for (number, seed) in super::sound().iter().enumerate() {
            let (asked, _) = super::ask(seed);
            let refused = matches!(asked, Err(super::Trouble::Refused(_)));
            assert_eq!((asked.is_ok(), refused), (number % 2 == 0, number % 2 == 1), "{seed:?}");
        }
    }
}
