//! A BIND, a Pebble that asks it, an origin, and a keyward that onboards names.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

use crate::bind::Bind;
use crate::bind::Zone;
use crate::daemon::Keyward;
use crate::daemon::Said;
use crate::daemon::free_port;
use crate::daemon::run;
use crate::origin::Origin;
use crate::pebble::Pebble;
use crate::pebble::Settings;

/// The name to which others lead.
pub(crate) const TARGET: &str = "edge.host.example";

pub(crate) struct Scene {
    pub(crate) keyward: Keyward,
    pub(crate) pebble: Pebble,
    pub(crate) bind: Bind,
    pub(crate) origin: Origin,
}

impl Scene {
    /// With `more` in `[onboarding]`, and further tables; started.
    pub(crate) fn new(more: &str, tables: &str) -> Self {
        let zone = |name, records: &str| Zone { name, records: records.to_owned() };
        let alias = format!("CNAME {TARGET}.\n");
        let bind = Bind::start(
            free_port(),
            &[
                zone("host.example", "edge A 127.0.0.1\nother A 127.0.0.2\n"),
                zone(
                    "shop.example",
                    &format!(
                        "www {alias}a {alias}b {alias}c {alias}far CNAME near\nnear {alias}\
                         away CNAME other.host.example.\nhere A 127.0.0.1\nthere A 127.0.0.2\n\
                         both A 127.0.0.1\nboth A 127.0.0.2\none CNAME two\ntwo CNAME one\n\
                         *.own {alias}"
                    ),
                ),
                zone("wild.example", &format!("* {alias}")),
            ],
        );
        let (https, http) = (free_port(), free_port());
        let mut settings = Settings::new(http, https);
        settings.dns_port = Some(bind.port);
        let pebble = Pebble::start(settings);
        let origin = Origin::start();
        let acme = format!(
            "directory = \"{}\"\nca_root = \"{}\"\naccept_terms = true",
            pebble.directory(),
            pebble.ca_root().display(),
        );
        let onboarding = format!(
            "[onboarding]\ntarget = \"{TARGET}\"\norigin = \"http://{}\"\n\
             name_servers = [\"127.0.0.1:{}\"]\nhold = \"30s\"\nissuer = \"acme\"\n{more}\n{tables}",
            origin.address, bind.port
        );
        let mut keyward = Keyward::on_ports(https, http, &acme, &onboarding);
        keyward.start();
        Self { keyward, pebble, bind, origin }
    }

    /// A file with the root of the certificates that Pebble issues.
    pub(crate) fn root(&self) -> PathBuf {
        let path = self.keyward.dir.path().join("issuing-root.pem");
        std::fs::write(&path, self.pebble.root()).unwrap();
        path
    }

    /// One visit, verified; what comes back.
    pub(crate) fn visit(&self, name: &str, more: &[&str]) -> Said {
        let patient = ["--max-time", "60"];
        self.keyward.curl(&self.root(), name, "/", &[&patient[..], more].concat())
    }

    /// The first record that comes back for a ClientHello with `name`: 22 is a handshake, 21 an alert.
    pub(crate) fn greet(&self, name: &str) -> u8 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.keyward.https)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(&hello(name)).unwrap();
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
        first[0]
    }

    /// The onboarded names as the list has them.
    pub(crate) fn listed(&self) -> Vec<serde_json::Value> {
        let page = self.keyward.cli(&["onboarded", "--json"]).json();
        page["names"].as_array().unwrap().clone()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.listed().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Changes a zone of the BIND.
    pub(crate) fn update(&self, zone: &str, lines: &str) {
        let script = format!("server 127.0.0.1 {}\nzone {zone}.\n{lines}\nsend\n", self.bind.port);
        let path = self.keyward.dir.path().join("update");
        std::fs::write(&path, script).unwrap();
        let key = self.bind.key_file(zone);
        run(std::process::Command::new("nsupdate").arg("-k").arg(key).arg(path)).ok();
    }
}

/// A ClientHello for `name`.
pub(crate) fn hello(name: &str) -> Vec<u8> {
    let config = rustls::ClientConfig::builder_with_provider(keyward::base::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}
