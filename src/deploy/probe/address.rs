//! A look at one address: connection, dialogue, handshake, each in the time that is left.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ProtocolVersion;
use rustls_pki_types::ServerName;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::CONNECTION;
use super::error::ProbeError;
use super::imap;
use super::ldap;
use super::mysql;
use super::onlooker::Onlooker;
use super::onlooker::Proof;
use super::plain::Plain;
use super::plain::Trouble;
use super::pop3;
use super::postgres;
use super::seen::Seen;
use super::smtp;
use super::xmpp;
use crate::base::bounds::deployment::probe::FAREWELL;
use crate::cert::key::KeyKind;
use crate::config::ProbeProtocol;

/// What is looked for at each address.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) protocol: ProbeProtocol,
    pub(super) name: ServerName<'static>,
    pub(super) kind: Option<KeyKind>,
    pub(super) within: Duration,
    pub(super) until: Instant,
}

impl Look {
    /// What is shown at `at`.
    pub(super) async fn at(self, at: SocketAddr) -> Result<Seen, ProbeError> {
        let late = |missing| ProbeError::Late { at, missing, within: self.within };
        let connecting = timeout_at(self.until, TcpStream::connect(at)).await;
        let stream = connecting
            .map_err(|_| late(CONNECTION))?
            .map_err(|error| ProbeError::Unreachable { at, reason: error.to_string() })?;
        let mut plain = Plain::new(stream);
        let asking = timeout_at(self.until, self.ask(&mut plain)).await;
        let missing = plain.missing;
        let asked = asking.map_err(|_| late(missing))?;
        let stream = asked.and_then(|()| plain.secured()).map_err(|trouble| match trouble {
            Trouble::Closed => ProbeError::Closed { at, missing },
            Trouble::Broken(reason) => ProbeError::Unreachable { at, reason },
            Trouble::Garbled(reason) => {
                ProbeError::Garbled { at, protocol: self.protocol.word(), reason }
            }
            Trouble::Refused(said) => ProbeError::Refused { at, said },
            Trouble::Stuffed => ProbeError::Stuffed { at },
        })?;
        self.shake(stream, at).await
    }

    /// Has the server begin TLS.
    async fn ask(&self, plain: &mut Plain<TcpStream>) -> Result<(), Trouble> {
        match self.protocol {
            ProbeProtocol::Tls
            | ProbeProtocol::Https
            | ProbeProtocol::Smtps
            | ProbeProtocol::Imaps
            | ProbeProtocol::Pop3s
            | ProbeProtocol::Ldaps => Ok(()),
            ProbeProtocol::Smtp => {
                let own = plain.stream().local_addr();
                let own = own.map_err(|error| Trouble::Broken(error.to_string()))?;
                smtp::ask(plain, own).await
            }
            ProbeProtocol::Imap => imap::ask(plain).await,
            ProbeProtocol::Pop3 => pop3::ask(plain).await,
            ProbeProtocol::Postgres => postgres::ask(plain).await,
            ProbeProtocol::Ldap => ldap::ask(plain).await,
            ProbeProtocol::Mysql => mysql::ask(plain).await,
            ProbeProtocol::Xmpp => xmpp::ask(plain, &self.name).await,
        }
    }

    /// Takes leave as the protocol has it.
    async fn leave(&self, mut stream: TlsStream<TcpStream>) -> io::Result<()> {
        if self.protocol == ProbeProtocol::Mysql {
            stream.write_all(&mysql::farewell()).await?;
            // What it says to that is of no interest, only that it has said it.
            let _answer = stream.read(&mut [0; 512]).await?;
        }
        stream.shutdown().await
    }

    async fn shake(&self, stream: TcpStream, at: SocketAddr) -> Result<Seen, ProbeError> {
        let failed = |reason: String| ProbeError::Handshake { at, reason };
        let alpn: &[&[u8]] = match self.protocol {
            ProbeProtocol::Https => &[b"h2", b"http/1.1"],
            _ => &[],
        };
        let onlooker = Onlooker::new(self.kind);
        let config = onlooker.config(alpn).map_err(|error| failed(error.to_string()))?;
        let connecting = TlsConnector::from(Arc::new(config)).connect(self.name.clone(), stream);
        // Messages of a handshake are bounded by rustls, which keeps one at a time.
        let shaken = timeout_at(self.until, connecting).await;
        let version = match &shaken {
            Ok(Ok(stream)) => stream.get_ref().1.protocol_version(),
            _ => None,
        };
        let Some((sent, proof)) = onlooker.seen() else {
            return Err(match shaken {
                Err(_) => ProbeError::Late { at, missing: "the certificate", within: self.within },
                Ok(Err(error)) if hung_up(&error) => {
                    ProbeError::Closed { at, missing: "the certificate" }
                }
                Ok(Err(error)) => failed(error.to_string()),
                Ok(Ok(_)) => failed("it shows no certificate".to_owned()),
            });
        };
        let seen = Seen::read(sent, written(version), proof == Proof::Given, at)
            .map_err(|reason| ProbeError::Unreadable { at, reason })?;
        if proof == Proof::False {
            return Err(ProbeError::Unproven { at, serial: seen.serial });
        }
        // What comes after that, as when it wants a certificate of ours, changes nothing of what it
        // showed.
        if let Ok(Ok(stream)) = shaken {
            let _gone = timeout(FAREWELL, self.leave(stream)).await;
        }
        Ok(seen)
    }
}

/// Whether the other side closed the connection; with something unread, that is a reset.
pub(super) fn hung_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

const fn written(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    }
}
