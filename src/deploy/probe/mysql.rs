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
    let mut request = HEAD.to_vec();
    request.extend(CAPABILITIES.to_le_bytes());
    request.extend(LARGEST.to_le_bytes());
    request.push(CHARACTERS);
    request.extend([0; 23]);
    plain.say(&request, "the beginning of TLS").await
}

/// The lower half of what the server can: behind protocol version 10, its own version with a zero
/// octet, four octets of a number and nine of a challenge.
fn capabilities(greeting: &[u8]) -> Option<u16> {
    let rest = greeting.strip_prefix(&[10])?;
    let version = memchr::memchr(0, rest)?;
    let octets = rest.get(version + 1 + 4 + 9..)?.first_chunk::<2>()?;
    Some(u16::from_le_bytes(*octets))
}
