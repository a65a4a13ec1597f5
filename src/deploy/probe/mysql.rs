//! How TLS is asked for in MariaDB and MySQL: "Connection" in MariaDB's documentation of the protocol.

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;

use super::error::quoted;
use super::plain::Plain;
use super::plain::Trouble;

/// `CLIENT_MYSQL`, `PROTOCOL_41`, `CLIENT_SSL`, `SECURE_CONNECTION`.
const CAPABILITIES: u32 = 1 | 0x200 | SSL as u32 | 0x8000;
const SSL: u16 = 0x800;

/// The head of the second packet of a connection, 32 octets long.
const HEAD: [u8; 4] = [32, 0, 0, 1];

/// The largest packet that this side takes.
const LARGEST: u32 = 1 << 24;

/// utf8mb4.
const CHARACTERS: u8 = 45;

/// Asks for TLS.
pub(super) async fn ask<S>(plain: &mut Plain<S>) -> Result<(), Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    plain.missing = "the greeting";
    let head = plain.exactly(4).await?;
    let length = head.iter().take(3).rev().fold(0, |all, octet| all << 8 | usize::from(*octet));
    let greeting = plain.exactly(length).await?;
    if let Some([0xff, _, _, said @ ..]) = greeting.get(..) {
        return Err(Trouble::Refused(quoted(said)));
    }
    let offered = capabilities(&greeting)
        .ok_or_else(|| Trouble::Garbled("its first packet is no greeting".to_owned()))?;
    if offered & SSL == 0 {
        return Err(Trouble::Refused(
            "TLS is off there (`ssl_cert` and `ssl_key` are needed)".into(),
        ));
    }
    let request = [&HEAD, fixed().as_slice()].concat();
    plain.say(&request, "the beginning of TLS").await
}

/// What is said under TLS when the certificate was seen: the login of a user whom nobody has. A client
/// that went without one would count as a fault of this machine, and after `max_connect_errors` of them
/// the server lets none of its clients in.
pub(super) fn farewell() -> Vec<u8> {
    let login = [fixed().as_slice(), NOBODY, b"\0", NO_PASSWORD].concat();
    // Of 32, 13 and two octets.
    [&[47, 0, 0, 2], login.as_slice()].concat()
}

const NOBODY: &[u8] = b"keyward-probe";
const NO_PASSWORD: &[u8] = b"\0";

/// What the request for TLS and a login begin with.
fn fixed() -> Vec<u8> {
    let mut octets = CAPABILITIES.to_le_bytes().to_vec();
    octets.extend(LARGEST.to_le_bytes());
    octets.push(CHARACTERS);
    octets.extend([0; 23]);
    octets
}

/// The lower half of what the server can: behind protocol version 10, its own version with a zero
/// octet, four octets of a number and nine of a challenge.
fn capabilities(greeting: &[u8]) -> Option<u16> {
    let rest = greeting.strip_prefix(&[10])?;
    let version = memchr::memchr(0, rest)?;
    let octets = rest.get(version + 1 + 4 + 9..)?.first_chunk::<2>()?;
    Some(u16::from_le_bytes(*octets))
}
