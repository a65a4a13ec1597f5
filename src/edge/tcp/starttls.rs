//! Protocols in which a client asks for TLS: what is said before, and nothing more of them.
//!
//! The client talks with keyward alone until TLS is there: no server hears a word of it, so nothing
//! that somebody put between can come to count as the client's (CVE-2011-0411; Poddebniak and
//! others, "Why TLS is better without STARTTLS", 2021). What comes behind the request for TLS in
//! plain ends the connection. Before it nothing but that request is of use.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::base::bounds::tcp::GREETING;
use crate::base::bounds::tcp::PREAMBLE_LINE;
use crate::base::bounds::tcp::PREAMBLE_LINES;
use crate::config::StartTls;

/// How it went.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Begun {
    /// TLS begins, behind what was read of it already.
    Tls(Vec<u8>),
    /// The client has taken its leave.
    Over,
    /// It did what it must not, and was told.
    Refused(&'static str),
}

/// What is answered to a line.
#[derive(Debug, Eq, PartialEq)]
enum Reply {
    Say(String),
    /// The same, and TLS begins.
    Begin(String),
    /// The same, and that is all.
    Leave(String),
}

/// Talks with a client until it has asked for TLS; `name` is what the server calls itself.
///
/// # Errors
/// Of the connection.
pub(super) async fn speak(
    stream: &mut TcpStream,
    protocol: StartTls,
    name: &str,
) -> io::Result<Begun> {
    let (hello, answer): (String, fn(&str, &str) -> Reply) = match protocol {
        StartTls::Postgres => return postgres(stream).await,
        StartTls::Smtp => (format!("220 {name} ESMTP\r\n"), smtp),
        StartTls::Imap => (format!("* OK [CAPABILITY {IMAP}] {name}\r\n"), imap),
        StartTls::Pop3 => (format!("+OK {name}\r\n"), pop3),
    };
    stream.write_all(hello.as_bytes()).await?;
    let mut read = Vec::new();
    for _ in 0..PREAMBLE_LINES {
        let Some(line) = line(stream, &mut read).await? else {
            return Ok(Begun::Refused("a line that does not end, or is no text"));
        };
        match answer(&line, name) {
            Reply::Say(text) => stream.write_all(text.as_bytes()).await?,
            Reply::Leave(text) => {
                stream.write_all(text.as_bytes()).await?;
                return Ok(Begun::Over);
            }
            // It would be taken for what the client says under TLS.
            Reply::Begin(_) if !read.is_empty() => {
                return Ok(Begun::Refused("something in plain behind the request for TLS"));
            }
            Reply::Begin(text) => {
                stream.write_all(text.as_bytes()).await?;
                return Ok(Begun::Tls(Vec::new()));
            }
        }
    }
    Ok(Begun::Refused("many lines and no request for TLS"))
}

/// The next line without its end; what was `read` behind it stays there. `None` for what is none.
async fn line(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<Option<String>> {
    loop {
        if let Some(end) = memchr::memchr(b'\n', read) {
            let rest = read.split_off(end + 1);
            let line = std::mem::replace(read, rest);
            // A bare line feed is an end to some and none to others.
            let text = line.strip_suffix(b"\r\n").map(<[u8]>::to_vec);
            let text = text.and_then(|text| String::from_utf8(text).ok());
            return Ok(text.filter(|text| !text.contains(|c: char| c.is_control())));
        }
        if read.len() >= PREAMBLE_LINE {
            return Ok(None);
        }
        let mut chunk = [0; PREAMBLE_LINE];
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read.extend_from_slice(chunk.get(..count).unwrap_or_default());
    }
}

/// RFC 3207, section 4, and RFC 5321, section 4.1.1.
fn smtp(line: &str, name: &str) -> Reply {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    match verb.to_ascii_uppercase().as_str() {
        "EHLO" => Reply::Say(format!("250-{name}\r\n250 STARTTLS\r\n")),
        "HELO" => Reply::Say(format!("250 {name}\r\n")),
        "NOOP" | "RSET" => Reply::Say("250 2.0.0 Ok\r\n".to_owned()),
        "QUIT" => Reply::Leave("221 2.0.0 Bye\r\n".to_owned()),
        "STARTTLS" if rest.is_empty() => {
            Reply::Begin("220 2.0.0 Ready to start TLS\r\n".to_owned())
        }
        "STARTTLS" => Reply::Say("501 5.5.4 Syntax: STARTTLS\r\n".to_owned()),
        _ => Reply::Say("530 5.7.0 Must issue a STARTTLS command first\r\n".to_owned()),
    }
}

/// `LOGINDISABLED` keeps clients from sending passwords (RFC 9051, section 6.2.3).
const IMAP: &str = "IMAP4rev1 STARTTLS LOGINDISABLED";

/// RFC 9051, section 6.2.1; `PRIVACYREQUIRED` is of RFC 5530.
fn imap(line: &str, _: &str) -> Reply {
    let (tag, rest) = line.split_once(' ').unwrap_or((line, ""));
    let sound = |c: char| c.is_ascii_graphic() && !"(){%*\"\\+".contains(c);
    if tag.is_empty() || !tag.chars().all(sound) {
        return Reply::Say("* BAD no tag\r\n".to_owned());
    }
    match rest.to_ascii_uppercase().as_str() {
        "CAPABILITY" => Reply::Say(format!("* CAPABILITY {IMAP}\r\n{tag} OK done\r\n")),
        "NOOP" => Reply::Say(format!("{tag} OK done\r\n")),
        "LOGOUT" => Reply::Leave(format!("* BYE\r\n{tag} OK done\r\n")),
        "STARTTLS" => Reply::Begin(format!("{tag} OK begin TLS now\r\n")),
        _ => Reply::Say(format!("{tag} NO [PRIVACYREQUIRED] STARTTLS first\r\n")),
    }
}

/// RFC 2595, section 4, and RFC 2449, section 5.
fn pop3(line: &str, _: &str) -> Reply {
    match line.to_ascii_uppercase().as_str() {
        "CAPA" => Reply::Say("+OK\r\nSTLS\r\n.\r\n".to_owned()),
        "QUIT" => Reply::Leave("+OK\r\n".to_owned()),
        "STLS" => Reply::Begin("+OK begin TLS now\r\n".to_owned()),
        _ => Reply::Say("-ERR STLS first\r\n".to_owned()),
    }
}

/// Codes of the PostgreSQL protocol where others have a version.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const GSSENC_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

/// Exactly the request is read, so that what somebody puts behind it is no TLS (CVE-2021-23214). A
/// client of version 17 may begin with TLS at once.
async fn postgres(stream: &mut TcpStream) -> io::Result<Begun> {
    for _ in 0..2 {
        let mut request = [0; 8];
        stream.read_exact(&mut request).await?;
        match request {
            SSL_REQUEST => {
                stream.write_all(b"S").await?;
                return Ok(Begun::Tls(Vec::new()));
            }
            GSSENC_REQUEST => stream.write_all(b"N").await?,
            // A record of a handshake.
            [22, 3, ..] => return Ok(Begun::Tls(request.to_vec())),
            _ => break,
        }
    }
    let fields = b"SFATAL\0VFATAL\0C28000\0MTLS is needed here (sslmode=require)\0\0";
    let length = u32::try_from(fields.len() + 4).unwrap_or(0).to_be_bytes();
    stream.write_all(&[b"E", &length[..], fields].concat()).await?;
    Ok(Begun::Refused("a session of PostgreSQL without TLS"))
}

/// Takes the greeting of a server whose client had one already; gives what the client is to be told
/// all the same: that it is not served, or what came behind.
///
/// # Errors
/// Of the connection, and for a greeting that does not end.
pub(super) async fn greeting(
    server: &mut (impl AsyncRead + AsyncWrite + Unpin),
    protocol: StartTls,
) -> io::Result<Vec<u8>> {
    let good: &[u8] = match protocol {
        // It waits for the client.
        StartTls::Postgres => return Ok(Vec::new()),
        StartTls::Smtp => b"220",
        StartTls::Imap => b"* OK",
        StartTls::Pop3 => b"+OK",
    };
    let mut read = Vec::new();
    loop {
        if let Some(end) = whole(&read, protocol) {
            return Ok(if read.starts_with(good) { read.split_off(end) } else { read });
        }
        if read.len() >= GREETING {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a greeting without an end"));
        }
        if server.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Where the greeting at the beginning of `read` ends, if it is all there. One of SMTP may have
/// several lines (RFC 5321, section 4.2.1).
fn whole(read: &[u8], protocol: StartTls) -> Option<usize> {
    let mut end = 0;
    loop {
        let line = read.get(end..)?;
        end += memchr::memchr(b'\n', line)? + 1;
        if protocol != StartTls::Smtp || line.get(3) != Some(&b'-') {
            return Some(end);
        }
    }
}

#[cfg(test)]
#[path = "starttls_tests.rs"]
mod tests;
