//! What most scenes need: a Pebble, an origin, and a keyward between them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::daemon::Keyward;
use crate::daemon::free_port;
use crate::load::Target;
use crate::origin::Origin;
use crate::pebble::Pebble;
use crate::pebble::Settings;

/// A Pebble, an origin, and a keyward that is configured for one site, not started yet.
pub(crate) struct Scene {
    pub(crate) keyward: Keyward,
    pub(crate) pebble: Pebble,
    pub(crate) origin: Origin,
    name: String,
}

impl Scene {
    /// The site `name` with `www.` before it, proven by whichever challenge keyward prefers.
    pub(crate) fn new(name: &str) -> Self {
        Self::custom(name, "", |_| {})
    }

    /// The same with more lines for `[acme]`, and a Pebble as `adapt` wants it.
    pub(crate) fn custom(name: &str, acme: &str, adapt: impl FnOnce(&mut Settings)) -> Self {
        let (https, http) = (free_port(), free_port());
        let mut settings = Settings::new(http, https);
        adapt(&mut settings);
        let pebble = Pebble::start(settings);
        let origin = Origin::start();
        let mut keyward = Keyward::on_ports(https, http, "", "");
        keyward.with_env("RUST_BACKTRACE", "1");
        let scene = Self { keyward, pebble, origin, name: name.to_owned() };
        scene.configure_with(acme, &scene.site(name));
        scene
    }

    /// A `[[site]]` table for `name` and `www.name` in front of the scene's origin.
    pub(crate) fn site(&self, name: &str) -> String {
        let origin = self.origin.address;
        format!("[[site]]\nnames = [\"{name}\", \"www.{name}\"]\norigin = \"http://{origin}\"\n")
    }

    /// Writes the configuration anew with these sites.
    pub(crate) fn configure(&self, sites: &str) {
        self.configure_with("", sites);
    }

    /// The same with more lines for `[acme]`.
    pub(crate) fn configure_with(&self, more: &str, sites: &str) {
        let acme = format!(
            "directory = \"{}\"\nca_root = \"{}\"\ncontact = [\"mailto:ops@example.org\"]\n\
             accept_terms = true\n{more}",
            self.pebble.directory(),
            self.pebble.ca_root().display()
        );
        self.keyward.configure(&acme, sites);
    }

    /// Starts keyward and waits until the site is issued.
    pub(crate) fn issued(name: &str) -> Self {
        let mut scene = Self::new(name);
        scene.keyward.start();
        scene.keyward.wait_issued(name);
        scene
    }

    /// A file with the root of the certificates that Pebble issues.
    pub(crate) fn root(&self) -> PathBuf {
        let path = self.keyward.dir.path().join("issuing-root.pem");
        std::fs::write(&path, self.pebble.root()).unwrap();
        path
    }

    /// What a load asks of the site.
    pub(crate) fn target(&self, h2: bool) -> Target {
        let root = keyward::cert::chain::Chain::from_pem(self.pebble.root().as_bytes()).unwrap();
        Target {
            address: SocketAddr::from(([127, 0, 0, 1], self.keyward.https)),
            name: self.name.clone(),
            path: "/bytes/2000".to_owned(),
            root: root.to_rustls().remove(0),
            h2,
            per_connection: 7,
        }
    }

    /// Renews the site and waits until another serial number is installed; gives it.
    pub(crate) fn renew(&self) -> String {
        let serial = |view: &serde_json::Value| {
            view["installed"]["serial"].as_str().unwrap_or_default().to_owned()
        };
        let before = serial(&self.keyward.wait_issued(&self.name));
        self.keyward.cli(&["renew", &self.name]).ok();
        crate::daemon::eventually("a renewal is installed", Duration::from_secs(60), || {
            let after = serial(&self.keyward.wait_issued(&self.name));
            (after != before).then_some(after)
        })
    }
}

/// A runtime for loads.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
