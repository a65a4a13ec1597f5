//! Real servers of Debian's packages, each an ordinary process with a configuration and ports of its
//! own. Included by tests through `#[path]`.
//!
//! | server | reads its certificate again when |
//! |---|---|
//! | nginx, Postfix, Dovecot, PostgreSQL, Mosquitto, Prosody | it gets a SIGHUP |
//! | HAProxy | its master gets a SIGUSR2 |
//! | MariaDB, Redis | a client tells it so |
//! | slapd | it is started again |
#![allow(dead_code, reason = "each test that includes the kit uses a part of it")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests wait for real processes on real time, and panic when something is amiss"
)]

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Gid;
use nix::unistd::Pid;
use nix::unistd::Uid;
use nix::unistd::User;

use crate::daemon::free_port;

/// However busy the machine is.
const AMPLE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Nginx,
    Haproxy,
    /// Only for root.
    Postfix,
    /// Only for root.
    Dovecot,
    Postgres,
    Slapd,
    Mariadb,
    Redis,
    Mosquitto,
    Prosody,
}

/// Where a server has its certificate from.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    /// Both in one, the key last.
    pub(crate) both: PathBuf,
}

impl Files {
    pub(crate) fn below(dir: &Path) -> Self {
        Self {
            chain: dir.join("fullchain.pem"),
            key: dir.join("privkey.pem"),
            both: dir.join("combined.pem"),
        }
    }
}

/// A certificate, and its key, in PEM.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) chain: String,
    pub(crate) key: String,
    pub(crate) der: Vec<u8>,
}

impl Pair {
    /// A new one, of nobody.
    pub(crate) fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let mut serial = [0_u8; 12];
        fastrand::fill(&mut serial);
        // Positive, and without a zero in front that others leave out.
        serial[0] = 0x41;
        params.serial_number = Some(serial.to_vec().into());
        let leaf = params.self_signed(&key).unwrap();
        Self { chain: leaf.pem(), key: key.serialize_pem(), der: leaf.der().to_vec() }
    }

    /// Its serial number as openssl writes it.
    pub(crate) fn serial(&self) -> String {
        let (_, leaf) = x509_parser::parse_x509_certificate(&self.der).unwrap();
        leaf.raw_serial().iter().map(|octet| format!("{octet:02X}")).collect()
    }

    /// Writes it where `files` says, the key for the server that runs as `user` and its like.
    pub(crate) fn put(&self, files: &Files, user: Option<&str>) {
        fs::write(&files.chain, &self.chain).unwrap();
        let group = user.filter(|_| Uid::effective().is_root()).map(|user| {
            User::from_name(user).unwrap().unwrap_or_else(|| panic!("no user {user}")).gid
        });
        let mode = if group.is_some() { 0o640 } else { 0o600 };
        let both = self.chain.clone() + &self.key;
        for (path, text) in [(&files.key, &self.key), (&files.both, &both)] {
            fs::write(path, text).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            nix::unistd::chown(path, None, group.or_else(|| Some(Gid::effective()))).unwrap();
        }
    }
}

/// A running server; dropped, it ends.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) files: Files,
    /// In the order of [`Kind::places`].
    pub(crate) ports: Vec<u16>,
    child: Option<Child>,
}

impl Kind {
    /// How its ports are looked at, each with the word of openssl where TLS is asked for.
    pub(crate) const fn places(self) -> &'static [(&'static str, Option<&'static str>)] {
        match self {
            Self::Nginx | Self::Haproxy => &[("https", None)],
            Self::Postfix => &[("smtp", Some("smtp")), ("smtps", None)],
            Self::Dovecot => {
                &[("imap", Some("imap")), ("imaps", None), ("pop3", Some("pop3")), ("pop3s", None)]
            }
            Self::Postgres => &[("postgres", Some("postgres"))],
            Self::Slapd => &[("ldap", Some("ldap")), ("ldaps", None)],
            Self::Mariadb => &[("mysql", Some("mysql"))],
            Self::Redis | Self::Mosquitto => &[("tls", None)],
            Self::Prosody => &[("xmpp", Some("xmpp"))],
        }
    }

    /// As whom it reads its key, if root starts it and it is not root that reads.
    pub(crate) const fn user(self) -> Option<&'static str> {
        match self {
            Self::Postgres => Some("postgres"),
            Self::Mariadb => Some("mysql"),
            Self::Mosquitto => Some("mosquitto"),
            _ => None,
        }
    }

    /// The configurations, by the names of their files.
    const fn texts(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Nginx => &[("nginx.conf", include_str!("servers/nginx.conf"))],
            Self::Haproxy => &[("haproxy.cfg", include_str!("servers/haproxy.cfg"))],
            Self::Postfix => &[
                ("main.cf", include_str!("servers/main.cf")),
                ("master.cf", include_str!("servers/master.cf")),
            ],
            Self::Dovecot => &[("dovecot.conf", include_str!("servers/dovecot.conf"))],
            Self::Slapd => &[("slapd.conf", include_str!("servers/slapd.conf"))],
            Self::Mosquitto => &[("mosquitto.conf", include_str!("servers/mosquitto.conf"))],
            Self::Prosody => &[("prosody.cfg.lua", include_str!("servers/prosody.cfg.lua"))],
            Self::Postgres | Self::Mariadb | Self::Redis => &[],
        }
    }
}

impl Server {
    /// Starts one that shows `pair`, from files of its own.
    pub(crate) fn start(kind: Kind, pair: &Pair) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::below(dir.path());
        pair.put(&files, kind.user());
        Self::on(kind, dir, files)
    }

    /// Starts one with the certificate in `files`, which are there.
    pub(crate) fn on(kind: Kind, dir: tempfile::TempDir, files: Files) -> Self {
        // Servers that are another user look for their things in it.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let ports: Vec<u16> = kind.places().iter().map(|_| free_port()).collect();
        let mut server = Self { kind, dir, files, ports, child: None };
        for (name, text) in kind.texts() {
            let mut text = text.to_string();
            for (word, port) in ["PORT", "SECURE", "THIRD", "FOURTH"].iter().zip(&server.ports) {
                text = text.replace(word, &port.to_string());
            }
            let Files { chain, key, both } = &server.files;
            for (word, path) in
                [("DIR", server.dir.path()), ("CHAIN", chain), ("KEY", key), ("BOTH", both)]
            {
                text = text.replace(word, path.to_str().unwrap());
            }
            fs::write(server.path(name), text).unwrap();
        }
        server.prepare();
        server.launch();
        server
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A place of it as keyward has it: its first one, second one, ...
    pub(crate) fn place(&self, number: usize) -> String {
        format!("{}://127.0.0.1:{}", self.kind.places()[number].0, self.ports[number])
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.as_ref().unwrap().id()).unwrap()
    }

    /// Everything that it said.
    pub(crate) fn log(&self) -> String {
        let read = |name| fs::read_to_string(self.path(name)).unwrap_or_default();
        read("out") + &read("log")
    }

    /// What has to be there before it is started for the first time.
    fn prepare(&self) {
        match self.kind {
            Kind::Postfix => {
                for name in ["spool", "data"] {
                    fs::create_dir(self.path(name)).unwrap();
                }
                let owner = User::from_name("postfix").unwrap().unwrap();
                nix::unistd::chown(&self.path("data"), Some(owner.uid), None).unwrap();
                done(Command::new("postfix").arg("-c").arg(self.dir.path()).arg("check"));
            }
            Kind::Postgres => {
                let data = self.path("data");
                fs::create_dir(&data).unwrap();
                give(&data, "postgres");
                let mut command = self.as_user(&postgres("initdb"));
                done(command.arg("-D").arg(data).args(["-A", "trust", "--no-sync"]));
            }
            Kind::Mariadb => {
                let data = self.path("data");
                fs::create_dir(&data).unwrap();
                give(&data, "mysql");
                let mut command = Command::new("mariadb-install-db");
                command.args(["--no-defaults", "--skip-test-db"]);
                command.arg("--auth-root-authentication-method=normal");
                command.arg(format!("--datadir={}", data.display()));
                if Uid::effective().is_root() {
                    command.arg("--user=mysql");
                }
                let scratch = self.path("tmp");
                fs::create_dir(&scratch).unwrap();
                give(&scratch, "mysql");
                done(command.env("TMPDIR", scratch));
            }
            Kind::Prosody => fs::create_dir(self.path("data")).unwrap(),
            _ => {}
        }
    }

    /// Starts it, and waits until it accepts connections.
    fn launch(&mut self) {
        let out = fs::File::create(self.path("out")).unwrap();
        let mut command = self.command();
        command
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            // MariaDB takes what it finds there for its own, and another one's away.
            .env(
                "TMPDIR",
                if self.kind == Kind::Mariadb { self.path("tmp") } else { "/tmp".into() },
            )
            // So that those whom it starts can be ended with it.
            .process_group(0);
        let name = command.get_program().to_owned();
        let child = command.spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("{}: {error}", name.display())));
        fs::write(self.path("main.pid"), self.pid().to_string()).unwrap();
        let until = Instant::now() + AMPLE;
        for port in self.ports.clone() {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                let ended = self.child.as_mut().unwrap().try_wait().unwrap();
                let (late, log) = (Instant::now() > until, self.log());
                assert!(ended.is_none() && !late, "{:?}: {ended:?}\n{log}", self.kind);
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    fn command(&self) -> Command {
        let dir = self.dir.path().display();
        let (chain, key) = (self.files.chain.display(), self.files.key.display());
        let port = self.ports[0];
        let (program, arguments) = match self.kind {
            Kind::Nginx => ("nginx", format!("-p {dir} -e stderr -c {dir}/nginx.conf")),
            // With a master, which is what can be told to read everything again.
            Kind::Haproxy => ("haproxy", format!("-W -db -f {dir}/haproxy.cfg")),
            Kind::Postfix => ("/usr/lib/postfix/sbin/master", format!("-d -c {dir}")),
            Kind::Dovecot => ("dovecot", format!("-F -c {dir}/dovecot.conf")),
            Kind::Slapd => {
                let at = format!("ldap://127.0.0.1:{port} ldaps://127.0.0.1:{}", self.ports[1]);
                let mut command = Command::new("slapd");
                command.args(["-d", "0", "-f"]).arg(self.path("slapd.conf")).args(["-h", &at]);
                return command;
            }
            Kind::Postgres => {
                let mut command = self.as_user(&postgres("postgres"));
                command.arg("-D").arg(self.path("data")).args(["-h", "127.0.0.1", "-k", ""]);
                command.args(["-p", &port.to_string(), "-c", "ssl=on"]);
                command.args(["-c", &format!("ssl_cert_file={chain}")]);
                command.args(["-c", &format!("ssl_key_file={key}")]);
                return command;
            }
            Kind::Mariadb => {
                let user = if Uid::effective().is_root() { "--user=mysql " } else { "" };
                let text = format!(
                    "--no-defaults {user}--datadir={dir}/data --bind-address=127.0.0.1 \
                     --port={port} --socket={dir}/data/s --ssl-cert={chain} --ssl-key={key} \
                     --innodb-buffer-pool-size=8M --pid-file={dir}/data/pid"
                );
                ("mariadbd", text)
            }
            Kind::Redis => {
                let text = format!(
                    "--port 0 --tls-port {port} --bind 127.0.0.1 --tls-auth-clients no \
                     --tls-cert-file {chain} --tls-key-file {key} --tls-ca-cert-file {chain} \
                     --unixsocket {dir}/s"
                );
                ("redis-server", text)
            }
            Kind::Mosquitto => ("mosquitto", format!("-c {dir}/mosquitto.conf")),
            Kind::Prosody => ("prosody", format!("-F --config {dir}/prosody.cfg.lua")),
        };
        let mut command = Command::new(program);
        command.args(arguments.split_whitespace());
        command
    }

    /// `program`, by the user of this server where root starts it: some refuse to be root.
    fn as_user(&self, program: &Path) -> Command {
        match self.kind.user().filter(|_| Uid::effective().is_root()) {
            Some(user) => {
                let (uid, gid) = (format!("--reuid={user}"), format!("--regid={user}"));
                let mut command = Command::new("setpriv");
                command.args([&uid, &gid, "--clear-groups"]).arg(program);
                command
            }
            None => Command::new(program),
        }
    }

    /// Has it read its certificate again.
    pub(crate) fn reload(&mut self) {
        match self.kind {
            Kind::Haproxy => self.signal(Signal::SIGUSR2),
            Kind::Mariadb => {
                let socket = format!("--socket={}", self.path("data/s").display());
                let mut command = Command::new("mariadb-admin");
                done(command.args(["--no-defaults", "--user=root", &socket, "flush-ssl"]));
            }
            Kind::Redis => {
                let mut command = Command::new("redis-cli");
                command.arg("-e").arg("-s").arg(self.path("s")).args(["config", "set"]);
                command.arg("tls-cert-file").arg(&self.files.chain);
                done(command.arg("tls-key-file").arg(&self.files.key));
            }
            Kind::Slapd => {
                self.end();
                self.launch();
            }
            _ => self.signal(Signal::SIGHUP),
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Ends it with those whom it started.
    fn end(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        // The database waits for its clients with the first signal, and for nobody with this one.
        let polite = if self.kind == Kind::Postgres { Signal::SIGINT } else { Signal::SIGTERM };
        let _gone = kill(pid, polite);
        let until = Instant::now() + Duration::from_secs(20);
        while child.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        // Its group is its own: see `launch`. It may be gone with it.
        let _gone = nix::sys::signal::killpg(pid, Signal::SIGKILL);
        let _reaped = child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// A program of PostgreSQL's server, which Debian has in a directory for each version.
fn postgres(program: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("Debian's postgresql is installed");
    let programs = versions.map(|version| version.unwrap().path().join("bin").join(program));
    programs.filter(|path| path.exists()).max().expect("Debian's postgresql is installed")
}

fn give(path: &Path, user: &str) {
    if Uid::effective().is_root() {
        let user = User::from_name(user).unwrap().unwrap();
        nix::unistd::chown(path, Some(user.uid), Some(user.gid)).unwrap();
    }
}

fn done(command: &mut Command) {
    let said = command.stdin(Stdio::null()).output();
    let said = said.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(said.status.success(), "{command:?}: {said:?}");
}
