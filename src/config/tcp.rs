//! Services that are no HTTP, as the rest of the house sees them.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::model::{Agreement, ClientCertificates};
use super::origin::{Address, Server, Servers};
use crate::cert::identifier::Identifier;

/// `[[tcp]]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TcpService {
    /// The names under which clients ask for it; never empty.
    pub names: Vec<Identifier>,
    /// Where it listens; nowhere is beside HTTPS, told from sites by the name.
    pub listen: Vec<SocketAddr>,
    /// The servers behind it; [`Address::Http`] stands for host and port alone.
    pub to: Servers,
    /// What becomes of TLS.
    pub way: TcpWay,
    /// The header that a server gets first.
    pub proxy: Option<ProxyVersion>,
    /// To connect to a server.
    pub connect_timeout: Duration,
    /// Without a byte in either direction.
    pub idle_timeout: Duration,
    /// Whether its connections stand in the access log, if there is one.
    pub access_log: bool,
    /// Line of the file on which it begins; 0 when there is no file.
    pub line: usize,
}

/// What becomes of TLS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TcpWay {
    /// It ends here.
    Ended(TcpTls),
    /// It is passed on as it comes; only the name in the client's first message is looked at.
    Through,
}

/// TLS that ends here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TcpTls {
    /// What is agreed on with clients.
    pub agreement: Agreement,
    /// Which certificates clients show, if they are asked for any.
    pub clients: Option<ClientCertificates>,
    /// What the service speaks (RFC 7301); where nothing is said, clients are not held to anything.
    pub alpn: Vec<String>,
    /// In which protocol clients ask for TLS, if they do not begin with it.
    pub starttls: Option<StartTls>,
}

/// A protocol in which clients ask for TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StartTls {
    /// RFC 3207.
    Smtp,
    /// RFC 9051, section 6.2.1.
    Imap,
    /// RFC 2595, section 4.
    Pop3,
    /// "Message Formats" of the PostgreSQL documentation, `SSLRequest`.
    Postgres,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary, with what was agreed on in TLS.
    V2,
}

impl TcpService {
    /// The first name, which names the service everywhere.
    pub fn name(&self) -> &Identifier {
        #[expect(clippy::indexing_slicing, reason = "a service without names is refused")]
        &self.names[0]
    }

    /// The certificates that clients show, if they are asked for any.
    pub const fn clients(&self) -> Option<&ClientCertificates> {
        match &self.way {
            TcpWay::Ended(tls) => tls.clients.as_ref(),
            TcpWay::Through => None,
        }
    }

    /// Its servers as they are written in the file.
    pub fn servers(&self) -> String {
        let one = |Server { address, weight }: &Server| {
            let address = match address {
                Address::Http(authority) => authority.to_string(),
                other => other.to_string(),
            };
            if *weight == 1 { address } else { format!("{address} weight={weight}") }
        };
        self.to.list.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for StartTls {
    /// As it is written in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Smtp => "smtp",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Postgres => "postgres",
        })
    }
}
