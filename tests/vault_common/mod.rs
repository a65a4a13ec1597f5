//! What the tests of the vault share: a directory with a master key, and a vault on it.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use keyward::vault::MasterKeySource;
use keyward::vault::Vault;
use keyward::vault::VaultOptions;

pub(crate) struct House {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) key: PathBuf,
}

impl House {
    pub(crate) fn new() -> Self {
        Self::with_key(&[0x42; 32])
    }

    pub(crate) fn with_key(key: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        std::fs::write(&path, key).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        Self { dir, key: path }
    }

    pub(crate) fn options(&self, workers: usize) -> VaultOptions {
        VaultOptions {
            exe: Path::new(env!("CARGO_BIN_EXE_keyward")).to_owned(),
            master: MasterKeySource::File(self.key.clone()),
            cache_bytes: 1024 * 1024,
            workers,
            cores: vec![None; workers],
            gates: true,
            strict: false,
        }
    }

    pub(crate) fn vault(&self, workers: usize) -> Vault {
        Vault::start(self.options(workers)).unwrap()
    }
}

/// What a TLS 1.3 server signs, with a transcript hash of `len` octets.
pub(crate) fn certificate_verify(len: usize) -> Vec<u8> {
    let mut message = vec![b' '; 64];
    message.extend_from_slice(b"TLS 1.3, server CertificateVerify\0");
    message.extend(std::iter::repeat_n(0x5a, len));
    message
}

/// Starts `keyward vault` or `keyward vault-keeper` on the house's key; its socket, and the child.
pub(crate) fn raw(house: &House, command: &str) -> (OwnedFd, Child) {
    let (ours, theirs) = keyward::os::descriptors::seqpacket_pair().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_keyward"))
        .args([command, "file"])
        .arg(&house.key)
        .stdin(Stdio::from(theirs))
        .spawn()
        .unwrap();
    (ours, child)
}

pub(crate) fn raw_vault(house: &House) -> (OwnedFd, Child) {
    raw(house, "vault")
}

/// As `kill -9` does.
pub(crate) fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

/// Stops all threads of the process, and lets them go on when it is dropped.
pub(crate) struct Stopped(nix::unistd::Pid);

impl Stopped {
    /// The signal is on its way to each thread when `kill` returns: a thread that sleeps on another
    /// core may still answer what it is asked then.
    pub(crate) fn new(pid: u32) -> Self {
        let stopped = Self(nix::unistd::Pid::from_raw(pid.cast_signed()));
        nix::sys::signal::kill(stopped.0, nix::sys::signal::Signal::SIGSTOP).unwrap();
        wait_until(Duration::from_secs(2), || {
            std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().all(|thread| {
                let stat = std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
                stat.rsplit(')').next().unwrap().trim_start().starts_with('T')
            })
        });
        stopped
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        nix::sys::signal::kill(self.0, nix::sys::signal::Signal::SIGCONT).unwrap();
    }
}

/// Whether the process exists and is no zombie.
pub(crate) fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
}

#[expect(clippy::disallowed_methods, reason = "a test has no runtime to wait on")]
pub(crate) fn wait_until(limit: Duration, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < limit, "not within {limit:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[expect(clippy::disallowed_methods, reason = "a test has no runtime to wait on")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[expect(clippy::disallowed_methods, reason = "a test measures")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// What an account asks at `url`, as it is signed (RFC 8555, section 6.2).
pub(crate) fn account_request(url: &str, payload: &str) -> Vec<u8> {
    use base64::Engine as _;
    let header =
        format!(r#"{{"alg":"ES256","kid":"https://ca.example/acct/1","nonce":"n","url":"{url}"}}"#);
    let encoded = |part: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(part);
    format!("{}.{}", encoded(&header), encoded(payload)).into_bytes()
}
