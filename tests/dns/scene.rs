//! A BIND, a Pebble that asks it, and a keyward that is not started yet.

use std::path::PathBuf;
use std::time::Duration;

use crate::bind::Bind;
use crate::bind::Zone;
use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::daemon::free_port;
use crate::pebble::Pebble;
use crate::pebble::Settings;

pub(crate) struct Scene {
    pub(crate) keyward: Keyward,
    pub(crate) pebble: Pebble,
    pub(crate) bind: Bind,
}

impl Scene {
    /// With these zones, each with further records.
    pub(crate) fn new(zones: &[(&'static str, &str)]) -> Self {
        let zones: Vec<Zone> = zones
            .iter()
            .map(|(name, records)| Zone { name, records: (*records).to_owned() })
            .collect();
        let bind = Bind::start(free_port(), &zones);
        let keyward = Keyward::new("", "");
        // Nothing that is proven by these ports can be proven.
        Self::with(bind, keyward, Settings::new(free_port(), free_port()))
    }

    /// In a network of its own: everybody at the ports where others look for them.
    pub(crate) fn in_the_open(zones: &[(&'static str, &str)]) -> Self {
        let zones: Vec<Zone> = zones
            .iter()
            .map(|(name, records)| Zone { name, records: (*records).to_owned() })
            .collect();
        let bind = Bind::start(53, &zones);
        Self::with(bind, Keyward::on_ports(443, 80, "", ""), Settings::new(80, 443))
    }

    fn with(bind: Bind, keyward: Keyward, mut settings: Settings) -> Self {
        settings.dns_port = Some(bind.port);
        Self { keyward, pebble: Pebble::start(settings), bind }
    }

    /// Accounts and sites; whatever `_acme-challenge` leads to is asked of the BIND.
    pub(crate) fn configure(&self, tables: &str) {
        let acme = format!(
            "directory = \"{}\"\nca_root = \"{}\"\naccept_terms = true\n\
             name_servers = [\"127.0.0.1:{}\"]",
            self.pebble.directory(),
            self.pebble.ca_root().display(),
            self.bind.port
        );
        self.keyward.configure(&acme, tables);
    }

    /// A `[[site]]` table.
    pub(crate) fn site(names: &[&str], more: &str) -> String {
        format!("[[site]]\nnames = {names:?}\norigin = \"http://127.0.0.1:9\"\n{more}\n")
    }

    /// Waits until no record is left at `name`.
    pub(crate) fn wait_gone(&self, name: &str) {
        eventually("the record is removed", Duration::from_secs(120), || {
            self.bind.ask("TXT", name).is_empty().then_some(())
        });
    }

    /// A file with the root of the certificates that Pebble issues.
    pub(crate) fn root(&self) -> PathBuf {
        let path = self.keyward.dir.path().join("issuing-root.pem");
        std::fs::write(&path, self.pebble.root()).unwrap();
        path
    }

    /// What the port shows for `name`, verified: the status of a request whose origin is not there.
    pub(crate) fn status(&self, name: &str) -> String {
        let more = ["--output", "/dev/null", "--write-out", "%{http_code}"];
        self.keyward.curl(&self.root(), name, "/", &more).ok()
    }

    /// How often BIND has added a record at `name`.
    pub(crate) fn added(&self, name: &str) -> usize {
        self.bind.log().matches(&format!("adding an RR at '{name}' TXT")).count()
    }
}
