//! A name server of one's own: BIND on a free port, with zones that take updates signed with TSIG.
//! Included by tests through `#[path]`.

#![allow(dead_code, reason = "each test that includes the kit uses a part of it")]
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "tests wait for real processes on real time, and panic when something is amiss"
)]

use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

/// Secrets in base64, as `tsig-keygen` would make them: one for each zone, called as the zone.
const SECRET: &str = "c2VjcmV0IG9mIGEgem9uZSBpbiBhIHRlc3QsIDMyIGI=";

/// A zone.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    /// Its name.
    pub(crate) name: &'static str,
    /// Further records, as in a file.
    pub(crate) records: String,
}

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Bind {
    dir: tempfile::TempDir,
    /// Where it listens, at 127.0.0.1.
    pub(crate) port: u16,
    child: Child,
}

impl Bind {
    /// Starts one for `zones` and waits until it answers.
    pub(crate) fn start(port: u16, zones: &[Zone]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let place = dir.path().display();
        let mut text = format!(
            "options {{ directory \"{place}\"; listen-on port {port} {{ 127.0.0.1; }}; \
             listen-on-v6 {{ none; }}; pid-file none; session-keyfile none; recursion yes; querylog yes; \
             allow-recursion {{ 127.0.0.1; }}; \
             dnssec-validation no; notify no; allow-transfer {{ none; }}; }};\ncontrols {{ }};\n"
        );
        for zone in zones {
            let (name, key) = (zone.name, zone.name);
            text.push_str(&format!(
                "key \"{key}\" {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\n\
                 zone \"{name}\" {{ type primary; file \"{name}.zone\"; \
                 allow-update {{ key \"{key}\"; }}; }};\n"
            ));
            let file = format!(
                "$TTL 60\n@ SOA ns.{name}. ops.{name}. 1 60 60 3600 1\n@ NS ns.{name}.\n\
                 ns A 127.0.0.1\n{}\n",
                zone.records
            );
            std::fs::write(dir.path().join(format!("{name}.zone")), file).expect("a written zone");
            // For `nsupdate -k` and for keyward.
            let key =
                format!("key \"{name}\" {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\n");
            for (file, text) in [(format!("{name}.key"), key.as_str()), ("secret".into(), SECRET)] {
                let path = dir.path().join(file);
                std::fs::write(&path, text).expect("a written key");
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
                std::fs::set_permissions(&path, mode).expect("a mode");
            }
        }
        std::fs::write(dir.path().join("named.conf"), text).expect("a written configuration");
        let log = std::fs::File::create(dir.path().join("log")).expect("a log");
        let child = Command::new("named")
            .args(["-f", "-n", "1", "-c"])
            .arg(dir.path().join("named.conf"))
            .arg("-L")
            .arg(dir.path().join("named.log"))
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("named is installed (Debian's bind9)");
        let mut bind = Self { dir, port, child };
        let first = zones.first().expect("a zone").name;
        let until = Instant::now() + Duration::from_secs(60);
        while bind.ask("SOA", first).is_empty() {
            let ended = bind.child.try_wait().expect("a child");
            assert!(ended.is_none() && Instant::now() < until, "named: {ended:?}\n{}", bind.log());
            std::thread::sleep(Duration::from_millis(100));
        }
        bind
    }

    /// What it says about `name`, a line for each record.
    pub(crate) fn ask(&self, kind: &str, name: &str) -> Vec<String> {
        let port = self.port.to_string();
        let output = Command::new("dig")
            .args(["@127.0.0.1", "-p", &port, "+short", "+norecurse", "+tries=1", "+time=5"])
            .args([name, kind])
            .output()
            .expect("dig is installed (Debian's bind9-dnsutils)");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().filter(|line| !line.starts_with(';')).map(str::to_owned).collect()
    }

    /// Changes `zone` as `nsupdate` says.
    pub(crate) fn update(&self, zone: &str, script: &str) {
        use std::io::Write as _;
        let mut child = Command::new("nsupdate")
            .arg("-k")
            .arg(self.key_file(zone))
            .stdin(Stdio::piped())
            .spawn()
            .expect("nsupdate is installed (Debian's bind9-dnsutils)");
        let text = format!("server 127.0.0.1 {}\nzone {zone}\n{script}\nsend\n", self.port);
        child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
        let ended = child.wait().expect("a child");
        assert!(ended.success(), "{script}: {ended}\n{}", self.log());
    }

    /// Its log: each update stands there.
    pub(crate) fn log(&self) -> String {
        let read = |name| std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        read("log") + &read("named.log")
    }

    /// How often it was asked for anything at, or below, `name`.
    pub(crate) fn asked(&self, name: &str) -> usize {
        let at = |line: &&str| line.contains(" query: ") && line.contains(&format!("{name} IN"));
        self.log().lines().filter(at).count()
    }

    /// A file with the secret of every zone, as keyward reads it.
    pub(crate) fn secret(&self) -> PathBuf {
        self.dir.path().join("secret")
    }

    /// The secret itself.
    pub(crate) const fn secret_text() -> &'static str {
        SECRET
    }

    /// A file with the key of a zone, as nsupdate reads it.
    pub(crate) fn key_file(&self, zone: &str) -> PathBuf {
        self.dir.path().join(format!("{zone}.key"))
    }

    /// A `[[dns]]` table for an account that may change `zone`.
    pub(crate) fn account(&self, zone: &str) -> String {
        let (port, secret) = (self.port, self.secret().display().to_string());
        format!(
            "[[dns]]\nname = \"{zone}\"\nprovider = \"rfc2136\"\nzones = [\"{zone}\"]\n\
             servers = [\"127.0.0.1:{port}\"]\n\
             with = {{ server = \"127.0.0.1:{port}\", key_name = \"{zone}\", key_file = \"{secret}\" }}\n"
        )
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ignored = self.child.kill();
        let _status = self.child.wait();
    }
}
