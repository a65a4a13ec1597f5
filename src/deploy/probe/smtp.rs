//! How TLS is asked for in SMTP (RFC 3207).
//!
//! Nothing is said of mail.

use std::net::SocketAddr;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;

use super::error::quoted;
use super::plain::Plain;
use super::plain::Trouble;

/// What this side calls itself: it has no name that a server could check, so the address stands for it
/// (RFC 5321, section 4.1.3).
fn literal(own: SocketAddr) -> String {
    match own {
        SocketAddr::V4(own) => format!("[{}]", own.ip()),
        SocketAddr::V6(own) => format!("[IPv6:{}]", own.ip()),
    }
}

/// Asks for TLS; `own` is the address of this side.
pub(super) async fn ask<S>(plain: &mut Plain<S>, own: SocketAddr) -> Result<(), Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    plain.missing = "the greeting";
    let greeting = reply(plain).await?;
    if greeting.code != *b"220" {
        return Err(Trouble::Refused(quoted(&greeting.text)));
    }
    let hello = format!("EHLO {}\r\n", literal(own));
    plain.say(hello.as_bytes(), "the answer to EHLO").await?;
    let extensions = reply(plain).await?;
    if extensions.code != *b"250" {
        return Err(Trouble::Refused(format!("EHLO is answered {}", quoted(&extensions.text))));
    }
    if !extensions.lists(b"STARTTLS") {
        return Err(Trouble::Refused("STARTTLS is not among its extensions".to_owned()));
    }
    plain.say(b"STARTTLS\r\n", "the answer to STARTTLS").await?;
    let ready = reply(plain).await?;
    if ready.code == *b"220" { Ok(()) } else { Err(Trouble::Refused(quoted(&ready.text))) }
}

/// A reply, which may have several lines (RFC 5321, section 4.2.1).
struct Reply {
    code: [u8; 3],
    /// The last line.
    text: Vec<u8>,
    /// What stands behind the code in each line.
    words: Vec<Vec<u8>>,
}

impl Reply {
    /// The first line of an answer to EHLO is the server's name.
    fn lists(&self, wanted: &[u8]) -> bool {
        let word = |line: &Vec<u8>| line.split(|&octet| octet == b' ').next().map(<[u8]>::to_vec);
        let mut words = self.words.iter().skip(1).filter_map(word);
        words.any(|word| word.eq_ignore_ascii_case(wanted))
    }
}

async fn reply<S>(plain: &mut Plain<S>) -> Result<Reply, Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut words = Vec::new();
    let mut first = None;
    loop {
        let line = plain.line().await?;
        let (code, rest) = line.split_first_chunk::<3>().unwrap_or((&[0; 3], &[]));
        let same = first.is_none_or(|first| first == *code);
        let separator = rest.first().copied().unwrap_or(b' ');
        if !code.iter().all(u8::is_ascii_digit) || !same || !b" -".contains(&separator) {
            return Err(Trouble::Garbled(format!("it says {}", quoted(&line))));
        }
        first = Some(*code);
        words.push(rest.get(1..).unwrap_or_default().to_vec());
        if separator == b' ' {
            return Ok(Reply { code: *code, text: line, words });
        }
    }
}
