//! A second ACME server, of other people: that of Caddy, which is smallstep's. It knows no renewal
//! information, no profiles and no names for CAA records.

use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use crate::bind::Bind;
use crate::bind::Zone;
use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::scene::Scene;

/// Set where the network is one's own.
const ROLE: &str = "KEYWARD_TEST_SECOND_SERVER";

/// As `doctor::in_a_network_of_its_own`, with 127.0.0.1 as the system's only resolver besides: Caddy
/// cannot be told another.
fn with_a_resolver_of_its_own(test: &str) -> bool {
    if std::env::var_os(ROLE).is_some() {
        return true;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("resolv.conf");
    std::fs::write(&file, "nameserver 127.0.0.1\n").unwrap();
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--map-root-user", "sh", "-c"])
        .arg(
            "mount --bind \"$1\" /etc/resolv.conf && ip link set lo up && shift && \
             exec \"$@\"",
        )
        .arg("sh")
        .arg(&file)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--test-threads=1", "--nocapture", test])
        .env(ROLE, "1")
        .output()
        .expect("unshare is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    let erred = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{erred}");
    false
}

/// A running Caddy; it ends when this is dropped.
struct Caddy {
    dir: tempfile::TempDir,
    child: Child,
}

const HOST: &str = "ca.corp.example";
const PORT: u16 = 9443;

impl Caddy {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().display();
        let text = format!(
            "{{\n admin off\n auto_https disable_redirects\n skip_install_trust\n\
             storage file_system {place}/store\n http_port 9080\n https_port {PORT}\n}}\n\
             https://{HOST}:{PORT} {{\n tls internal\n acme_server\n}}\n"
        );
        std::fs::write(dir.path().join("Caddyfile"), text).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new("caddy")
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(dir.path().join("Caddyfile"))
            .env("HOME", dir.path())
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("caddy is installed (Debian's caddy)");
        let mut caddy = Self { dir, child };
        eventually("its directory answers", Duration::from_secs(60), || {
            let ended = caddy.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}\n{}", caddy.log());
            let asked = Command::new("curl")
                .args(["--silent", "--fail", "--max-time", "5", "--output", "/dev/null"])
                .arg("--cacert")
                .arg(caddy.root())
                .arg(Self::directory())
                .status();
            asked.unwrap().success().then_some(())
        });
        caddy
    }

    fn directory() -> String {
        format!("https://{HOST}:{PORT}/acme/local/directory")
    }

    /// The root of what it issues, its own certificate included.
    fn root(&self) -> PathBuf {
        self.dir.path().join("store/pki/authorities/local/root.crt")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Caddy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ignored = self.child.kill();
        let _status = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of caddy ---\n{}", self.log());
        }
    }
}

#[test]
fn another_server_issues_by_each_challenge_renews_revokes_and_refuses() {
    let test = "second::another_server_issues_by_each_challenge_renews_revokes_and_refuses";
    if !with_a_resolver_of_its_own(test) {
        return;
    }
    let zone = |name, records: &str| Zone { name, records: records.to_owned() };
    let records = "ca A 127.0.0.1\nhttp A 127.0.0.1\ntls A 127.0.0.1\naway A 127.0.0.9\n";
    let above = "corp NS ns.corp.example.\nns.corp A 127.0.0.1\n";
    let bind = Bind::start(53, &[zone("example", above), zone("corp.example", records)]);
    let caddy = Caddy::start();
    let acme = format!(
        "directory = \"{}\"\nca_root = \"{}\"\naccept_terms = true",
        Caddy::directory(),
        caddy.root().display()
    );
    let sites = Scene::site(&["http.corp.example"], "challenge = \"http-01\"")
        + &Scene::site(&["tls.corp.example"], "challenge = \"tls-alpn-01\"")
        + &bind.account("corp.example")
        + &Scene::site(&["*.corp.example"], "")
        + &Scene::site(&["away.corp.example"], "challenge = \"http-01\"");
    let mut keyward = Keyward::on_ports(443, 80, &acme, &sites);
    keyward.start();
    for name in ["http.corp.example", "tls.corp.example", "*.corp.example"] {
        let view = keyward.wait_issued(name);
        let issuer = view["installed"]["issuer"].as_str().unwrap();
        assert!(issuer.contains("Caddy Local Authority"), "{view:#}");
        let host = name.replace('*', "any");
        let more = ["--output", "/dev/null", "--write-out", "%{http_code}"];
        assert_eq!(keyward.curl(&caddy.root(), &host, "/", &more).ok(), "502", "{name}");
    }
    // The order of the name that leads elsewhere fails, and the server's own reason is told.
    let refused = eventually("the refusal is told", Duration::from_secs(600), || {
        let view = keyward.certificate("away.corp.example")?;
        let failure = view["failure"]["detail"].as_str()?.to_owned();
        (view["role"] == "primary").then_some(failure)
    });
    assert!(refused.contains("could not connect to validation target"), "{refused}");

    // A renewal is another certificate; the port shows it.
    let first = serial_of(&keyward, "http.corp.example");
    keyward.cli(&["renew", "http.corp.example", "--wait"]).ok();
    let second = serial_of(&keyward, "http.corp.example");
    assert_ne!(first, second);
    eventually("the port shows it", Duration::from_secs(60), || {
        (second == keyward.served_serial("http.corp.example")?).then_some(())
    });

    // A revocation is taken by the server, after the replacement is there.
    keyward.cli(&["revoke", "tls.corp.example", "--reason", "superseded", "--wait"]).ok();
    let view = keyward.certificate("tls.corp.example").unwrap();
    assert_eq!(view["care"]["revoked"]["reason"], "superseded", "{view:#}");
    assert_ne!(view["care"]["revoked"]["serial"], view["installed"]["serial"], "{view:#}");

    // The account that was opened first is known again after a restart.
    let known = |keyward: &Keyward| {
        let doctor = keyward.cli(&["doctor", "http.corp.example", "--json"]);
        let doctor: serde_json::Value = serde_json::from_str(&doctor.out).unwrap();
        let checks = doctor["checks"].as_array().unwrap().clone();
        let account = checks.into_iter().find(|check| check["what"] == "account");
        account.unwrap()["seen"].clone()
    };
    let account = known(&keyward);
    assert!(account.as_str().unwrap().contains("/acme/local/account/"), "{account}");
    keyward.terminate();
    keyward.start();
    keyward.cli(&["renew", "http.corp.example", "--wait"]).ok();
    assert_ne!(serial_of(&keyward, "http.corp.example"), second);
    assert_eq!(known(&keyward), account);
}

fn serial_of(keyward: &Keyward, name: &str) -> serde_json::Value {
    keyward.certificate(name).unwrap()["installed"]["serial"].clone()
}
