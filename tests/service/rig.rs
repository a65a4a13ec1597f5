//! A machine with a real systemd, for one test: a container booted from a copy of the cached root,
//! with keyward installed in it by `scripts/install`, the way a package would.
//!
//! It has a network of its own with nothing but `lo`, so ports 80 and 443 are free in it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The site that most scenarios serve: no CA, no origin, no network needed.
pub(crate) const WELCOME: &str = r#"
[[site]]
names = ["localhost"]
origin = "builtin:welcome"
issuer = "internal"
"#;

/// One at a time: the containers share a control group and two cores.
static TURN: Mutex<()> = Mutex::new(());
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Requests one after the other, each on a connection of its own, until /root/enough appears;
/// prints the status and curl's exit code for each.
const KNOCK: &str = "while [ ! -e /root/enough ]; do \
     curl -sS --insecure -o /dev/null -w '%{http_code}' --max-time 15 https://localhost/ \
     2>/dev/null; echo \" $?\"; done";

/// A booted machine; it is gone without a trace when dropped.
pub(crate) struct Machine {
    root: PathBuf,
    console: PathBuf,
    container: Child,
    /// Process id of its systemd, as seen from here.
    leader: String,
    _turn: MutexGuard<'static, ()>,
}

/// How a command inside ended.
#[derive(Debug)]
pub(crate) struct Said {
    /// Exit status; `None` when a signal ended it.
    pub(crate) status: Option<i32>,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Machine {
    /// Boots a machine on which nothing of keyward is installed.
    pub(crate) fn bare() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(
            nix::unistd::geteuid().is_root(),
            "the service tests boot a container: run them as root (tests/check leaves them out otherwise)"
        );
        let cache = cached_root();
        assert!(
            cache.join("etc/keyward-rootfs").exists(),
            "no root of a Debian at {}: run scripts/install-rootfs",
            cache.display()
        );
        let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
        sweep(place);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let root = place.join(format!("machine-{}-{number}", std::process::id()));
        let console = root.with_extension("console");
        succeed(Command::new("cp").args(["-a", "--reflink=auto"]).arg(&cache).arg(&root));
        let log = File::create(&console).unwrap();
        let container = Command::new("systemd-nspawn")
            .args(["--quiet", "--boot", "--register=no", "--keep-unit", "--private-network"])
            .args(["--link-journal=no", "--resolv-conf=off", "--timezone=off"])
            // What the container's own filter lacks and a real machine has: keyward's walls.
            .arg(concat!(
                "--system-call-filter=landlock_create_ruleset landlock_add_rule ",
                "landlock_restrict_self seccomp memfd_secret @memlock"
            ))
            .arg(format!("--machine=keyward-{}-{number}", std::process::id()))
            .arg("--directory")
            .arg(&root)
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("systemd-nspawn is part of systemd-container and installed by tests/check");
        let mut machine = Self { root, console, container, leader: String::new(), _turn: turn };
        machine.boot();
        machine
    }

    /// Boots a machine, installs keyward with this configuration, and starts it with the one
    /// command of the README.
    pub(crate) fn serving(config: &str) -> Self {
        let machine = Self::installed(config);
        machine.must(&["systemctl", "enable", "--now", "keyward"]);
        machine
    }

    /// Like [`Self::serving`], but nothing is enabled or started yet.
    pub(crate) fn installed(config: &str) -> Self {
        let machine = Self::bare();
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        succeed(
            Command::new(package.join("scripts/install"))
                .args(["--binary", env!("CARGO_BIN_EXE_keyward")])
                .env("DESTDIR", &machine.root),
        );
        machine.write("/etc/keyward/keyward.toml", config);
        // What the package's scripts do after unpacking.
        machine.must(&["systemd-sysusers", "keyward.conf"]);
        machine.must(&["systemd-tmpfiles", "--create", "keyward.conf"]);
        machine.must(&["systemctl", "daemon-reload"]);
        machine
    }

    fn boot(&mut self) {
        let own = self.container.id();
        let children = format!("/proc/{own}/task/{own}/children");
        wait(30, "the container's systemd to run", || {
            assert!(
                self.container.try_wait().unwrap().is_none(),
                "the container ended: {}",
                std::fs::read_to_string(&self.console).unwrap_or_default()
            );
            let said = std::fs::read_to_string(&children).unwrap_or_default();
            let Some(leader) = said.split_whitespace().next() else { return false };
            // Before the exec of systemd it is still setting the container up.
            let name = std::fs::read_to_string(format!("/proc/{leader}/comm")).unwrap_or_default();
            leader.clone_into(&mut self.leader);
            name.trim() == "systemd"
        });
        wait(60, "the machine to be up", || {
            matches!(
                self.run(&["systemctl", "is-system-running"]).out.trim(),
                "running" | "degraded"
            )
        });
    }

    /// Runs a command inside as root.
    pub(crate) fn run(&self, command: &[&str]) -> Said {
        Said::from(self.command(command).output().unwrap())
    }

    /// Runs a command inside that has to succeed, and returns what it printed.
    pub(crate) fn must(&self, command: &[&str]) -> String {
        let said = self.run(command);
        if said.status != Some(0) {
            let journal =
                self.run(&["journalctl", "--no-pager", "--lines=60", "--unit=keyward*"]).out;
            panic!("{command:?} ended with {:?}\n{}{}\n{journal}", said.status, said.out, said.err);
        }
        said.out
    }

    /// Begins a command inside and does not wait for it.
    pub(crate) fn begin(&self, command: &[&str]) -> Child {
        self.command(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn command(&self, command: &[&str]) -> Command {
        let mut entered = Command::new("nsenter");
        entered
            .args(["--all", "--target", &self.leader, "--"])
            .args(command)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        entered
    }

    /// Writes a file inside, and the directories above it.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A drop-in for the service.
    pub(crate) fn drop_in(&self, name: &str, text: &str) {
        self.write(&format!("/etc/systemd/system/keyward.service.d/{name}.conf"), text);
        self.must(&["systemctl", "daemon-reload"]);
    }

    /// Where a path inside lies outside. Not for what is mounted inside, such as `/run` and `/proc`.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }

    /// A property of the service, such as `MainPID`.
    pub(crate) fn property(&self, name: &str) -> String {
        let said = self.must(&["systemctl", "show", "--value", "--property", name, "keyward"]);
        said.trim().to_owned()
    }

    /// Main's process id inside.
    pub(crate) fn main_pid(&self) -> String {
        self.property("MainPID")
    }

    /// Processes of the service whose first argument is `role`.
    pub(crate) fn pids(&self, role: &str) -> Vec<String> {
        let cgroup = self.property("ControlGroup");
        let procs = format!("/sys/fs/cgroup{cgroup}/cgroup.procs");
        let wanted = |pid: &&str| {
            let line = self.run(&["cat", &format!("/proc/{pid}/cmdline")]).out;
            line.split('\0').nth(1) == Some(role)
        };
        self.run(&["cat", &procs]).out.lines().filter(wanted).map(str::to_owned).collect()
    }

    /// One request over HTTPS without looking at the certificate: the status, or curl's exit code.
    pub(crate) fn get(&self, url: &str) -> Result<String, i32> {
        self.curl(&["--insecure", url])
    }

    /// One request: the status, or curl's exit code.
    pub(crate) fn curl(&self, arguments: &[&str]) -> Result<String, i32> {
        let fixed = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "15"];
        let said = self.run(&[&fixed[..], arguments].concat());
        match said.status {
            Some(0) => Ok(said.out),
            other => Err(other.unwrap_or(-1)),
        }
    }

    /// Two clients that ask for `https://localhost/` again and again, until [`Self::enough`].
    pub(crate) fn knock(&self) -> [Child; 2] {
        std::array::from_fn(|_| self.begin(&["sh", "-c", KNOCK]))
    }

    /// Ends them, and returns the answers as `status exit-code`.
    pub(crate) fn enough(&self, knocking: [Child; 2]) -> Vec<String> {
        self.write("/root/enough", "");
        let ended = knocking.map(|client| client.wait_with_output().unwrap());
        let texts = ended.map(|output| String::from_utf8(output.stdout).unwrap());
        texts.iter().flat_map(|text| text.lines().map(str::to_owned)).collect()
    }

    /// Messages of the service in the journal so far.
    pub(crate) fn journal(&self) -> String {
        self.must(&["journalctl", "--no-pager", "--output=cat", "--unit=keyward"])
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The end of its first process ends every process inside, and with it the container.
        if let Ok(leader) = self.leader.parse() {
            let _gone = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(leader),
                nix::sys::signal::Signal::SIGKILL,
            );
        } else {
            let _gone = self.container.kill();
        }
        let _ended = self.container.wait();
        let _removed = std::fs::remove_dir_all(&self.root);
        let _removed = std::fs::remove_file(&self.console);
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Asks `until` every twentieth of a second; fails after `seconds` and says what was waited for.
#[expect(clippy::disallowed_methods, reason = "the machine inside runs on the wall clock")]
pub(crate) fn wait(seconds: u64, what: &str, mut until: impl FnMut() -> bool) -> Duration {
    let began = std::time::Instant::now();
    while !until() {
        assert!(began.elapsed() < Duration::from_secs(seconds), "waited {seconds} s for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
    began.elapsed()
}

/// How long it takes to do something.
#[expect(clippy::disallowed_methods, reason = "the machine inside runs on the wall clock")]
pub(crate) fn taking<T>(something: impl FnOnce() -> T) -> Duration {
    let began = std::time::Instant::now();
    let _done = something();
    began.elapsed()
}

/// Lets time pass, to see that nothing happens in it.
#[expect(clippy::disallowed_methods, reason = "the machine inside runs on the wall clock")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

fn cached_root() -> PathBuf {
    std::env::var_os("ROOTFS_DIR").map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools").join("rootfs"),
        PathBuf::from,
    )
}

/// Removes the machines of test runs that were killed.
fn sweep(place: &Path) {
    for entry in std::fs::read_dir(place).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(run) = name.strip_prefix("machine-").and_then(|rest| rest.split('-').next())
        else {
            continue;
        };
        if !Path::new("/proc").join(run).exists() {
            let _gone = std::fs::remove_dir_all(entry.path());
            let _gone = std::fs::remove_file(entry.path());
        }
    }
}
