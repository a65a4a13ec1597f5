//! A Pebble of one's own: an ACME server and the DNS server it asks, on free ports, with its
//! output kept for counting. Included by tests through `#[path]`.
//!
//! A missing Pebble fails the test; `scripts/install-pebble` puts it in place.

#![allow(dead_code, reason = "each test that includes the kit uses a part of it")]
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests wait for real processes on real time, and panic when something is amiss"
)]

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

/// How a Pebble is to be.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Port on which HTTP-01 is looked for.
    pub(crate) http_port: u16,
    /// Port on which TLS-ALPN-01 is looked for.
    pub(crate) tls_port: u16,
    /// Percent of good nonces that are refused.
    pub(crate) nonce_reject: u8,
    /// Percent of authorizations that are used again for a new order.
    pub(crate) authz_reuse: u8,
    /// Profiles by name, with the life of their certificates in seconds. An order that names none
    /// gets any of them.
    pub(crate) profiles: Vec<(String, u64)>,
    /// Names that are never signed, with all names below them.
    pub(crate) blocked: Vec<String>,
    /// External account keys, as identifier and base64url key; binding is required if there are any.
    pub(crate) bindings: Vec<(String, String)>,
    /// Seconds in `Retry-After` for authorizations and orders.
    pub(crate) retry_after: (u32, u32),
    /// Orders on one page of an account's list.
    pub(crate) orders_per_page: u32,
    /// Roots beside the first, up to each of which it offers a chain.
    pub(crate) alternate_roots: u8,
    /// A DNS server that it asks instead of its own, at 127.0.0.1.
    pub(crate) dns_port: Option<u16>,
    /// Whether it looks for no proof.
    pub(crate) always_valid: bool,
}

impl Settings {
    /// A Pebble that looks for proofs on these two ports and is otherwise friendly.
    pub(crate) fn new(http_port: u16, tls_port: u16) -> Self {
        Self {
            http_port,
            tls_port,
            nonce_reject: 0,
            authz_reuse: 0,
            profiles: vec![("default".to_owned(), 90 * 24 * 3600)],
            blocked: Vec::new(),
            bindings: Vec::new(),
            retry_after: (1, 1),
            orders_per_page: 3,
            alternate_roots: 0,
            dns_port: None,
            always_valid: false,
        }
    }
}

/// A running Pebble; both of its processes end when it is dropped.
#[derive(Debug)]
pub(crate) struct Pebble {
    settings: Settings,
    dir: tempfile::TempDir,
    ports: Ports,
    children: Vec<Child>,
    output: Arc<Mutex<String>>,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    directory: u16,
    management: u16,
    dns: u16,
    dns_management: u16,
}

impl Ports {
    /// Ports that are free now. Somebody may take one before Pebble does: then it is tried again.
    fn free() -> Self {
        let held: Vec<TcpListener> =
            (0..4).map(|_| TcpListener::bind(("127.0.0.1", 0)).expect("a free port")).collect();
        let port = |index: usize| held[index].local_addr().expect("a bound port").port();
        Self { directory: port(0), management: port(1), dns: port(2), dns_management: port(3) }
    }
}

impl Pebble {
    /// Starts one and waits until its directory answers.
    pub(crate) fn start(settings: Settings) -> Self {
        let mut said = String::new();
        for _ in 0..5 {
            let dir = tempfile::tempdir().expect("a temporary directory");
            make_certificates(dir.path());
            let mut pebble = Self {
                settings: settings.clone(),
                dir,
                ports: Ports::free(),
                children: Vec::new(),
                output: Arc::default(),
            };
            if pebble.spawn() {
                return pebble;
            }
            said = pebble.output();
        }
        panic!("pebble does not start:\n{said}");
    }

    /// Ends it. The directory does not answer any more.
    pub(crate) fn stop(&mut self) {
        for mut child in self.children.drain(..) {
            // It may have ended by itself.
            let _ignored = child.kill();
            let _status = child.wait();
        }
    }

    /// Starts it again on the same ports. It has forgotten accounts, orders and its own keys.
    pub(crate) fn restart(&mut self) {
        self.stop();
        for _ in 0..5 {
            if self.spawn() {
                return;
            }
        }
        panic!("pebble does not start again:\n{}", self.output());
    }

    fn spawn(&mut self) -> bool {
        let ports = self.ports;
        let local = |port: u16| format!("127.0.0.1:{port}");
        let config = self.dir.path().join("pebble.json");
        std::fs::write(&config, self.config()).expect("a written configuration");
        let mut dns = Command::new(binary("pebble-challtestsrv"));
        dns.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""])
            .args(["-dnsserver", &local(ports.dns), "-management", &local(ports.dns_management)])
            .args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]);
        let mut acme = Command::new(binary("pebble"));
        let asked = self.settings.dns_port.unwrap_or(ports.dns);
        acme.arg("-config").arg(&config).args(["-dnsserver", &local(asked)]).envs([
            ("PEBBLE_VA_NOSLEEP", "1".to_owned()),
            ("PEBBLE_VA_ALWAYS_VALID", u8::from(self.settings.always_valid).to_string()),
            ("PEBBLE_WFE_NONCEREJECT", self.settings.nonce_reject.to_string()),
            ("PEBBLE_AUTHZREUSE", self.settings.authz_reuse.to_string()),
            ("PEBBLE_ALTERNATE_ROOTS", self.settings.alternate_roots.to_string()),
            ("PEBBLE_WFE_ORDERS_PER_PAGE", self.settings.orders_per_page.to_string()),
        ]);
        self.run(dns);
        self.run(acme);
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            if self.children.iter_mut().any(|child| !matches!(child.try_wait(), Ok(None))) {
                break;
            }
            if TcpStream::connect(("127.0.0.1", ports.dns_management)).is_ok()
                && self.get(ports.directory, "/dir").is_some()
                && self.get(ports.management, "/roots/0").is_some()
            {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.stop();
        false
    }

    fn run(&mut self, mut command: Command) {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("pebble is an executable");
        let streams: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("a pipe")),
            Box::new(child.stderr.take().expect("a pipe")),
        ];
        for stream in streams {
            let output = Arc::clone(&self.output);
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let mut output = output.lock().expect("nobody panics while holding it");
                    let counted = ["Issued certificate serial ", "Added order "];
                    let counted = counted.iter().any(|what| line.contains(what));
                    if counted || output.len() < 4 << 20 {
                        output.push_str(&line);
                        output.push('\n');
                    }
                }
            });
        }
        self.children.push(child);
    }

    fn config(&self) -> String {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let settings = &self.settings;
        let profiles: serde_json::Map<String, serde_json::Value> = settings
            .profiles
            .iter()
            .map(|(name, life)| {
                let profile = serde_json::json!({"description": name, "validityPeriod": life});
                (name.clone(), profile)
            })
            .collect();
        let keys: serde_json::Map<String, serde_json::Value> =
            settings.bindings.iter().map(|(kid, key)| (kid.clone(), key.clone().into())).collect();
        serde_json::json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.ports.directory),
            "managementListenAddress": format!("127.0.0.1:{}", self.ports.management),
            "certificate": path("server.pem"),
            "privateKey": path("server.key"),
            "httpPort": settings.http_port,
            "tlsPort": settings.tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": !settings.bindings.is_empty(),
            "externalAccountMACKeys": keys,
            "domainBlocklist": settings.blocked,
            "retryAfter": {"authz": settings.retry_after.0, "order": settings.retry_after.1},
            "keyAlgorithm": "ecdsa",
            "profiles": profiles,
        }})
        .to_string()
    }

    /// URL of the directory.
    pub(crate) fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.ports.directory)
    }

    /// PEM file with the root that vouches for the directory (not the one that issues).
    pub(crate) fn ca_root(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The root of the certificates it issues; another one after a restart. PEM.
    pub(crate) fn root(&self) -> String {
        self.get(self.ports.management, "/roots/0").expect("pebble shows its root")
    }

    /// Another of its roots, up to which it offers a chain as well. PEM.
    pub(crate) fn alternate_root(&self, number: u8) -> String {
        let path = format!("/roots/{number}");
        self.get(self.ports.management, &path).expect("pebble shows its roots")
    }

    /// The intermediate of the certificates it issues. PEM.
    pub(crate) fn intermediate(&self) -> String {
        self.get(self.ports.management, "/intermediates/0").expect("pebble shows its intermediate")
    }

    /// Whether a certificate it issued is valid or revoked, and why, by its serial number.
    pub(crate) fn standing(&self, serial: &str) -> Option<serde_json::Value> {
        let path = format!("/cert-status-by-serial/{serial}");
        serde_json::from_str(&self.get(self.ports.management, &path)?).ok()
    }

    /// Makes it answer `answer` when asked for the renewal information of the PEM leaf.
    pub(crate) fn set_renewal_info(&self, leaf: &str, answer: &str) {
        let body = serde_json::json!({"certificate": leaf, "ariResponse": answer}).to_string();
        self.exchange(self.ports.management, "POST", "/set-renewal-info/", &body)
            .expect("pebble takes renewal information");
    }

    /// Everything both processes have written so far, over restarts.
    pub(crate) fn output(&self) -> String {
        self.output.lock().expect("nobody panics while holding it").clone()
    }

    fn count(&self, what: &str) -> usize {
        self.output().matches(what).count()
    }

    /// Orders opened so far.
    pub(crate) fn orders(&self) -> usize {
        self.count("Added order ")
    }

    /// Certificates issued so far.
    pub(crate) fn certificates(&self) -> usize {
        self.count("Issued certificate serial ")
    }

    /// Accounts opened so far.
    pub(crate) fn accounts(&self) -> usize {
        self.count(" accounts in memory")
    }

    fn get(&self, port: u16, path: &str) -> Option<String> {
        self.exchange(port, "GET", path, "")
    }

    /// The body of a 200 from one of Pebble's ports.
    fn exchange(&self, port: u16, method: &str, path: &str, body: &str) -> Option<String> {
        let answer = self.talk(port, &format!("{method} {path}"), "", body.as_bytes())?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        (head.split(' ').nth(1)? == "200").then(|| body.to_owned())
    }

    /// One request to the ACME port, with further header lines; the answer as it comes.
    pub(crate) fn ask(&self, request: &str, headers: &str, body: &[u8]) -> Option<String> {
        self.talk(self.ports.directory, request, headers, body)
    }

    fn talk(&self, port: u16, request: &str, headers: &str, body: &[u8]) -> Option<String> {
        let head = format!(
            "{request} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: kit\r\n{headers}\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.send(port, &[head.as_bytes(), body].concat())
    }

    /// Sends a whole request to the ACME port as it is; it has to be one of HTTP/1.0.
    pub(crate) fn forward(&self, request: &[u8]) -> Option<String> {
        self.send(self.ports.directory, request)
    }

    fn send(&self, port: u16, request: &[u8]) -> Option<String> {
        let mut roots = rustls::RootCertStore::empty();
        for root in keyward::cert::chain::Chain::from_pem(&std::fs::read(self.ca_root()).ok()?)
            .expect("the kit's own root")
            .to_rustls()
        {
            roots.add(root).expect("the kit's own root");
        }
        let config = rustls::ClientConfig::builder_with_provider(keyward::base::tls::provider())
            .with_safe_default_protocol_versions()
            .expect("default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "127.0.0.1".try_into().expect("an address");
        let tls = rustls::ClientConnection::new(Arc::new(config), name).ok()?;
        let socket = TcpStream::connect(("127.0.0.1", port)).ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let mut stream = rustls::StreamOwned::new(tls, socket);
        stream.write_all(request).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A root and a certificate for 127.0.0.1, for Pebble's own listeners.
pub(crate) fn make_certificates(dir: &Path) {
    use rcgen::BasicConstraints;
    use rcgen::CertificateParams;
    use rcgen::CertifiedIssuer;
    use rcgen::IsCa;
    use rcgen::KeyPair;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a root");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])
        .expect("two names");
    params.use_authority_key_identifier_extension = true;
    params.distinguished_name.push(rcgen::DnType::CommonName, "pebble's listener");
    let leaf = params.signed_by(&key, &ca).expect("a certificate");
    for (name, text) in
        [("ca.pem", ca.pem()), ("server.pem", leaf.pem()), ("server.key", key.serialize_pem())]
    {
        std::fs::write(dir.join(name), text).expect("a written file");
    }
}

/// Finds a program where `scripts/install-pebble` finds or puts it.
pub(crate) fn binary(name: &str) -> PathBuf {
    let mut places: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    let go = Command::new("go").args(["env", "GOPATH"]).output();
    if let Ok(output) = go {
        let text = String::from_utf8_lossy(&output.stdout);
        places.push(Path::new(text.trim()).join("bin"));
    }
    if let Some(home) = std::env::var_os("HOME") {
        places.push(Path::new(&home).join("go/bin"));
    }
    places.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools"));
    places
        .into_iter()
        .map(|place| place.join(name))
        .find(|path| path.is_absolute() && path.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed: run scripts/install-pebble"))
}
