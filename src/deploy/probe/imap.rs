//! How TLS is asked for in IMAP (RFC 9051, section 6.2.1).

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;

use super::error::quoted;
use super::plain::Plain;
use super::plain::Trouble;

/// What the answer begins with.
const TAG: &[u8] = b"k1 ";

/// Asks for TLS.
pub(super) async fn ask<S>(plain: &mut Plain<S>) -> Result<(), Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    plain.missing = "the greeting";
    let greeting = plain.line().await?;
    match word(&greeting, b"* ").as_deref() {
        Some(b"OK") => {}
        // Whoever is logged in already cannot begin TLS (section 7.1.4).
        Some(b"PREAUTH" | b"BYE") => return Err(Trouble::Refused(quoted(&greeting))),
        _ => return Err(Trouble::Garbled(format!("it greets with {}", quoted(&greeting)))),
    }
    plain.say(b"k1 STARTTLS\r\n", "the answer to STARTTLS").await?;
    loop {
        let line = plain.line().await?;
        if line.starts_with(b"* ") {
            continue;
        }
        return match word(&line, TAG).as_deref() {
            Some(b"OK") => Ok(()),
            Some(b"NO" | b"BAD") => Err(Trouble::Refused(quoted(&line))),
            _ => Err(Trouble::Garbled(format!("it says {}", quoted(&line)))),
        };
    }
}

/// The word behind `before`, in capitals.
fn word(line: &[u8], before: &[u8]) -> Option<Vec<u8>> {
    let rest = line.strip_prefix(before)?;
    rest.split(|&octet| octet == b' ').next().map(<[u8]>::to_ascii_uppercase)
}
