//! Whether ports 80 and 443 of the addresses of a name lead to this very daemon: it puts something there
//! that nobody else can know, and looks for it.
//!
//! It looks from this machine. That others see the same is likely and not certain, and is said so.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::ClientConfig;
use rustls::DigitallySignedStruct;
use rustls::SignatureScheme;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::ServerName;
use rustls_pki_types::UnixTime;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Patient;
use crate::admin::wire::doctor::Check;
use crate::admin::wire::doctor::Finding;
use crate::base::bounds::doctor::ADDRESSES;
use crate::base::bounds::doctor::ANSWER;
use crate::base::bounds::doctor::KNOCK;
use crate::base::tls;
use crate::cert::chain::Chain;
use crate::cert::challenge::Challenge;
use crate::cert::challenge::Solver;
use crate::cert::identifier::Identifier;
use crate::issuer::dns::is_here;

/// Where CAs look (RFC 8555, section 8.3; RFC 8737, section 3).
const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// The protocol of TLS-ALPN-01.
const ALPN: &[u8] = b"acme-tls/1";

/// What was met at a door.
enum Met {
    /// This daemon; with more to say about it.
    Us(String),
    /// Somebody else, or this daemon with something else.
    Other(String),
    /// Nobody.
    Nobody(String),
}

/// What doors are knocked on with.
pub(super) struct Doors<'a> {
    pub(super) solver: &'a dyn Solver,
    pub(super) patient: &'a Patient,
}

impl Doors<'_> {
    /// Looks at both ports of each address. `own` are the serial numbers and certificates that may be
    /// shown for `name`.
    pub(super) async fn knock(
        &self,
        name: &Identifier,
        addresses: &[IpAddr],
        own: &[(String, Vec<u8>)],
        checks: &mut Vec<Check>,
    ) {
        let text = name.to_string();
        for address in addresses.iter().take(ADDRESSES) {
            let met = timeout(KNOCK, self.plain(name, *address)).await;
            let met = met.unwrap_or_else(|_| Met::Nobody("no answer in time".to_owned()));
            let mut check = judge("port-80", &text, *address, met);
            // Only the redirect and one of the challenges need it.
            if !self.patient.by_acme && check.finding == Finding::Problem {
                check.finding = Finding::Warning;
            }
            checks.push(check);
            let met = timeout(KNOCK, self.secure(name, *address, own)).await;
            let met = met.unwrap_or_else(|_| Met::Nobody("no answer in time".to_owned()));
            checks.push(judge("port-443", &text, *address, met));
        }
    }

    /// A path of port 80 that the daemon answers with what it has just made.
    async fn plain(&self, name: &Identifier, address: IpAddr) -> Met {
        let (Some(token), Some(nonce)) = (nonce(), nonce()) else {
            return Met::Nobody("there is no randomness".to_owned());
        };
        let challenge = Challenge::Http01 {
            name: name.clone(),
            token: token.clone(),
            key_authorization: nonce.clone(),
        };
        // Withdrawn when this returns.
        let _presented = match self.solver.present(challenge).await {
            Ok(presented) => presented,
            Err(error) => return Met::Nobody(format!("{error}: see [listen] http")),
        };
        let answer = match fetch(SocketAddr::new(address, HTTP), &name.to_string(), &token).await {
            Ok(answer) => answer,
            Err(error) => return Met::Nobody(error.to_string()),
        };
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if body.contains(&nonce) {
            return Met::Us("answered what this daemon had just made".to_owned());
        }
        let status: String = head.lines().next().unwrap_or_default().chars().take(80).collect();
        let field = |wanted: &str| {
            head.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(wanted).then(|| value.trim().chars().take(120).collect())
            })
        };
        let server: Option<String> = field("server");
        let by = server.map_or_else(String::new, |server| format!(", by {server}"));
        let to: Option<String> = field("location");
        let to = to.map_or_else(String::new, |to| format!(", to {to}"));
        Met::Other(format!("answered {:?}{to}{by}", status.trim()))
    }

    /// A handshake that names `name`, and if that shows no certificate of ours another one that only this
    /// daemon can answer.
    async fn secure(&self, name: &Identifier, address: IpAddr, own: &[(String, Vec<u8>)]) -> Met {
        let at = SocketAddr::new(address, HTTPS);
        let Ok(asked) = ServerName::try_from(name.to_string()) else {
            return Met::Other("no name for a handshake".to_owned());
        };
        let stream = match TcpStream::connect(at).await {
            Ok(stream) => stream,
            Err(error) => return Met::Nobody(error.to_string()),
        };
        let seen = match shake(stream, asked, None).await {
            Ok(shown) => {
                let ours = own.iter().find(|(_, leaf)| Some(leaf) == shown.as_ref());
                if let Some((serial, _)) = ours {
                    let seen = format!("showed the certificate with serial {serial}, as it should");
                    return Met::Us(seen);
                }
                format!("showed {}", describe(shown))
            }
            Err(error) => format!("refused a handshake for the name ({error})"),
        };
        // A name of its own, so that an order for the real one that is under way is left alone.
        if self.mark(at).await {
            Met::Us(format!("is this daemon, and {seen}"))
        } else {
            Met::Other(seen)
        }
    }

    async fn mark(&self, at: SocketAddr) -> bool {
        let mut digest = [0; 32];
        let mut label = [0_u8; 10];
        if tls::fill(&mut digest).is_none() || tls::fill(&mut label).is_none() {
            return false;
        }
        let label: String = label.iter().map(|octet| format!("{octet:02x}")).collect();
        let host = format!("{label}.keyward.invalid");
        let (Ok(name), Ok(asked)) = (Identifier::parse(&host), ServerName::try_from(host)) else {
            return false;
        };
        let presented = self.solver.present(Challenge::TlsAlpn01 { name, digest }).await;
        let Ok(_presented) = presented else { return false };
        let Ok(stream) = TcpStream::connect(at).await else { return false };
        let shown = shake(stream, asked, Some(ALPN)).await.ok().flatten();
        shown.is_some_and(|leaf| leaf.windows(digest.len()).any(|part| part == digest))
    }
}

fn judge(what: &str, name: &str, address: IpAddr, met: Met) -> Check {
    let here = is_here(address) == Some(true);
    let name = Some(name);
    match met {
        Met::Us(seen) => {
            let path = if here {
                "asked from this machine, so that no firewall in front of it was passed"
            } else {
                "asked from this machine through its public address"
            };
            Check::ok(what, name, format!("{address} {seen}; {path}"))
        }
        Met::Other(seen) => Check::problem(
            what,
            name,
            format!("{address} {seen}: that is not what this daemon was asked for"),
            "somebody else answers there: point the name here, or have that port passed on to keyward",
        ),
        Met::Nobody(seen) if here => Check::problem(
            what,
            name,
            format!("{address}: {seen}"),
            format!(
                "nobody answers at an address of this machine: see [listen], and whether {} is free",
                what.replace('-', " ")
            ),
        ),
        Met::Nobody(seen) => Check::warning(
            what,
            name,
            format!("{address}: {seen}"),
            "many routers do not let a machine reach itself by its public address: look from \
             elsewhere whether the port is open, and have it passed on to this machine",
        ),
    }
}

fn nonce() -> Option<String> {
    let mut octets = [0; 24];
    tls::fill(&mut octets)?;
    Some(URL_SAFE_NO_PAD.encode(octets))
}

async fn fetch(at: SocketAddr, host: &str, token: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(at).await?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let request = format!(
        "GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nHost: {host}\r\n\
         User-Agent: keyward-doctor\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Looks at what is shown and believes nobody: nothing is sent to who is met. A challenge's certificate has
/// an extension that a verifier has to refuse (RFC 8737, section 3), signatures included.
#[derive(Debug)]
struct Onlooker;

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The certificate that is shown, whoever issued it.
async fn shake(
    stream: TcpStream,
    asked: ServerName<'static>,
    protocol: Option<&[u8]>,
) -> std::io::Result<Option<Vec<u8>>> {
    let mut config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Onlooker))
        .with_no_client_auth();
    config.alpn_protocols = protocol.into_iter().map(<[u8]>::to_vec).collect();
    let stream = TlsConnector::from(Arc::new(config)).connect(asked, stream).await?;
    let certificates = stream.get_ref().1.peer_certificates();
    Ok(certificates.and_then(|all| all.first()).map(|leaf| leaf.to_vec()))
}

fn describe(shown: Option<Vec<u8>>) -> String {
    let leaf = shown.and_then(|leaf| Chain::from_der(vec![leaf]).ok()?.leaf().ok());
    let Some(leaf) = leaf else { return "a certificate that cannot be read".to_owned() };
    let names: Vec<String> = leaf.names.iter().take(3).map(ToString::to_string).collect();
    format!("a certificate of {} for {}", leaf.issuer, names.join(", "))
}
