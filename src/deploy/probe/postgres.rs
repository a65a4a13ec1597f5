//! How TLS is asked for in PostgreSQL: "SSL Session Encryption" in its documentation of the protocol.

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;

use super::plain::Plain;
use super::plain::Trouble;

/// A code stands where others have a version: "Message Formats", `SSLRequest`.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Asks for TLS. What came behind the one octet of the answer is no TLS (CVE-2021-23222), which
/// [`Plain::secured`] sees to.
pub(super) async fn ask<S>(plain: &mut Plain<S>) -> Result<(), Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    plain.say(&SSL_REQUEST, "the answer to the request for TLS").await?;
    match plain.exactly(1).await?.as_slice() {
        b"S" => Ok(()),
        b"N" => Err(Trouble::Refused("TLS is off there (`ssl = on` is needed)".to_owned())),
        // What it says could be anybody's and is not told (CVE-2024-10977).
        b"E" => Err(Trouble::Refused("it answers the request with an error".to_owned())),
        other => Err(Trouble::Garbled(format!("it answers {other:?}"))),
    }
}
