//! Each wall of the vault, attacked from inside: the act works before the wall and not after it.
//!
//! The acts run in a child: this program started again with `KEYWARD_PROBE` naming wall and act.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at its first surprise")]

use std::io::Read as _;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;

use keyward::os::descriptors;
use keyward::os::sandbox;
use keyward::os::sandbox::Standing;
use keyward::vault::walls;
use keyward::vault::walls::WallReport;

const DONE: u8 = 10;
const DENIED: u8 = 11;
const NOT_RAISED: u8 = 12;
const OTHER: u8 = 13;

/// Does nothing unless this program was started as a probe.
#[test]
fn probe() {
    let Ok(wanted) = std::env::var("KEYWARD_PROBE") else { return };
    let (wall, act) = wanted.split_once(' ').unwrap();
    let socket = descriptors::seqpacket_pair().unwrap();
    let stray = std::fs::File::open("/dev/null").unwrap();
    // Somebody to be traced, from before there was a wall.
    let victim = (act == "trace").then(|| {
        let mut waits = Command::new("sh");
        waits.args(["-c", "read line"]).stdin(Stdio::piped()).spawn().unwrap()
    });
    let victim = victim.as_ref().map(std::process::Child::id);
    // Read after the walls are up, of what was opened before.
    let mut own = std::fs::File::open("/proc/thread-self/status").unwrap();
    if act == "compute" {
        // As the vault does: the libraries look for randomness in files when first used.
        perform(act, victim).unwrap();
    }
    let raised = match wall {
        "none" => Vec::new(),
        "first" => {
            let reports = walls::raise_first(&socket.0);
            // Closed by the wall; the number is nobody's any more.
            std::mem::forget(socket.1);
            let open = nix::fcntl::fcntl(stray.as_fd(), nix::fcntl::FcntlArg::F_GETFD).is_ok();
            std::mem::forget(stray);
            if act == "stray" {
                sandbox::exit_now(if open { DONE } else { DENIED });
            }
            reports
        }
        "second" => walls::raise_second(100),
        "last" => vec![walls::raise_last()],
        other => panic!("unknown wall {other}"),
    };
    let standing = |report: &WallReport| report.standing != Standing::Absent;
    // Memory locking depends on the machine's limits; what is probed here does not.
    if !raised.iter().filter(|report| report.wall.name() != "swap").all(standing) {
        sandbox::exit_now(NOT_RAISED);
    }
    let performed = match act {
        "gain" => gain(&mut own),
        _ => perform(act, victim),
    };
    sandbox::exit_now(match performed {
        Ok(()) => DONE,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => DENIED,
        Err(_) => OTHER,
    })
}

/// Denied when this process has no capability, and no way to get one.
fn gain(own: &mut std::fs::File) -> std::io::Result<()> {
    let mut text = String::new();
    own.read_to_string(&mut text)?;
    let is = |field: &str, wanted: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap().trim() == wanted
    };
    let mut sets = vec!["CapInh", "CapPrm", "CapEff", "CapAmb"];
    // The last set can be narrowed by a superuser only, and without the others it gives nothing.
    if nix::unistd::geteuid().is_root() {
        sets.push("CapBnd");
    }
    let none = sets.into_iter().all(|set| is(set, "0000000000000000"));
    let denied = none && is("NoNewPrivs", "1") && nix::sys::prctl::get_no_new_privs()?;
    if denied { Err(std::io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
}

fn perform(act: &str, victim: Option<u32>) -> std::io::Result<()> {
    match act {
        "stray" => Ok(()),
        "compute" => {
            // What the vault does all day must go on behind every wall.
            let key = keyward::vault::keys::generate(keyward::cert::key::KeyAlgorithm::Rsa2048);
            key.map(drop).map_err(std::io::Error::other)
        }
        "dump" => {
            if nix::sys::prctl::get_dumpable()? {
                return Ok(());
            }
            let limits = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_CORE)?;
            assert_eq!(limits, (0, 0));
            Err(std::io::ErrorKind::PermissionDenied.into())
        }
        "read" => std::fs::read("/proc/self/status").map(drop),
        "write" => {
            std::fs::write(std::env::temp_dir().join(format!("probe-{}", std::process::id())), "x")
        }
        "listen" => std::net::TcpListener::bind("127.0.0.1:0").map(drop),
        "connect" => {
            let port = std::env::var("KEYWARD_PROBE_PORT").unwrap().parse().unwrap();
            std::net::TcpStream::connect(("127.0.0.1", port)).map(drop)
        }
        "run" => Command::new("/bin/true").status().map(drop),
        "signal" => Ok(nix::sys::signal::kill(nix::unistd::getppid(), None)?),
        "peek" => {
            let mut octet = [0_u8; 1];
            let place = std::ptr::from_ref(&octet).addr();
            let remote = [nix::sys::uio::RemoteIoVec { base: place, len: 1 }];
            let mut local = [std::io::IoSliceMut::new(&mut octet)];
            nix::sys::uio::process_vm_readv(nix::unistd::getpid(), &mut local, &remote)?;
            Ok(())
        }
        "poke" => {
            let mut octet = [0_u8; 1];
            let place = std::ptr::from_mut(&mut octet).addr();
            let remote = [nix::sys::uio::RemoteIoVec { base: place, len: 1 }];
            let local = [std::io::IoSlice::new(&[7])];
            nix::sys::uio::process_vm_writev(nix::unistd::getpid(), &local, &remote)?;
            Ok(())
        }
        "trace" => {
            let victim = nix::unistd::Pid::from_raw(victim.unwrap().cast_signed());
            Ok(nix::sys::ptrace::seize(victim, nix::sys::ptrace::Options::empty())?)
        }
        "unix socket" => std::os::unix::net::UnixDatagram::unbound().map(drop),
        "inet socket" => std::net::UdpSocket::bind("127.0.0.1:0").map(drop),
        "execute" => {
            let arguments = [c"sh", c"-c", c"exit 10"];
            match nix::unistd::execv(c"/bin/sh", &arguments) {
                Err(error) => Err(error.into()),
            }
        }
        "thread" => std::thread::Builder::new().spawn(|| {}).map(drop),
        "chroot" => Ok(nix::unistd::chroot("/")?),
        other => panic!("unknown act {other}"),
    }
}

fn attempt(wall: &str, act: &str, port: u16) -> ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "probe", "--nocapture"])
        .env("KEYWARD_PROBE", format!("{wall} {act}"))
        .env("KEYWARD_PROBE_PORT", port.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
}

fn works_outside_and_is_denied_behind(wall: &str, acts: &[&str]) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for act in acts {
        let outside = attempt("none", act, port);
        assert_eq!(outside.code(), Some(i32::from(DONE)), "{act} outside: {outside}");
        let inside = attempt(wall, act, port);
        assert_eq!(inside.code(), Some(i32::from(DENIED)), "{act} behind {wall}: {inside}");
    }
}

#[test]
fn behind_the_first_walls_nothing_is_dumped_and_no_descriptor_is_left() {
    works_outside_and_is_denied_behind("first", &["dump", "stray"]);
}

#[test]
fn behind_the_second_walls_there_is_no_path_no_port_no_other_process_and_no_right() {
    let acts = ["read", "write", "listen", "connect", "run", "execute", "signal", "trace", "gain"];
    works_outside_and_is_denied_behind("second", &acts);
}

#[test]
fn behind_the_second_walls_a_superuser_is_nobody() {
    let outside = attempt("none", "chroot", 0);
    let expected = if nix::unistd::geteuid().is_root() { DONE } else { DENIED };
    assert_eq!(outside.code(), Some(i32::from(expected)), "{outside}");
    let inside = attempt("second", "chroot", 0);
    assert_eq!(inside.code(), Some(i32::from(DENIED)), "{inside}");
}

#[test]
fn behind_the_last_wall_any_other_system_call_ends_the_process() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for act in [
        "read",
        "write",
        "listen",
        "connect",
        "run",
        "execute",
        "signal",
        "peek",
        "poke",
        "trace",
        "unix socket",
        "inet socket",
        "thread",
    ] {
        let outside = attempt("none", act, port);
        assert_eq!(outside.code(), Some(i32::from(DONE)), "{act} outside: {outside}");
        let inside = attempt("last", act, port);
        let killed = nix::sys::signal::Signal::SIGSYS as i32;
        assert_eq!(inside.signal(), Some(killed), "{act} behind the last wall: {inside}");
    }
}

#[test]
fn behind_every_wall_the_vault_can_do_its_work() {
    for wall in ["none", "first", "second", "last"] {
        let status = attempt(wall, "compute", 0);
        assert_eq!(status.code(), Some(i32::from(DONE)), "behind {wall}: {status}");
    }
}

#[test]
fn a_hung_up_peer_is_noticed_whatever_lies_unread() {
    let (left, right) = descriptors::seqpacket_pair().unwrap();
    descriptors::send(right.as_fd(), b"unread").unwrap();
    drop(right);
    descriptors::wait_hung_up(left.as_fd()).unwrap();
}
