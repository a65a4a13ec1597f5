//! A keyward of one's own: the real binary, a directory of its own, ports of its own.
#![allow(dead_code, unreachable_pub, reason = "each test target uses a part of the kit")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_keyward");

/// A port that nobody listens on, never handed out twice by this process, and below those that the
/// kernel gives to whoever asks for any (from 32768): an origin or a client that comes in between
/// cannot get it by chance. Each process begins elsewhere.
pub fn free_port() -> u16 {
    static HANDED_OUT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..1000 {
        let count = HANDED_OUT.fetch_add(1, Ordering::Relaxed);
        let offset = std::process::id().wrapping_mul(97).wrapping_add(count) % 20_000;
        let port = 10_000 + u16::try_from(offset).unwrap();
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
    panic!("a thousand ports in a row are taken");
}

/// A daemon with its directory. Dropping it ends the process it started.
pub struct Keyward {
    pub dir: tempfile::TempDir,
    pub https: u16,
    pub http: u16,
    child: Option<Child>,
    /// The process that took the place of the child.
    heir: Option<i32>,
    environment: Vec<(String, String)>,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Said {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Standard output, when the command succeeded.
    pub fn ok(self) -> String {
        assert!(self.status.success(), "{self:#?}");
        self.out
    }

    /// Standard output as JSON, when the command succeeded.
    pub fn json(self) -> serde_json::Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }
}

/// However busy the machine is, no command of a test takes as long as this.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Said {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.unwrap_or_else(|error| {
        panic!("{:?} could not be run: {error}", command.get_program());
    });
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let (ended, end) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        // One that waits for what never comes is to be a failed test, and not one without an end.
        if end.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _gone = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    });
    let output = child.wait_with_output().expect("its output can be read");
    drop(ended);
    watch.join().expect("the watch does not panic");
    Said {
        status: output.status,
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Waits until `check` gives something, at most `limit`.
pub fn eventually<T>(what: &str, limit: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(begin.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

impl Keyward {
    /// A directory with a configuration for `sites` (TOML `[[site]]` tables), not started yet.
    ///
    /// `acme` is the text of the `[acme]` table without its header.
    pub fn new(acme: &str, sites: &str) -> Self {
        let keyward = Self {
            dir: tempfile::tempdir().unwrap(),
            https: free_port(),
            http: free_port(),
            child: None,
            heir: None,
            environment: Vec::new(),
        };
        keyward.configure(acme, sites);
        keyward
    }

    /// The same with ports that were chosen before, as a CA that validates needs them.
    pub fn on_ports(https: u16, http: u16, acme: &str, sites: &str) -> Self {
        let mut keyward = Self::new(acme, sites);
        (keyward.https, keyward.http) = (https, http);
        keyward.configure(acme, sites);
        keyward
    }

    /// Writes the configuration.
    pub fn configure(&self, acme: &str, sites: &str) {
        let (https, http, dir) = (self.https, self.http, self.dir.path().display());
        let text = format!(
            r#"
[acme]
{acme}

[listen]
https = ["127.0.0.1:{https}"]
http = ["127.0.0.1:{http}"]

[state]
dir = "{dir}/state"

[admin]
socket = "{dir}/run/admin.sock"

[log]
level = "debug"

{sites}
"#
        );
        // Apart from the state: main may read what lies beside its configuration.
        fs::create_dir_all(self.dir.path().join("etc")).unwrap();
        fs::write(self.config(), text).unwrap();
    }

    /// Puts `to` in the place of `from`, which stands in the configuration.
    pub fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        assert!(text.contains(from), "{from:?} is not in {text}");
        fs::write(self.config(), text.replace(from, to)).unwrap();
    }

    /// Path of the configuration.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("etc/keyward.toml")
    }

    /// Path of the admin socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("run/admin.sock")
    }

    /// Path of the state directory.
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// An environment variable for the next start.
    pub fn with_env(&mut self, name: &str, value: &str) {
        self.environment.retain(|(n, _)| n != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Removes an environment variable for the next start.
    pub fn without_env(&mut self, name: &str) {
        self.environment.retain(|(n, _)| n != name);
    }

    /// Starts the daemon without waiting for it.
    pub fn spawn(&mut self) {
        self.spawn_by(Command::new(BINARY));
    }

    /// The same in a session of its own, that has no terminal.
    pub fn spawn_without_terminal(&mut self) {
        self.spawn_through("setsid", &[]);
    }

    /// The same by a program that becomes it.
    pub fn spawn_through(&mut self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        command.args(arguments).arg(BINARY);
        self.spawn_by(command);
    }

    fn spawn_by(&mut self, mut command: Command) {
        assert!(self.child.is_none(), "already running");
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .unwrap();
        let child = command
            .args(["run", "--config"])
            .arg(self.config())
            .env_remove("NOTIFY_SOCKET")
            .env_remove("JOURNAL_STREAM")
            .envs(self.environment.iter().map(|(n, v)| (n.as_str(), v.as_str())))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// Starts the daemon and waits until its admin socket answers.
    pub fn start(&mut self) {
        self.spawn();
        self.wait_ready();
    }

    /// Waits until the admin socket answers.
    pub fn wait_ready(&mut self) {
        eventually("the admin socket answers", Duration::from_secs(20), || {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                panic!("keyward ended: {status}\n{}", self.plain_log());
            }
            self.cli(&["status", "--json"]).status.success().then_some(())
        });
    }

    /// Has another process take over, and gives what is said about it.
    pub fn upgrade(&mut self) -> serde_json::Value {
        let said = self.cli(&["upgrade", "--json"]).json();
        self.follow(&said["pid"]);
        said
    }

    /// This process is main from now on.
    pub fn follow(&mut self, pid: &serde_json::Value) {
        self.heir = Some(i32::try_from(pid.as_i64().unwrap()).unwrap());
    }

    /// The process identifier of main.
    pub fn pid(&self) -> i32 {
        if let Some(heir) = self.heir {
            return heir;
        }
        i32::try_from(self.child.as_ref().expect("running").id()).unwrap()
    }

    /// A client command against this daemon.
    pub fn cli(&self, arguments: &[&str]) -> Said {
        run(Command::new(BINARY)
            .arg("--socket")
            .arg(self.dir.path().join("run/admin.sock"))
            .args(arguments)
            .env("TZ", "UTC"))
    }

    /// A request to the admin socket by curl with these options: the status, and the body.
    pub fn api(&self, path: &str, more: &[&str]) -> (u16, String) {
        let said = run(Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--max-time",
                "300",
                "--write-out",
                "\n%{http_code}",
            ])
            .arg("--unix-socket")
            .arg(self.dir.path().join("run/admin.sock"))
            .args(more)
            .arg(format!("http://keyward/v1{path}")));
        let out = said.ok();
        let (body, status) = out.rsplit_once('\n').expect("curl writes the status");
        (status.parse().expect("a number"), body.to_owned())
    }

    /// Everything it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// What it logged without what only a debugger wants, and the last of it first to be seen.
    fn plain_log(&self) -> String {
        let log = self.log();
        let plain: Vec<_> = log.lines().filter(|line| !line.contains(" DEBUG ")).collect();
        plain[plain.len().saturating_sub(40)..].join("\n")
    }

    /// One certificate as the admin socket shows it.
    pub fn certificate(&self, name: &str) -> Option<serde_json::Value> {
        let said = self.cli(&["show", name, "--json"]);
        said.status.success().then(|| serde_json::from_str(&said.out).unwrap())
    }

    /// Waits until the certificate of the site `name` is issued by the ACME CA and served.
    pub fn wait_issued(&self, name: &str) -> serde_json::Value {
        let begin = Instant::now();
        loop {
            if let Some(view) = self.certificate(name)
                && view["role"] == "primary"
                && !view["installed"].is_null()
            {
                return view;
            }
            assert!(
                begin.elapsed() < Duration::from_secs(60),
                "{name} is not issued: {:#?}\n{}",
                self.certificate(name),
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// `kill -9` of the process that took the place of the one that was started, which is given:
    /// it may still finish what it began.
    pub fn kill_heir(&mut self) -> Child {
        let heir = self.heir.take().expect("there was an upgrade");
        let pid = nix::unistd::Pid::from_raw(heir);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        eventually("the killed one is gone", Duration::from_secs(10), || {
            (!runs(heir)).then_some(())
        });
        self.child.take().expect("running")
    }

    /// `kill -9`, and waits for the end.
    pub fn kill9(&mut self) {
        if self.heir.is_some() {
            let first = self.kill_heir();
            self.child = Some(first);
        }
        let mut child = self.child.take().expect("running");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(&mut self) -> ExitStatus {
        let pid = nix::unistd::Pid::from_raw(self.pid());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.wait_end(Duration::from_secs(30))
    }

    /// SIGHUP.
    pub fn hangup(&self) {
        self.signal(nix::sys::signal::Signal::SIGHUP);
    }

    /// Sends a signal to main.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.pid());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Waits until the process ends by itself.
    pub fn wait_end(&mut self, limit: Duration) -> ExitStatus {
        let mut child = self.child.take().expect("running");
        let begin = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if begin.elapsed() > limit {
                let _gone = child.kill();
                panic!("keyward did not end within {limit:?}\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// curl against the HTTPS port for the host `name`, trusting only `root`.
    pub fn curl(&self, root: &Path, name: &str, path: &str, more: &[&str]) -> Said {
        let port = self.https;
        run(Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "20", "--cacert"])
            .arg(root)
            .arg("--resolve")
            .arg(format!("{name}:{port}:127.0.0.1"))
            .args(more)
            .arg(format!("https://{name}:{port}{path}")))
    }

    /// The serial number that the port shows for `name` right now, as keyward writes it.
    pub fn served_serial(&self, name: &str) -> Option<String> {
        self.serial_for(name, "")
    }

    /// The same for a client with these options of `openssl s_client`.
    pub fn serial_for(&self, name: &str, options: &str) -> Option<String> {
        let said = run(Command::new("sh").arg("-c").arg(format!(
            "openssl s_client -connect 127.0.0.1:{} -servername {name} {options} </dev/null \
             2>/dev/null | openssl x509",
            self.https
        )));
        let chain = keyward::cert::chain::Chain::from_pem(said.out.as_bytes()).ok()?;
        Some(chain.leaf().ok()?.serial)
    }
}

/// Whether a process is there and no zombie.
pub fn runs(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// Whether a process ended by SIGKILL.
pub fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(9)
}

impl Drop for Keyward {
    fn drop(&mut self) {
        if let Some(heir) = self.heir.take() {
            let heir = nix::unistd::Pid::from_raw(heir);
            let _gone = nix::sys::signal::kill(heir, nix::sys::signal::Signal::SIGKILL);
        }
        if let Some(mut child) = self.child.take() {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of keyward ---\n{}", self.log());
        }
    }
}
