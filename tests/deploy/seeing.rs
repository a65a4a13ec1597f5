//! The probe sees which certificate a server shows, and that it is another one now; the same that
//! openssl sees.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use keyward::config::Probe;
use keyward::deploy::probe::{fingerprint, probe};
use rustls_pki_types::ServerName;

use crate::servers::{Kind, Pair, Server};

const NAME: &str = "mail.example";

/// However busy the machine is.
const AMPLE: Duration = Duration::from_secs(120);

/// The serial number that openssl is shown.
fn openssl(port: u16, protocol: Option<&str>) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-servername", NAME]);
    if let Some(protocol) = protocol {
        command.args(["-starttls", protocol, "-xmpphost", NAME]);
    }
    let said = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout);
    let leaf = rustls_pki_types::pem::PemObject::from_pem_slice(text.as_bytes());
    let leaf: rustls_pki_types::CertificateDer<'_> = leaf.unwrap_or_else(|_| panic!("{said:?}"));
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    leaf.raw_serial().iter().map(|octet| format!("{octet:02X}")).collect()
}

async fn see(kind: Kind) {
    let (one, two) = (Pair::new(NAME), Pair::new(NAME));
    let name = ServerName::try_from(NAME).unwrap();
    let mut server = Server::start(kind, &one);
    for (number, (_, protocol)) in kind.places().iter().enumerate() {
        let place = Probe::parse(&server.place(number)).unwrap();
        let seen = probe(&place, &name, AMPLE).await;
        let seen = seen.unwrap_or_else(|error| panic!("{error}\n{}", server.log()));
        assert_eq!(seen.leaf, fingerprint(&one.der), "{place}");
        assert_eq!(seen.names, [NAME]);
        assert!(seen.proven, "{place}");
        let serial = openssl(server.ports[number], *protocol);
        assert_eq!(seen.serial.to_uppercase(), serial, "{place}");
        assert_eq!(serial, one.serial());
    }
    two.put(&server.files.clone(), kind.user());
    server.reload();
    for (number, (_, protocol)) in kind.places().iter().enumerate() {
        let place = Probe::parse(&server.place(number)).unwrap();
        let until = Instant::now() + AMPLE;
        loop {
            // Some do not accept anything for a moment.
            let seen = probe(&place, &name, AMPLE).await;
            if seen.as_ref().is_ok_and(|seen| seen.leaf == fingerprint(&two.der)) {
                break;
            }
            assert!(Instant::now() < until, "{place}: {seen:?}\n{}", server.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(openssl(server.ports[number], *protocol), two.serial(), "{place}");
    }
}

macro_rules! seen {
    ($($test:ident: $kind:ident,)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                see(Kind::$kind).await;
            }
        )*
    };
}

seen! {
    nginx: Nginx,
    haproxy: Haproxy,
    postgresql: Postgres,
    slapd: Slapd,
    mariadb: Mariadb,
    redis: Redis,
    mosquitto: Mosquitto,
    prosody: Prosody,
}

/// Clients that go without a login count as faults of their machine, which is shut out after some.
#[tokio::test]
async fn mariadb_is_left_by_a_login_that_fails() {
    let server = Server::start(Kind::Mariadb, &Pair::new(NAME));
    let place = Probe::parse(&server.place(0)).unwrap();
    probe(&place, &ServerName::try_from(NAME).unwrap(), AMPLE).await.unwrap();
    let until = Instant::now() + AMPLE;
    while !server.log().contains("Access denied for user 'keyward-probe'") {
        assert!(Instant::now() < until, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

// Their masters have to be root.
#[cfg(feature = "service-tests")]
seen! {
    postfix: Postfix,
    dovecot: Dovecot,
}
