//! The wall around main: what of the file system it can still open once it talks to strangers.
//!
//! Landlock holds for the calling thread and for every thread and process it starts afterwards, so
//! the wall is raised before the first thread, and whoever must see more (the keeper of the vault)
//! is started earlier. The network is not restricted here: serving it is what main is for.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, path_beneath_rules,
};
use nix::sys::resource::{Resource, setrlimit};

/// What stays usable. A path covers everything beneath it; one that does not exist is passed over
/// and reported.
#[derive(Clone, Debug, Default)]
pub struct WallPaths {
    /// May be read and listed.
    pub read: Vec<PathBuf>,
    /// May also be written, created and removed. Never executed.
    pub write: Vec<PathBuf>,
    /// Must not be reachable afterwards, such as the master key's place. The wall cannot carve a
    /// path out of an allowed one, so this is checked and reported, not enforced.
    pub closed: Vec<PathBuf>,
}

impl WallPaths {
    /// What any program needs to look up names and users, verify certificates and tell the time.
    pub fn system() -> Self {
        let read = [
            "/etc",
            "/usr",
            "/lib",
            "/lib64",
            "/run/systemd/resolve",
            "/run/resolvconf",
            "/run/NetworkManager/resolv.conf",
            "/var/lib/ca-certificates",
            "/proc/sys",
            "/proc/self",
            "/sys/devices/system/cpu",
            "/dev/urandom",
        ];
        let write = ["/dev/null"];
        Self {
            read: read.into_iter().map(PathBuf::from).collect(),
            write: write.into_iter().map(PathBuf::from).collect(),
            closed: Vec::new(),
        }
    }
}

/// How far the kernel went along.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Enforcement {
    /// Every restriction holds.
    Full,
    /// An older kernel holds the ones it knows (Linux 5.13 to 6.9).
    Partial,
    /// The kernel has no Landlock, or the service manager forbids the calls.
    Absent,
}

/// What the wall came to. Log it: an absent wall or an exposed path is worth a warning.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WallState {
    /// How far the kernel went along.
    pub enforcement: Enforcement,
    /// Allowed paths that do not exist, and so would stay out of reach if they appeared later.
    pub missing: Vec<PathBuf>,
    /// Paths of [`WallPaths::closed`] that main can reach all the same.
    pub exposed: Vec<PathBuf>,
}

/// Why the wall could not be raised. A kernel without Landlock is not an error.
#[derive(Debug, thiserror::Error)]
pub enum WallError {
    /// The wall would have holes, because running threads stay outside of it.
    #[error("the wall must be raised before threads start, but {count} run")]
    Threads {
        /// How many threads there are.
        count: usize,
    },
    /// The kernel refused a rule.
    #[error("the kernel refused the wall: {0}")]
    Ruleset(#[from] RulesetError),
    /// Core dumps could not be turned off.
    #[error("memory dumps cannot be turned off: {0}")]
    Dumps(#[source] io::Error),
}

/// Restricts this process to `allow`, for good; also turns memory dumps and `ptrace` by its own
/// user off.
///
/// # Errors
/// When threads run already, or when a kernel that has Landlock refuses a rule.
pub fn wall(allow: &WallPaths) -> Result<WallState, WallError> {
    let count = threads();
    if count > 1 {
        return Err(WallError::Threads { count });
    }
    raise(allow)
}

/// Restricts the calling thread, which is the whole process when [`wall`] calls.
fn raise(allow: &WallPaths) -> Result<WallState, WallError> {
    no_dumps().map_err(WallError::Dumps)?;
    let (read_missing, read): (Vec<_>, Vec<_>) =
        allow.read.iter().cloned().partition(|path| !path.exists());
    let (write_missing, write): (Vec<_>, Vec<_>) =
        allow.write.iter().cloned().partition(|path| !path.exists());
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(HANDLED))?
        .create()?
        .add_rules(path_beneath_rules(&read, reading()))?
        .add_rules(path_beneath_rules(&write, writing()))?
        .restrict_self()?;
    let enforcement = match status.ruleset {
        RulesetStatus::FullyEnforced => Enforcement::Full,
        RulesetStatus::PartiallyEnforced => Enforcement::Partial,
        RulesetStatus::NotEnforced => Enforcement::Absent,
    };
    let inside = |path: &Path| read.iter().chain(&write).any(|open| path.starts_with(open));
    let exposed = allow
        .closed
        .iter()
        .filter(|path| enforcement == Enforcement::Absent || inside(path) || opens(path))
        .cloned()
        .collect();
    let missing = read_missing.into_iter().chain(write_missing).collect();
    Ok(WallState { enforcement, missing, exposed })
}

/// Turns memory dumps off: no core file, and no reading through `/proc` or `ptrace` by a process
/// of the same user.
///
/// # Errors
/// When the kernel refuses, which it has no known reason to do.
pub fn no_dumps() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    nix::sys::prctl::set_dumpable(false)?;
    Ok(())
}

fn reading() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::ReadDir
}

/// Everything on files and directories, but no new programs and no device nodes.
fn writing() -> BitFlags<AccessFs> {
    let never = AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
    AccessFs::from_all(HANDLED) & !never
}

/// Whether `path` can be opened for reading. Not blocking: it may be a pipe.
fn opens(path: &Path) -> bool {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).is_ok()
}

/// Threads of this process; 1 where `/proc` is not to be seen.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, |tasks| tasks.count().max(1))
}

/// The restrictions that are asked for. Later ones concern sockets by path, which main needs for
/// the journal, the resolver, the service manager and origins.
const HANDLED: ABI = ABI::V5;

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::process::Command;

    use super::*;

    const ROLE: &str = "KEYWARD_TEST_WALL";

    /// Runs the test `name` alone in a process of its own, with `place` for it to work in.
    fn alone(name: &str, place: &Path) {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--test-threads=1", "--nocapture"])
            .arg(format!("os::wall::tests::{name}"))
            .env(ROLE, place)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}\n{complained}");
    }

    fn place() -> Option<PathBuf> {
        std::env::var_os(ROLE).map(PathBuf::from)
    }

    fn denied<T: std::fmt::Debug>(result: io::Result<T>) {
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn behind_the_wall_the_key_is_gone_and_the_store_is_not() {
        let Some(base) = place() else {
            let dir = tempfile::tempdir().unwrap();
            for part in ["vault", "store", "config", "credentials"] {
                std::fs::create_dir(dir.path().join(part)).unwrap();
            }
            std::fs::write(dir.path().join("vault/master.key"), "secret").unwrap();
            std::fs::write(dir.path().join("credentials/keyward.master"), "secret").unwrap();
            std::fs::write(dir.path().join("config/keyward.toml"), "text").unwrap();
            std::fs::write(dir.path().join("store/old"), "data").unwrap();
            let _origin = UnixListener::bind(dir.path().join("app.sock")).unwrap();
            // The loader is a program that needs no other file to run.
            let loader = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"]
                .into_iter()
                .find(|path| Path::new(path).exists())
                .unwrap();
            std::fs::copy(loader, dir.path().join("store/tool")).unwrap();
            return alone("behind_the_wall_the_key_is_gone_and_the_store_is_not", dir.path());
        };
        let mut allow = WallPaths::system();
        allow.read.push(base.join("config"));
        allow.write.push(base.join("store"));
        allow.write.push(base.join("never-made"));
        allow.closed = vec![base.join("vault"), base.join("credentials/keyward.master")];
        let state = raise(&allow).unwrap();
        // Every kernel that these tests run on has Landlock; without it the wall proves nothing.
        assert_eq!(state.enforcement, Enforcement::Full);
        assert_eq!(state.exposed, Vec::<PathBuf>::new());
        assert!(state.missing.contains(&base.join("never-made")));

        denied(std::fs::read(base.join("vault/master.key")));
        denied(std::fs::read_dir(base.join("vault")).map(drop));
        denied(std::fs::read(base.join("credentials/keyward.master")));
        denied(std::fs::rename(base.join("store/old"), base.join("vault/old")));
        denied(std::fs::write(base.join("config/keyward.toml"), "changed"));
        denied(Command::new("/bin/true").status());
        denied(Command::new(base.join("store/tool")).status());

        assert_eq!(std::fs::read(base.join("config/keyward.toml")).unwrap(), b"text");
        crate::base::disk::replace(&base.join("store/new"), b"data", 0o600).unwrap();
        std::fs::read("/etc/passwd").unwrap();
        std::fs::write("/dev/null", "x").unwrap();
        // A thread started later is behind the wall too, and the network is open.
        let key = base.join("vault/master.key");
        denied(std::thread::spawn(move || std::fs::read(key)).join().unwrap());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        UnixStream::connect(base.join("app.sock")).unwrap();
        // Dumps are off.
        assert!(!nix::sys::prctl::get_dumpable().unwrap());
        let limits = nix::sys::resource::getrlimit(Resource::RLIMIT_CORE).unwrap();
        assert_eq!(limits, (0, 0));
    }

    #[test]
    fn a_key_beneath_an_allowed_path_is_reported_as_exposed() {
        let Some(base) = place() else {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("master.key"), "secret").unwrap();
            return alone("a_key_beneath_an_allowed_path_is_reported_as_exposed", dir.path());
        };
        let key = base.join("master.key");
        let allow = WallPaths {
            read: vec![base.clone(), PathBuf::from("/proc/self")],
            write: Vec::new(),
            closed: vec![key.clone()],
        };
        assert_eq!(raise(&allow).unwrap().exposed, [key]);
    }

    #[test]
    fn running_threads_refuse_the_wall() {
        // The test harness itself is a second thread.
        assert!(matches!(wall(&WallPaths::system()), Err(WallError::Threads { count: 2.. })));
    }
}
