//! From the CA to what a client is shown: issued and renewed by Pebble, brought to a real server, taken
//! up there, and seen over its protocol; put back where it breaks the server, and put right where
//! somebody else changed it.

use std::time::Duration;

use keyward::config::Probe;
use keyward::deploy::probe::probe;
use rustls_pki_types::ServerName;
use serde_json::Value;

use crate::daemon::{Keyward, eventually, free_port};
use crate::pebble::{Pebble, Settings};
use crate::servers::{Kind, Pair, Server};

const NAME: &str = "mail.example";

/// However busy the machine is.
const AMPLE: Duration = Duration::from_secs(240);

/// A server that shows a certificate of nobody, and a keyward that is to bring it one of Pebble's.
struct Scene {
    // In the order in which they end.
    keyward: Keyward,
    server: Server,
    _pebble: Pebble,
}

impl Scene {
    /// `target` are the lines of the target besides its name, certificates, files and probe.
    fn new(kind: Kind, target: &str) -> Self {
        let server = Server::start(kind, &Pair::new(NAME));
        let (https, http) = (free_port(), free_port());
        let pebble = Pebble::start(Settings::new(http, https));
        let mut keyward = Keyward::on_ports(https, http, "", "");
        let acme = format!(
            "directory = \"{}\"\nca_root = \"{}\"\naccept_terms = true\n",
            pebble.directory(),
            pebble.ca_root().display()
        );
        let place = server.place(0);
        let files = &server.files;
        let target = target
            .replace("CHAIN", files.chain.to_str().unwrap())
            .replace("KEY", files.key.to_str().unwrap())
            .replace("BOTH", files.both.to_str().unwrap())
            .replace("DIR", server.dir.path().to_str().unwrap());
        let tables = format!(
            "[deployment]\nwatch = \"2s\"\n\
             [[target]]\nname = \"it\"\ncertificates = [\"{NAME}\"]\nprobe = \"{place}\"\n{target}\n\
             [[site]]\nnames = [\"{NAME}\"]\norigin = \"http://127.0.0.1:9\"\nexportable = true\n"
        );
        keyward.configure(&acme, &tables);
        keyward.start();
        Self { keyward, server, _pebble: pebble }
    }

    /// The serial number that is shown at the first place of the server.
    fn shown(&self) -> Result<String, String> {
        let place = Probe::parse(&self.server.place(0)).unwrap();
        let name = ServerName::try_from(NAME).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let seen = runtime.block_on(probe(&place, &name, Duration::from_secs(60)));
        seen.map(|seen| seen.serial).map_err(|error| error.to_string())
    }

    /// The serial number that is installed, once it is another than `before`.
    fn installed(&self, before: Option<&str>) -> String {
        eventually("a certificate is installed", AMPLE, || {
            let view = self.keyward.wait_issued(NAME);
            let serial = view["installed"]["serial"].as_str()?.to_owned();
            (before != Some(&serial)).then_some(serial)
        })
    }

    /// The deployment, as it is listed.
    fn deployment(&self) -> Value {
        let all = self.keyward.cli(&["deployments", "--json"]).json();
        let list = all["deployments"].as_array().cloned().unwrap_or_default();
        list.into_iter().find(|one| one["target"] == "it").unwrap_or(Value::Null)
    }

    /// Waits until the deployment is in that state.
    fn wait(&self, state: &str) -> Value {
        let mut last = Value::Null;
        eventually(&format!("it is {state}"), AMPLE, || {
            last = self.deployment();
            (last["state"] == state).then(|| last.clone())
        })
    }

    /// Waits until `serial` is shown.
    fn wait_shown(&self, serial: &str) {
        eventually("it is shown", AMPLE, || (self.shown().as_deref() == Ok(serial)).then_some(()));
    }

    fn events(&self) -> String {
        self.keyward.cli(&["events"]).ok()
    }
}

/// Issued, brought, seen; renewed, brought, seen.
fn renewed(kind: Kind, target: &str) {
    let scene = Scene::new(kind, target);
    let first = scene.installed(None);
    scene.wait_shown(&first);
    scene.wait("verified");
    scene.keyward.cli(&["renew", NAME]).ok();
    let second = scene.installed(Some(&first));
    scene.wait_shown(&second);
    scene.wait("verified");
    assert_ne!(first, second);
}

/// Where the server that gets a SIGHUP has its files, and who is told.
const HUNG_UP: &str = "chain = \"CHAIN\"\nkey = \"KEY\"\nreload = \"signal:HUP:DIR/main.pid\"";

#[test]
fn nginx_shows_what_is_issued_and_what_is_renewed() {
    renewed(Kind::Nginx, &format!("kind = \"nginx\"\n{HUNG_UP}"));
}

#[test]
fn haproxy_shows_what_is_issued_and_what_is_renewed() {
    renewed(Kind::Haproxy, "kind = \"haproxy\"\nsocket = \"DIR/admin.sock\"\nfile = \"BOTH\"");
}

/// It refuses a key that others may read, and runs as nobody who may read that of root.
#[test]
fn postgresql_shows_what_is_issued_and_what_is_renewed() {
    let mut target = format!("kind = \"postgresql\"\n{HUNG_UP}");
    if !nix::unistd::Uid::effective().is_root() {
        target.push_str("\nmode = \"0600\"");
    }
    renewed(Kind::Postgres, &target);
}

#[cfg(feature = "service-tests")]
#[test]
fn postfix_shows_what_is_issued_and_what_is_renewed() {
    renewed(Kind::Postfix, &format!("kind = \"postfix\"\n{HUNG_UP}"));
}

#[cfg(feature = "service-tests")]
#[test]
fn dovecot_shows_what_is_issued_and_what_is_renewed() {
    renewed(Kind::Dovecot, &format!("kind = \"dovecot\"\n{HUNG_UP}"));
}

/// The two files are mistaken for each other in the configuration of keyward: Postfix goes on without
/// TLS when it reads them.
#[cfg(feature = "service-tests")]
#[test]
fn a_server_that_breaks_has_its_former_pair_again() {
    let swapped = "chain = \"KEY\"\nkey = \"CHAIN\"\nreload = \"signal:HUP:DIR/main.pid\"";
    let scene = Scene::new(Kind::Postfix, &format!("kind = \"postfix\"\n{swapped}"));
    let former = std::fs::read_to_string(&scene.server.files.key).unwrap();
    let before = scene.shown().unwrap();
    scene.installed(None);
    let view = scene.wait("rolled-back");
    let reason = view["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("does not begin TLS"), "{view:#}");
    scene.wait_shown(&before);
    assert_eq!(std::fs::read_to_string(&scene.server.files.key).unwrap(), former);
}

/// Somebody puts another certificate in the place of ours.
#[test]
fn drift_is_noticed_and_put_right() {
    let scene = Scene::new(Kind::Nginx, &format!("kind = \"nginx\"\n{HUNG_UP}"));
    let serial = scene.installed(None);
    scene.wait_shown(&serial);
    scene.wait("verified");
    let mut scene = scene;
    Pair::new(NAME).put(&scene.server.files, None);
    scene.server.reload();
    eventually("it is told of", AMPLE, || {
        scene.events().contains("shows another certificate").then_some(())
    });
    scene.wait_shown(&serial);
    scene.wait("verified");
}
