//! One question to one name server, and its whole answer: the code, who speaks with authority, and why a
//! resolver gave up.
//!
//! It follows nothing and remembers nothing; `lookup` asks through a library that does, and hides all of
//! this.

use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use hickory_resolver::proto::op::Edns;
use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::Record;
use hickory_resolver::proto::rr::RecordType;
use hickory_resolver::proto::rr::rdata::opt::EdnsCode;
use hickory_resolver::proto::rr::rdata::opt::EdnsOption;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::lookup::plain;
use crate::base::bounds::dns::DATAGRAM;
use crate::base::bounds::dns::ONE_ANSWER;
use crate::base::bounds::dns::ONE_TRIES;

/// The option with which a resolver says why it gave up (RFC 8914, section 2).
const EXTENDED_ERROR: u16 = 15;

/// What is asked besides name and type.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Manner {
    /// Whether the server is to ask others.
    pub(super) recursive: bool,
    /// Whether it is to answer what DNSSEC says is forged (RFC 4035, section 3.2.2).
    pub(super) unchecked: bool,
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) code: ResponseCode,
    /// The server has the zone.
    pub(super) authoritative: bool,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
    /// Why, in the words of RFC 8914: the number, and what the server adds.
    pub(super) extended: Option<(u16, String)>,
}

impl Reply {
    /// Where `name` is an alias of, if it is one.
    pub(super) fn alias(&self, name: &str) -> Option<String> {
        self.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(alias) if plain(&record.name) == name => Some(plain(&alias.0)),
            _ => None,
        })
    }

    /// The data at `name` itself.
    pub(super) fn at<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a RData> {
        let here = self.answers.iter().filter(move |record| plain(&record.name) == name);
        here.map(|record| &record.data)
    }

    /// The zone whose start of authority comes with an answer that has nothing.
    pub(super) fn zone(&self) -> Option<String> {
        let mut starts = self.authorities.iter();
        let start = starts.find(|record| record.record_type() == RecordType::SOA);
        start.map(|record| plain(&record.name))
    }
}

/// Asks `server` for the records of `kind` at `name`.
///
/// # Errors
/// When it does not answer, or with something else.
pub(super) async fn ask(
    server: SocketAddr,
    name: &str,
    kind: RecordType,
    manner: Manner,
) -> Result<Reply, String> {
    let full = Name::from_ascii(format!("{name}.")).map_err(|error| error.to_string())?;
    let query = Query::query(full, kind);
    let mut message = Message::query();
    message.metadata.recursion_desired = manner.recursive;
    message.metadata.checking_disabled = manner.unchecked;
    message.add_query(query.clone());
    let mut edns = Edns::new();
    edns.set_max_payload(u16::try_from(DATAGRAM).unwrap_or(1232));
    message.set_edns(edns);
    let octets = message.to_vec().map_err(|error| error.to_string())?;
    let is_ours = |answer: &Message| {
        answer.metadata.id == message.metadata.id && answer.queries.first() == Some(&query)
    };
    for _ in 0..ONE_TRIES {
        let Ok(asked) = timeout(ONE_ANSWER, by_datagram(server, &octets, &is_ours)).await else {
            continue;
        };
        let answer = asked.map_err(|error| format!("{server}: {error}"))?;
        if !answer.metadata.truncation {
            return Ok(reply(answer));
        }
        let asked = timeout(ONE_ANSWER, by_stream(server, &octets)).await;
        let Ok(asked) = asked else { continue };
        let answer = asked.map_err(|error| format!("{server}: {error}"))?;
        return if is_ours(&answer) {
            Ok(reply(answer))
        } else {
            Err(format!("{server} answers what was not asked"))
        };
    }
    Err(format!("{server} does not answer"))
}

/// Waits for the answer to the question and passes over whatever else comes.
async fn by_datagram(
    server: SocketAddr,
    question: &[u8],
    is_ours: &impl Fn(&Message) -> bool,
) -> std::io::Result<Message> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let octets = buffer.get(..length).unwrap_or_default();
        match Message::from_vec(octets) {
            Ok(answer) if is_ours(&answer) => return Ok(answer),
            _ => {}
        }
    }
}

async fn by_stream(server: SocketAddr, question: &[u8]) -> std::io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(std::io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(question).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Message::from_vec(&answer).map_err(std::io::Error::other)
}

fn reply(message: Message) -> Reply {
    let option = message.edns.as_ref().and_then(|e| e.option(EdnsCode::from(EXTENDED_ERROR)));
    let extended = option.and_then(|option| match option {
        EdnsOption::Unknown(_, octets) => {
            let (number, text) = octets.split_first_chunk::<2>()?;
            let text: String = String::from_utf8_lossy(text)
                .chars()
                .filter(|c| !c.is_control())
                .take(200)
                .collect();
            Some((u16::from_be_bytes(*number), text))
        }
        _ => None,
    });
    Reply {
        code: message.metadata.response_code,
        authoritative: message.metadata.authoritative,
        answers: message.answers,
        authorities: message.authorities,
        extended,
    }
}
