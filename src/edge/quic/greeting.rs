//! The handshake of a QUIC connection: the ClientHello is read whole before anything is chosen for it.
//!
//! QUIC begins a TLS session before it has seen what the client says. So the session that it is given
//! keeps the hello until it is whole and begins the real one then, as over TCP: the site by its name, the
//! crowd asked, the certificate that this client can check, a signature last. It runs in the middle of
//! what QUIC does with a packet and cannot stop there: the vault is asked and waited for, as with one
//! handshake alone. Early data is not taken, as nothing tells here which request came in it.

use std::any::Any;
use std::cell::RefCell;
use std::io::Cursor;
use std::net::IpAddr;
use std::rc::Rc;
use std::rc::Weak;
use std::sync::Arc;

use quinn::ConnectionId;
use quinn::Side;
use quinn::TransportErrorCode;
use quinn::crypto;
use quinn::crypto::ExportKeyingMaterialError;
use quinn::crypto::HeaderKey;
use quinn::crypto::KeyPair;
use quinn::crypto::Keys;
use quinn::crypto::PacketKey;
use quinn::crypto::UnsupportedVersion;
use quinn::crypto::rustls::QuicServerConfig;
use quinn_proto::TransportError;
use quinn_proto::transport_parameters::TransportParameters;
use rustls::HandshakeKind;
use rustls::quic::DirectionalKeys;
use rustls::quic::KeyChange;
use rustls::quic::Secrets;
use rustls::quic::ServerConnection;
use rustls::quic::Version;
use rustls::server::Acceptor;
use rustls::server::ClientHello;
use rustls_pki_types::CertificateDer;
use tokio::time::Instant;

use crate::base::bounds::quic::QUIC_HELLO;
use crate::edge::accept;
use crate::edge::facts::Facts;
use crate::edge::hello;
use crate::edge::ja4;
use crate::edge::ja4::Carrier;
use crate::edge::knock;
use crate::edge::network::Network;
use crate::edge::route::Identity;
use crate::edge::serving::normal;
use crate::edge::shake::Weight;
use crate::edge::visitors::Visitors;
use crate::edge::worker::Worker;

/// The only protocol spoken here (RFC 9114, section 3.1).
const H3: &[u8] = b"h3";

/// RFC 8446, section 6.2, and RFC 6066, section 3.
const DECODE_ERROR: u8 = 50;
const INTERNAL_ERROR: u8 = 80;
const UNRECOGNIZED_NAME: u8 = 112;
const NO_APPLICATION_PROTOCOL: u8 = 120;

thread_local! {
    /// Sessions have to be fit for any thread, and never leave the one of their worker.
    static HERE: RefCell<Weak<Worker>> = const { RefCell::new(Weak::new()) };
}

/// Makes `worker` the one of this thread.
pub(super) fn belong(worker: &Rc<Worker>) {
    HERE.replace(Rc::downgrade(worker));
}

fn here() -> Option<Rc<Worker>> {
    HERE.with_borrow(Weak::upgrade)
}

/// Whom a connection is with.
pub(super) struct Greeting {
    pub(super) ground: Arc<QuicServerConfig>,
    pub(super) network: Network,
    /// The address that the client came to.
    pub(super) local: IpAddr,
}

/// What came of a handshake.
#[derive(Debug)]
pub(super) struct Met {
    pub(super) identity: Identity,
    pub(super) resumed: bool,
    /// What was agreed on, where that is told.
    pub(super) facts: Option<Facts>,
}

impl crypto::ServerConfig for Greeting {
    fn initial_keys(
        &self,
        version: u32,
        dst_cid: &ConnectionId,
    ) -> Result<Keys, UnsupportedVersion> {
        self.ground.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.ground.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        params: &TransportParameters,
    ) -> Box<dyn crypto::Session> {
        let mut own = Vec::new();
        params.write(&mut own);
        Box::new(Session { version, greeting: self, params: own, stage: Stage::Hello(Vec::new()) })
    }
}

struct Session {
    version: u32,
    greeting: Arc<Greeting>,
    /// Ours, as the client is told them.
    params: Vec<u8>,
    stage: Stage,
}

enum Stage {
    /// What has come of the ClientHello.
    Hello(Vec<u8>),
    Shaking(Box<Shaking>),
    Refused,
}

struct Shaking {
    tls: ServerConnection,
    identity: Identity,
    /// Until it is over.
    weight: Option<Weight>,
    next: Option<Secrets>,
    /// What the first message looked like, where that is told.
    told: Option<Option<Box<str>>>,
}

impl Session {
    const fn shaking(&self) -> Option<&Shaking> {
        match &self.stage {
            Stage::Shaking(shaking) => Some(shaking),
            Stage::Hello(_) | Stage::Refused => None,
        }
    }

    fn greet(&self, hello: &[u8]) -> Result<Shaking, TransportError> {
        let worker = here().ok_or_else(|| alert(INTERNAL_ERROR, "no worker"))?;
        let record = record(hello);
        let nonsense = |reason: &str| {
            worker.counters.protocol.up();
            alert(DECODE_ERROR, reason)
        };
        let mut acceptor = Acceptor::default();
        acceptor.read_tls(&mut Cursor::new(&record)).map_err(|_| nonsense("unreadable"))?;
        let accepted = acceptor.accept().map_err(|(error, _)| nonsense(&error.to_string()))?;
        let accepted = accepted.ok_or_else(|| nonsense("not whole"))?;
        let ticket = hello::ticket_of(&record);
        let told = worker.set().tells_of_tls.then(|| ja4::ja4(hello.get(4..)?, Carrier::Quic));
        let shaking = self.choose(&worker, &accepted.client_hello(), ticket);
        let shaking = shaking.map(|mut shaking| {
            shaking.told = told;
            shaking
        });
        shaking.inspect_err(|error| tracing::debug!(reason = %error, "a QUIC client is refused"))
    }

    /// As over TCP; see `accept::handshake`. Challenges of a CA never come this way (RFC 8737 knows
    /// TCP alone).
    fn choose(
        &self,
        worker: &Worker,
        hello: &ClientHello<'_>,
        ticket: Option<&[u8]>,
    ) -> Result<Shaking, TransportError> {
        let counters = &worker.counters;
        if !hello.alpn().is_some_and(|mut offered| offered.any(|protocol| protocol == H3)) {
            counters.protocol.up();
            return Err(alert(NO_APPLICATION_PROTOCOL, "nothing but h3 is spoken here"));
        }
        let identity = match hello.server_name() {
            Some(name) => Identity::Name(normal(name).into()),
            None => Identity::Address(self.greeting.local),
        };
        let set = worker.set().clone();
        let known = identity.known(&set);
        // Nobody can wait within the library's call: a client that comes again finds it there.
        if let Some(name) = knock::wanting(worker, &set, known.as_ref(), &identity) {
            worker.shared.knocker.tell(name, self.greeting.network);
        }
        let unknown = known.is_none();
        let named = matches!(identity, Identity::Name(_));
        let Some(site) = known.or_else(|| set.for_unknown(named).map(Arc::clone)) else {
            counters.unknown_name.up();
            return Err(alert(UNRECOGNIZED_NAME, "no such site"));
        };
        if matches!(site.visitors, Visitors::Nobody) {
            counters.no_certificate.up();
            return Err(alert(INTERNAL_ERROR, "nobody is let in"));
        }
        // Up to here nothing costly was done.
        let good = ticket.is_some_and(|ticket| worker.shared.certificates.mould.knows(ticket));
        let Some(weight) = Weight::ask(worker, self.greeting.network, good) else {
            return Err(TransportErrorCode::CONNECTION_REFUSED.into());
        };
        let begun = accept::find(worker, &identity, (&site, unknown), hello).and_then(|found| {
            let mut config = (*found).clone();
            config.alpn_protocols = vec![H3.to_vec()];
            ServerConnection::new(Arc::new(config), Version::V1, self.params.clone())
                .inspect_err(|error| tracing::warn!(%error, "TLS for QUIC cannot be set up"))
                .ok()
        });
        let Some(tls) = begun else {
            weight.end(worker);
            counters.no_certificate.up();
            return Err(alert(INTERNAL_ERROR, "no certificate"));
        };
        Ok(Shaking { tls, identity, weight: Some(weight), next: None, told: None })
    }
}

impl Shaking {
    fn read(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        let begun = Instant::now();
        let read = self.tls.read_hs(bytes);
        let now = Instant::now();
        if let (Some(weight), Some(worker)) = (&mut self.weight, here()) {
            weight.note(&worker, now.saturating_duration_since(begun), now);
            if read.is_err() {
                worker.counters.protocol.up();
            }
        }
        if !self.tls.is_handshaking() {
            self.settle();
        }
        read.map_err(|error| match self.tls.alert() {
            Some(description) => alert(description.into(), &error.to_string()),
            None => alert(INTERNAL_ERROR, &error.to_string()),
        })
    }

    fn is_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The handshake is over.
    fn settle(&mut self) {
        let Some(mut weight) = self.weight.take() else { return };
        if self.is_resumed() {
            weight.resumed();
        }
        if let Some(worker) = here() {
            weight.end(&worker);
        }
    }
}

impl Drop for Shaking {
    fn drop(&mut self) {
        self.settle();
    }
}

impl crypto::Session for Session {
    fn initial_keys(&self, dst_cid: &ConnectionId, _: Side) -> Keys {
        // Asked of clients after a Retry, and of nobody else.
        let keys = crypto::ServerConfig::initial_keys(&*self.greeting, self.version, dst_cid);
        keys.unwrap_or_else(|UnsupportedVersion| unreachable!("the endpoint knows the version"))
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let shaking = self.shaking()?;
        let told = shaking.told.as_ref().filter(|_| !shaking.tls.is_handshaking());
        Some(Box::new(Met {
            identity: shaking.identity.clone(),
            resumed: shaking.is_resumed(),
            facts: told.map(|ja4| Facts::of(&shaking.tls, ja4.clone())),
        }))
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        let chain = self.shaking()?.tls.peer_certificates()?;
        let chain: Vec<CertificateDer<'static>> = chain.to_vec();
        Some(Box::new(chain))
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        None
    }

    fn early_data_accepted(&self) -> Option<bool> {
        None
    }

    fn is_handshaking(&self) -> bool {
        self.shaking().is_none_or(|shaking| shaking.tls.is_handshaking())
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        let hello = match &mut self.stage {
            Stage::Shaking(shaking) => return shaking.read(buf).map(|()| false),
            Stage::Refused => return Err(alert(INTERNAL_ERROR, "it is over")),
            Stage::Hello(hello) => hello,
        };
        hello.extend_from_slice(buf);
        match missing(hello) {
            Missing::Nothing => {}
            Missing::Something if hello.len() < QUIC_HELLO => return Ok(false),
            Missing::Something | Missing::Sense => {
                self.stage = Stage::Refused;
                if let Some(worker) = here() {
                    worker.counters.protocol.up();
                }
                return Err(alert(DECODE_ERROR, "this is no ClientHello"));
            }
        }
        let hello = std::mem::take(hello);
        self.stage = Stage::Refused;
        let mut shaking = Box::new(self.greet(&hello)?);
        shaking.read(&hello)?;
        self.stage = Stage::Shaking(shaking);
        Ok(true)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let theirs = self.shaking().and_then(|shaking| shaking.tls.quic_transport_parameters());
        let read = |bytes| TransportParameters::read(Side::Server, &mut Cursor::new(bytes));
        theirs.map(read).transpose().map_err(Into::into)
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        let Stage::Shaking(shaking) = &mut self.stage else { return None };
        let keys = match shaking.tls.write_hs(buf)? {
            KeyChange::Handshake { keys } => keys,
            KeyChange::OneRtt { keys, next } => {
                shaking.next = Some(next);
                keys
            }
        };
        let DirectionalKeys { header: own_header, packet: own_packet, .. } = keys.local;
        let DirectionalKeys { header: their_header, packet: their_packet, .. } = keys.remote;
        Some(Keys {
            header: KeyPair { local: Box::new(own_header), remote: Box::new(their_header) },
            packet: KeyPair { local: Box::new(own_packet), remote: Box::new(their_packet) },
        })
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let Stage::Shaking(shaking) = &mut self.stage else { return None };
        let keys = shaking.next.as_mut()?.next_packet_keys();
        Some(KeyPair { local: Box::new(keys.local), remote: Box::new(keys.remote) })
    }

    fn is_valid_retry(&self, _: &ConnectionId, _: &[u8], _: &[u8]) -> bool {
        // Clients are sent them.
        false
    }

    fn export_keying_material(
        &self,
        _: &mut [u8],
        _: &[u8],
        _: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        // Nobody asks for any.
        Err(ExportKeyingMaterialError)
    }
}

/// What a ClientHello lacks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Missing {
    Nothing,
    Something,
    /// It is something else.
    Sense,
}

/// RFC 8446, section 4.
fn missing(hello: &[u8]) -> Missing {
    match hello {
        [] | [1] | [1, _] | [1, _, _] => Missing::Something,
        [1, high, middle, low, body @ ..] => {
            let length = u32::from_be_bytes([0, *high, *middle, *low]);
            let whole = usize::try_from(length).is_ok_and(|length| body.len() >= length);
            if whole { Missing::Nothing } else { Missing::Something }
        }
        [_, ..] => Missing::Sense,
    }
}

/// `hello` as it would come over TCP (RFC 8446, section 5.1), for those who read it there.
fn record(hello: &[u8]) -> Vec<u8> {
    let length = u16::try_from(hello.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[22, 3, 1], &length[..], hello].concat()
}

/// An alert of TLS, as QUIC says it (RFC 9001, section 4.8).
fn alert(description: u8, reason: &str) -> TransportError {
    TransportError {
        code: TransportErrorCode::crypto(description),
        frame: None,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_is_whole_when_its_length_is_there_and_nothing_else_is_one() {
        let hello = [&[1, 0, 1, 2][..], &[9; 258]].concat();
        for end in 0..hello.len() {
            assert_eq!(missing(&hello[..end]), Missing::Something, "{end}");
        }
        assert_eq!(missing(&hello), Missing::Nothing);
        assert_eq!(missing(&[2]), Missing::Sense);
        assert_eq!(missing(&[1, 0xff, 0xff, 0xff, 0]), Missing::Something);
        assert_eq!(record(&hello)[..7], [22, 3, 1, 1, 6, 1, 0]);
    }
}
