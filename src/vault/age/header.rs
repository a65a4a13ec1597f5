//! The text before the payload: to whom the file is, and under which authentication code.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::AgeError;
use crate::base::bounds;

const VERSION: &[u8] = b"age-encryption.org/v1\n";

/// Characters of a full line of a body; the last one is shorter.
const LINE: usize = 64;

/// The file key for one recipient.
#[derive(Debug)]
pub(super) struct Stanza {
    /// How it is encrypted.
    pub(super) kind: String,
    /// What else stands in its first line.
    pub(super) arguments: Vec<String>,
    /// The file key, encrypted.
    pub(super) body: Vec<u8>,
}

/// A file, taken apart.
#[derive(Debug)]
pub(super) struct Header<'f> {
    pub(super) stanzas: Vec<Stanza>,
    /// What the code is over.
    pub(super) signed: &'f [u8],
    pub(super) mac: Vec<u8>,
    pub(super) payload: &'f [u8],
}

/// Octets as the header writes them.
pub(super) fn text(octets: &[u8]) -> String {
    STANDARD_NO_PAD.encode(octets)
}

/// What [`text`] wrote, and nothing that only looks like it.
pub(super) fn octets(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text).ok()
}

/// A header for one recipient, as far as the code is over it. The body is shorter than a line.
pub(super) fn write(stanza: &Stanza) -> Vec<u8> {
    let Stanza { kind, arguments, body } = stanza;
    let text = format!("-> {kind} {}\n{}\n---", arguments.join(" "), text(body));
    [VERSION, text.as_bytes()].concat()
}

/// Adds the code.
pub(super) fn finish(header: &mut Vec<u8>, mac: &[u8]) {
    header.push(b' ');
    header.extend_from_slice(text(mac).as_bytes());
    header.push(b'\n');
}

impl<'f> Header<'f> {
    /// Takes a file apart.
    ///
    /// # Errors
    /// [`AgeError::Format`] for anything that age would not write.
    pub(super) fn read(file: &'f [u8]) -> Result<Self, AgeError> {
        let mut rest = file.strip_prefix(VERSION).ok_or(AgeError::Format("its first line"))?;
        let mut stanzas = Vec::new();
        loop {
            let at = file.len().saturating_sub(rest.len());
            let (line, after) = line(rest, at)?;
            rest = after;
            if let Some(mac) = line.strip_prefix("--- ") {
                let mac = octets(mac).ok_or(AgeError::Format("its code"))?;
                let signed = file.get(..at.saturating_add(3)).unwrap_or_default();
                return Ok(Self { stanzas, signed, mac, payload: rest });
            }
            let mut words =
                line.strip_prefix("-> ").ok_or(AgeError::Format("its header"))?.split(' ');
            let kind = words.next().unwrap_or_default().to_owned();
            let arguments = words.map(str::to_owned).collect();
            let mut body = String::new();
            loop {
                let at = file.len().saturating_sub(rest.len());
                let (line, after) = self::line(rest, at)?;
                rest = after;
                if line.len() > LINE {
                    return Err(AgeError::Format("a line of its header is too long"));
                }
                body.push_str(line);
                if line.len() < LINE {
                    break;
                }
            }
            let body = octets(&body).ok_or(AgeError::Format("a key in its header"))?;
            stanzas.push(Stanza { kind, arguments, body });
        }
    }
}

/// The first line of `rest`, which begins at `at` of the file, and what follows it.
fn line(rest: &[u8], at: usize) -> Result<(&str, &[u8]), AgeError> {
    let room = bounds::backup::AGE_HEADER.saturating_sub(at);
    let within = rest.get(..room).unwrap_or(rest);
    let end = memchr::memchr(b'\n', within).ok_or(AgeError::Format("its header has no end"))?;
    let (line, after) = rest.split_at(end);
    let line = str::from_utf8(line).map_err(|_| AgeError::Format("its header"))?;
    Ok((line, after.get(1..).unwrap_or_default()))
}
