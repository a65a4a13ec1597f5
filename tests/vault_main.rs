//! Main, as the user it runs as, reaches neither into the vault nor to the master key.
//!
//! A program of its own and no harness: the wall is for a process that has one thread. Started as it
//! is, it starts itself again as an unprivileged user, which then does what the daemon does, and
//! tries before and behind its wall.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test ends at its first surprise, and says what it has shown"
)]

mod vault_common;

use std::ffi::OsStr;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use keyward::os::wall;
use keyward::os::wall::Enforcement;
use keyward::os::wall::WallPaths;
use keyward::vault::Vault;
use keyward::vault::VaultOptions;
use nix::sys::ptrace;
use nix::unistd::Pid;
use vault_common::House;

fn main() {
    // cargo asks every target for its tests.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    match std::env::var_os("KEYWARD_MAIN_HALF") {
        Some(exe) => main_half(&exe),
        None => main_reaches_neither_into_the_vault_nor_to_the_master_key(),
    }
}

/// What a process of the same user may try.
fn attempts(pid: u32, place: usize) -> [(&'static str, std::io::Result<()>); 4] {
    let process = Pid::from_raw(pid.cast_signed());
    let mut octet = [0_u8; 1];
    let remote = [nix::sys::uio::RemoteIoVec { base: place, len: 1 }];
    let read = nix::sys::uio::process_vm_readv(
        process,
        &mut [std::io::IoSliceMut::new(&mut octet)],
        &remote,
    );
    [
        ("process_vm_readv", read.map(drop).map_err(Into::into)),
        ("mem", File::open(format!("/proc/{pid}/mem")).map(drop)),
        ("maps", File::open(format!("/proc/{pid}/maps")).map(drop)),
        ("ptrace", ptrace::seize(process, ptrace::Options::empty()).map_err(Into::into)),
    ]
}

fn all_denied(pid: u32, place: usize) {
    for (what, result) in attempts(pid, place) {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::PermissionDenied, "{what} of {pid}");
    }
}

/// As an unprivileged user.
fn main_half(exe: &OsStr) {
    assert!(!nix::unistd::geteuid().is_root());
    let house = House::new();
    let store = house.dir.path().join("store");
    std::fs::create_dir(&store).unwrap();
    let exe = PathBuf::from(exe);
    let launched = Vault::launch(VaultOptions { exe, ..house.options(0) }).unwrap();
    let mut victim = Command::new("sh");
    let mut victim = victim.args(["-c", "read line"]).stdin(Stdio::piped()).spawn().unwrap();
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", victim.id())).unwrap();
    let place = usize::from_str_radix(maps.split('-').next().unwrap(), 16).unwrap();

    // Outside of the wall: any process of this user, and the key's file, but not the vault.
    for (what, result) in attempts(victim.id(), place) {
        result.unwrap_or_else(|error| panic!("{what} of a plain process: {error}"));
    }
    assert_eq!(std::fs::read(&house.key).unwrap(), [0x42; 32]);
    let (vault, keeper) = launched.processes();
    for pid in [vault, keeper] {
        all_denied(pid, place);
    }

    // Behind it: not even those.
    let mut paths = WallPaths::system();
    paths.write.push(store.clone());
    paths.closed.push(house.key.clone());
    let state = wall::wall(&paths).unwrap();
    assert_eq!(state.enforcement, Enforcement::Full);
    assert_eq!(state.exposed, Vec::<PathBuf>::new());
    for pid in [vault, keeper, victim.id()] {
        all_denied(pid, place);
    }
    let denied = std::fs::read(&house.key).unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::PermissionDenied);
    std::fs::write(store.join("record"), "x").unwrap();
    drop(victim.stdin.take());
    victim.wait().unwrap();
    // What it is there for goes on.
    let vault = launched.supervise().unwrap();
    assert!(vault.ping().is_ok());
    println!("vault, keeper and master key are out of main's reach, as it should be");
}

fn main_reaches_neither_into_the_vault_nor_to_the_master_key() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    open(dir.path());
    // Where another user can get at them.
    let (test, program) = (dir.path().join("test"), dir.path().join("keyward"));
    std::fs::copy(std::env::current_exe().unwrap(), &test).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_keyward"), &program).unwrap();
    let mut command = if nix::unistd::geteuid().is_root() {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]);
        setpriv.arg(&test);
        setpriv
    } else {
        Command::new(&test)
    };
    let output = command.env("KEYWARD_MAIN_HALF", &program).current_dir("/").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("as it should"), "{said}\n{complained}");
    println!("{said}");
}
