//! Sessions that go on by a ticket: across a kill, not after a replacement, not too late, and
//! nowhere but where they began.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use keyward::base::Clock as _;
use keyward::base::Secret;
use keyward::base::SystemClock;
use keyward::vault::seal::Content;
use keyward::vault::seal::Sealer;
use rustls::ClientConfig;
use rustls::HandshakeKind;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::daemon::run;
use crate::origin::Origin;
use crate::scan;

/// A keyward with two sites of names and two of addresses, all signed by its own CA.
struct House {
    keyward: Keyward,
    _origin: Origin,
    root: PathBuf,
}

const NAMES: [&str; 4] = ["a.internal", "b.internal", "127.0.0.1", "127.0.0.2"];

impl House {
    fn open(mode: &str) -> Self {
        let origin = Origin::start();
        let site = |name| {
            format!("[[site]]\nnames = [\"{name}\"]\norigin = \"http://{}\"\n", origin.address)
        };
        let sites = format!("[tls]\ntickets = \"{mode}\"\n{}", NAMES.map(site).concat());
        let mut keyward = Keyward::new("", &sites);
        let port = keyward.https;
        keyward.edit(&format!("127.0.0.1:{port}"), &format!("0.0.0.0:{port}"));
        keyward.start();
        let root = keyward.dir.path().join("root.pem");
        std::fs::write(&root, keyward.cli(&["trust", "--print"]).ok()).unwrap();
        let house = Self { keyward, _origin: origin, root };
        house.wait();
        house
    }

    /// Until every site has a certificate.
    fn wait(&self) {
        for name in ["a.internal", "b.internal"] {
            eventually(name, Duration::from_secs(20), || {
                let said = self.keyward.curl(&self.root, name, "/", &[]);
                said.status.success().then_some(())
            });
        }
    }

    /// One visit by openssl to `to`, named or not, and what it says of the session.
    fn openssl(&self, to: &str, name: Option<&str>, more: &[&str]) -> String {
        let named =
            name.map_or_else(|| "-noservername".to_owned(), |name| format!("-servername {name}"));
        // The end of the answer comes behind the ticket.
        let request = format!(
            "GET / HTTP/1.1\\r\\nHost: {}\\r\\nConnection: close\\r\\n\\r\\n",
            name.unwrap_or(to)
        );
        let port = self.keyward.https;
        let said = run(std::process::Command::new("sh").arg("-c").arg(format!(
            "printf '{request}' | timeout 20 openssl s_client -ign_eof -connect {to}:{port} {named} {}",
            more.join(" ")
        )));
        assert!(said.out.contains("HTTP/1.1 200"), "{said:#?}");
        let kinds = ["New, TLSv1.3", "Reused, TLSv1.3", "New, TLSv1.2", "Reused, TLSv1.2"];
        kinds.into_iter().find(|kind| said.out.contains(kind)).unwrap_or_default().to_owned()
    }

    fn restart(&mut self) {
        self.keyward.kill9();
        self.keyward.start();
    }

    fn file(&self) -> PathBuf {
        self.keyward.state().join("store/tickets.sealed")
    }

    fn sealer(&self) -> Sealer {
        let key = std::fs::read(self.keyward.state().join("vault/master.key")).unwrap();
        Sealer::new(Secret::new(key.try_into().unwrap())).unwrap()
    }

    /// The ratchet's state in the clear.
    fn state(&self) -> Vec<u8> {
        self.sealer().open(&std::fs::read(self.file()).unwrap()).unwrap().1.to_vec()
    }

    /// Says that the epoch began `seconds` before the present, which may be negative.
    fn age(&mut self, seconds: i64) {
        self.keyward.kill9();
        let mut state = self.state();
        let now = i64::try_from(SystemClock.now().as_unix()).unwrap();
        state[SINCE..SINCE + 8].copy_from_slice(&(now - seconds).to_le_bytes());
        let content = Content::secret(b"keyward vault: session tickets");
        std::fs::write(self.file(), self.sealer().seal(content, &state).unwrap()).unwrap();
        self.keyward.start();
    }

    fn status(&self) -> serde_json::Value {
        self.keyward.cli(&["status", "--json"]).json()
    }

    fn epoch(&self) -> i64 {
        self.status()["tickets"]["epoch"].as_i64().unwrap()
    }
}

/// Where the moment stands in the state: behind version, mode and epoch.
const SINCE: usize = 1 + 1 + 8;

/// A client that keeps its tickets.
struct Visitor(Arc<ClientConfig>);

impl Visitor {
    fn new(root: &Path, version: &'static rustls::SupportedProtocolVersion) -> Self {
        let chain = keyward::cert::chain::Chain::from_pem(&std::fs::read(root).unwrap()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(chain.to_rustls().remove(0)).unwrap();
        let config = ClientConfig::builder_with_provider(keyward::base::tls::provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(Arc::new(config))
    }

    /// Asks for `/` and says how the handshake went.
    fn visit(&self, house: &House, name: &str) -> HandshakeKind {
        crate::scene::runtime().block_on(async {
            let address = ("127.0.0.1", house.keyward.https);
            let socket = tokio::net::TcpStream::connect(address).await.unwrap();
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.0));
            let server = ServerName::try_from(name.to_owned()).unwrap();
            let mut stream = connector.connect(server, socket).await.unwrap();
            let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
            stream.get_ref().1.handshake_kind().unwrap()
        })
    }
}

#[test]
fn a_session_goes_on_across_a_kill_and_not_after_a_replacement() {
    let mut house = House::open("fast");
    let visitor = Visitor::new(&house.root, &rustls::version::TLS13);
    assert_eq!(visitor.visit(&house, "a.internal"), HandshakeKind::Full);
    assert_eq!(visitor.visit(&house, "a.internal"), HandshakeKind::Resumed);
    let session = house.keyward.dir.path().join("session.pem");
    let (to, from) =
        (format!("-sess_out {}", session.display()), format!("-sess_in {}", session.display()));
    let name = Some("a.internal");
    assert_eq!(house.openssl("127.0.0.1", name, &["-tls1_3", &to]), "New, TLSv1.3");
    assert_eq!(house.openssl("127.0.0.1", name, &["-tls1_3", &from]), "Reused, TLSv1.3");
    let epoch = house.epoch();

    house.restart();
    assert_eq!(visitor.visit(&house, "a.internal"), HandshakeKind::Resumed);
    assert_eq!(house.openssl("127.0.0.1", name, &["-tls1_3", &from]), "Reused, TLSv1.3");
    assert_eq!(house.epoch(), epoch);
    let status = house.status();
    assert_eq!(status["tickets"]["mode"], "fast");
    assert_eq!(status["edge"]["tickets.accepted"], 2, "{status:#}");
    assert_eq!(status["edge"]["tickets.issued"], 2, "{status:#}");

    let said = house.keyward.cli(&["rotate", "tickets"]).ok();
    assert!(said.contains(&format!("number {}", epoch + 1)), "{said}");
    assert_eq!(visitor.visit(&house, "a.internal"), HandshakeKind::Full);
    assert_eq!(house.openssl("127.0.0.1", name, &["-tls1_3", &from]), "New, TLSv1.3");
    assert_eq!(visitor.visit(&house, "a.internal"), HandshakeKind::Resumed);
    assert_eq!(house.status()["edge"]["tickets.unknown"], 2);
    let told = house.keyward.cli(&["events"]).ok();
    assert!(told.contains("the keys of session tickets were replaced by user"), "{told}");

    // The replacement was durable before it was announced.
    house.restart();
    assert_eq!(house.openssl("127.0.0.1", name, &["-tls1_3", &from]), "New, TLSv1.3");
    assert_eq!(visitor.visit(&house, "a.internal"), HandshakeKind::Resumed);
    let text = house.keyward.cli(&["status"]).ok();
    assert!(
        text.lines().any(|line| line.starts_with("tickets") && line.contains("fast, key")),
        "{text}"
    );
}

#[test]
fn a_session_goes_on_nowhere_but_where_it_began() {
    let house = House::open("fast");
    let session = house.keyward.dir.path().join("session.pem");
    let (to, from) =
        (format!("-sess_out {}", session.display()), format!("-sess_in {}", session.display()));
    // By name: rustls looks at it. By address there is none, and two sites.
    for (begun, name, elsewhere, other) in [
        ("127.0.0.1", Some("a.internal"), "127.0.0.1", Some("b.internal")),
        ("127.0.0.1", None, "127.0.0.2", None),
    ] {
        assert_eq!(house.openssl(begun, name, &["-tls1_3", &to]), "New, TLSv1.3");
        assert_eq!(house.openssl(elsewhere, other, &["-tls1_3", &from]), "New, TLSv1.3");
        assert_eq!(house.openssl(begun, name, &["-tls1_3", &from]), "Reused, TLSv1.3");
    }
    let status = house.status();
    assert_eq!(status["edge"]["tickets.refused"], 2, "{status:#}");
    // The key of a ticket would open all of such a session.
    assert_eq!(house.openssl("127.0.0.1", Some("a.internal"), &["-tls1_2", &to]), "New, TLSv1.2");
    let again = Visitor::new(&house.root, &rustls::version::TLS12);
    assert_eq!(again.visit(&house, "a.internal"), HandshakeKind::Full);
    assert_eq!(again.visit(&house, "a.internal"), HandshakeKind::Full);
}

#[test]
fn a_ticket_is_accepted_for_two_epochs_and_of_a_wrong_clock_not_at_all() {
    let mut house = House::open("fast");
    let visitor = Visitor::new(&house.root, &rustls::version::TLS13);
    assert_eq!(visitor.visit(&house, "a.internal"), HandshakeKind::Full);
    let epoch = house.epoch();
    // Young, and as old as a key gets: the ticket is of the epoch before then.
    for (age, later) in [(600, 0), (3700, 1)] {
        house.age(age);
        assert_eq!(house.epoch(), epoch + later);
        assert_eq!(visitor.visit(&house, "a.internal"), HandshakeKind::Resumed, "{age}");
    }
    let before = house.state();
    house.age(3 * 3600);
    assert_eq!(house.epoch(), epoch + 3);
    assert_eq!(visitor.visit(&house, "a.internal"), HandshakeKind::Full);
    assert_eq!(visitor.visit(&house, "a.internal"), HandshakeKind::Resumed);
    // No root or key of then is in what is kept now.
    let now = house.state();
    assert!(
        before
            .windows(32)
            .all(|window| !now.windows(32).any(|other| other == window && window != [0; 32]))
    );
    // An epoch that is yet to begin, by a clock that was set back by an hour.
    house.age(-3600);
    assert_eq!(visitor.visit(&house, "a.internal"), HandshakeKind::Full);
    // One that was put right by a minute.
    house.age(-60);
    assert_eq!(visitor.visit(&house, "a.internal"), HandshakeKind::Resumed);
    // A state that is none, and one of another machine, begin anew and hinder nothing.
    for other in [
        b"nonsense".to_vec(),
        Sealer::new(Secret::new([3; 32]))
            .unwrap()
            .seal(Content::secret(b"keyward vault: session tickets"), &now)
            .unwrap(),
    ] {
        house.keyward.kill9();
        std::fs::write(house.file(), other).unwrap();
        house.keyward.start();
        assert_eq!(visitor.visit(&house, "a.internal"), HandshakeKind::Full);
        assert_eq!(visitor.visit(&house, "a.internal"), HandshakeKind::Resumed);
    }
}

#[test]
fn no_key_of_a_ticket_is_on_the_disk() {
    let house = House::open("fast");
    Visitor::new(&house.root, &rustls::version::TLS13).visit(&house, "a.internal");
    house.keyward.cli(&["rotate", "tickets"]).ok();
    let state = house.state();
    let secrets = secrets(&state);
    let needles = scan::Needles::new(secrets.clone());
    let mut counts = vec![0; secrets.len()];
    let mut looked = 0;
    let mut waiting = vec![house.keyward.state()];
    while let Some(place) = waiting.pop() {
        for entry in std::fs::read_dir(place).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                needles.look(&std::fs::read(&path).unwrap(), &mut counts);
                looked += 1;
            }
        }
    }
    assert!(looked >= 4, "{looked}");
    assert_eq!(counts, vec![0; counts.len()]);
    // The search can find them.
    needles.look(&state, &mut counts);
    assert_eq!(counts[0], 1);
}

/// The root, the epoch's key, and the two states that HMAC begins with, which are all that is kept
/// of a key in use.
fn secrets(state: &[u8]) -> Vec<Vec<u8>> {
    let root = &state[SINCE + 8..SINCE + 8 + 32];
    let prk = ring::hkdf::Prk::new_less_safe(ring::hkdf::HKDF_SHA256, root);
    let mut key = [0; 32];
    let info = [&b"keyward ticket key"[..], &state[2..10]];
    prk.expand(&info, ring::hkdf::HKDF_SHA256).unwrap().fill(&mut key).unwrap();
    let [inner, outer] = scan::hmac_states(&key);
    vec![root.to_vec(), key.to_vec(), inner, outer]
}

#[test]
fn in_strict_mode_the_vault_alone_holds_the_keys_and_its_death_costs_no_more_than_a_moment() {
    let mut house = House::open("strict");
    let new = Visitor::new(&house.root, &rustls::version::TLS13);
    let old = Visitor::new(&house.root, &rustls::version::TLS12);
    for visitor in [&new, &old] {
        assert_eq!(visitor.visit(&house, "a.internal"), HandshakeKind::Full);
        for _ in 0..5 {
            assert_eq!(visitor.visit(&house, "a.internal"), HandshakeKind::Resumed);
        }
    }
    let main = u32::try_from(house.keyward.pid()).unwrap();
    let found = scan::Needles::new(secrets(&house.state())).look_in(main).unwrap();
    assert!(found.looked_at > 1 << 20, "{found:?}");
    assert_eq!(found.total(), 0, "{found:?}");

    house.restart();
    assert_eq!(new.visit(&house, "a.internal"), HandshakeKind::Resumed);
    let vault = i32::try_from(house.status()["vault"]["pid"].as_i64().unwrap()).unwrap();
    let vault = nix::unistd::Pid::from_raw(vault);
    nix::sys::signal::kill(vault, nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("the next vault knows the keys", Duration::from_secs(10), || {
        (new.visit(&house, "a.internal") == HandshakeKind::Resumed).then_some(())
    });
    house.keyward.cli(&["rotate", "tickets"]).ok();
    for visitor in [&new, &old] {
        assert_eq!(visitor.visit(&house, "a.internal"), HandshakeKind::Full);
        assert_eq!(visitor.visit(&house, "a.internal"), HandshakeKind::Resumed);
    }

    // The other mode begins with keys that it never shared, and there the search finds them.
    let epoch = house.epoch();
    house.keyward.kill9();
    house.keyward.edit("tickets = \"strict\"", "tickets = \"fast\"");
    house.keyward.start();
    assert_eq!(house.epoch(), epoch + 1);
    assert_eq!(new.visit(&house, "a.internal"), HandshakeKind::Full);
    assert_eq!(new.visit(&house, "a.internal"), HandshakeKind::Resumed);
    let main = u32::try_from(house.keyward.pid()).unwrap();
    let found = scan::Needles::new(secrets(&house.state())).look_in(main).unwrap();
    assert!(found.counts[2] > 0 && found.counts[3] > 0, "{found:?}");

    house.keyward.kill9();
    house.keyward.edit("tickets = \"fast\"", "tickets = \"off\"");
    house.keyward.start();
    for visitor in [&new, &old] {
        for _ in 0..2 {
            assert_eq!(visitor.visit(&house, "a.internal"), HandshakeKind::Full);
        }
    }
    assert!(!house.file().exists());
    let said = house.keyward.cli(&["rotate", "tickets"]);
    assert!(
        !said.status.success() && said.err.contains("there are no session tickets"),
        "{said:?}"
    );
}
