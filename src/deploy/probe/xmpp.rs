//! How TLS is asked for in XMPP (RFC 6120, section 5.4), as a client does.
//!
//! Of XML no more is understood than these few elements, in the words that servers use.

use rustls_pki_types::ServerName;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;

use super::error::quoted;
use super::plain::Plain;
use super::plain::Trouble;

const ASK: &[u8] = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

/// Asks for TLS of the domain `name`.
pub(super) async fn ask<S>(plain: &mut Plain<S>, name: &ServerName<'_>) -> Result<(), Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = name.to_str();
    let stream = format!(
        "<?xml version='1.0'?><stream:stream to='{name}' version='1.0' xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams'>"
    );
    plain.say(stream.as_bytes(), "the list of features").await?;
    let ends: [&[u8]; 3] = [b"</stream:features>", b"<stream:features/>", b"</stream:error>"];
    let (features, end) = plain.until(&ends).await?;
    if end == 2 {
        return Err(Trouble::Refused(tail(&features)));
    }
    if end == 1 || memchr::memmem::find(&features, b"<starttls").is_none() {
        return Err(Trouble::Refused("starttls is not among its features".to_owned()));
    }
    plain.say(ASK, "the answer to starttls").await?;
    let (said, end) = plain.until(&[b">"]).await.map(|(said, _)| {
        let proceeds = memchr::memmem::find(&said, b"<proceed").is_some();
        (said, proceeds)
    })?;
    if !end {
        return Err(Trouble::Refused(tail(&said)));
    }
    if said.ends_with(b"/>") {
        return Ok(());
    }
    plain.until(&[b"</proceed>"]).await.map(|_| ())
}

/// The last that was said: what stands before it is the head of the stream.
fn tail(said: &[u8]) -> String {
    quoted(said.get(said.len().saturating_sub(120)..).unwrap_or_default())
}
