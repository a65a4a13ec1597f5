//! How TLS is asked for in POP3 (RFC 2595, section 4).

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;

use super::error::quoted;
use super::plain::Plain;
use super::plain::Trouble;

/// Asks for TLS.
pub(super) async fn ask<S>(plain: &mut Plain<S>) -> Result<(), Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    plain.missing = "the greeting";
    good(&plain.line().await?)?;
    plain.say(b"STLS\r\n", "the answer to STLS").await?;
    good(&plain.line().await?)
}

fn good(line: &[u8]) -> Result<(), Trouble> {
    if line.starts_with(b"+OK") {
        Ok(())
    } else if line.starts_with(b"-ERR") {
        Err(Trouble::Refused(quoted(line)))
    } else {
        Err(Trouble::Garbled(format!("it says {}", quoted(line))))
    }
}
