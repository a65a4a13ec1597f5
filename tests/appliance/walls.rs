//! A machine that lacks a wall: what is told of it, and what `[vault] require` makes of it.

use std::collections::BTreeMap;
use std::time::Duration;

use seccompiler::SeccompAction;
use seccompiler::SeccompFilter;

use crate::daemon::Keyward;

const LANDLOCK: &[i64] = &[libc::SYS_landlock_create_ruleset];
const SECRET_MEMORY: &[i64] = &[libc::SYS_memfd_secret];

/// A daemon for one name of the internal CA.
fn house(require: &str) -> Keyward {
    let site = "[[site]]\nnames = [\"localhost\"]\norigin = \"builtin:welcome\"\n\
                issuer = \"internal\"\n";
    let keyward = Keyward::new("", site);
    keyward.edit("[log]", &format!("[vault]\nrequire = \"{require}\"\n\n[log]"));
    keyward
}

/// Begins the daemon on a kernel without `calls`: what it starts from inherits the filter.
fn spawn_without(keyward: &mut Keyward, calls: &[i64]) {
    let rules: BTreeMap<_, _> = calls.iter().map(|call| (*call, Vec::new())).collect();
    let refused = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, architecture).unwrap();
    let program: seccompiler::BpfProgram = filter.try_into().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            seccompiler::apply_filter(&program).unwrap();
            keyward.spawn();
        });
    });
}

/// What a machine gives that takes nothing away, besides memory to lock: where its limit cannot
/// be lifted, not everything can be kept out of swap.
fn may_lock_all() -> bool {
    use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
    getrlimit(Resource::RLIMIT_MEMLOCK).unwrap().1 == RLIM_INFINITY
}

/// Starts it where it must be refused, and gives what it said.
fn refused(calls: &[i64]) -> String {
    let mut keyward = house("strict");
    spawn_without(&mut keyward, calls);
    let status = keyward.wait_end(Duration::from_secs(20));
    let log = keyward.log();
    assert_eq!(status.code(), Some(78), "{log}");
    assert!(log.contains("error: [vault] require = \"strict\""), "{log}");
    assert!(log.contains("require = \"available\""), "what to try: {log}");
    assert!(!keyward.state().join("store/keyward.redb").exists(), "it went on");
    log
}

#[test]
fn a_strict_house_does_not_start_on_a_torn_wall_and_names_each() {
    let log = refused(SECRET_MEMORY);
    assert!(log.contains("the vault's secret memory (partly: no memfd_secret here"), "{log}");
    assert!(log.contains("try: LimitMEMLOCK=infinity in the unit, a smaller"), "{log}");
    assert!(!log.contains("main's files") && !log.contains("the vault's paths"), "{log}");
    let log = refused(LANDLOCK);
    for part in ["the vault's paths (missing: ", "main's files (missing: ", "/vault is within"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert!(!log.contains("the vault's secret memory"), "{log}");
}

#[test]
fn a_strict_house_starts_where_every_wall_stands() {
    let mut keyward = house("strict");
    if may_lock_all() {
        keyward.start();
        let status = keyward.cli(&["status"]).ok();
        assert!(status.contains("strict") && !status.contains("(partly"), "{status}");
        assert_eq!(keyward.log().matches("a wall does not stand whole").count(), 0);
    } else {
        // All but the one that this machine does not give to anybody.
        let log = refused(&[]);
        let torn = log.lines().filter(|line| line.contains("(partly") || line.contains("(missing"));
        let torn: Vec<_> = torn.collect();
        assert!(torn.len() == 1 && torn[0].contains("the vault's swap (partly"), "{log}");
    }
}

#[test]
fn without_strictness_what_is_torn_is_told_once_in_the_log_and_in_status() {
    let mut keyward = house("available");
    spawn_without(&mut keyward, &[LANDLOCK, SECRET_MEMORY].concat());
    let status = crate::daemon::eventually("it starts", Duration::from_secs(20), || {
        let said = keyward.cli(&["status", "--json"]);
        said.status.success().then(|| said.json())
    });
    let walls = |of: &serde_json::Value| {
        let walls = of.as_array().unwrap().iter();
        walls.map(|wall| wall.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let vault = walls(&status["vault"]["walls"]);
    let has = |walls: &[String], part: &str| walls.iter().any(|wall| wall.starts_with(part));
    assert!(has(&vault, "paths (missing") && has(&vault, "secret memory (partly"), "{vault:?}");
    let main = walls(&status["walls"]);
    assert!(has(&main, "files (missing: this kernel has no Landlock)"), "{main:?}");
    assert_eq!(status["vault"]["required"], "available");

    let told = |wall: &str| {
        let log = keyward.log();
        let lines = log.lines().filter(|line| line.contains("a wall does not stand whole"));
        lines.filter(|line| line.contains(wall)).count()
    };
    for wall in ["the vault's paths (missing", "the vault's secret memory", "main's files (miss"] {
        assert_eq!(told(wall), 1, "{wall}: {}", keyward.log());
    }
    // A successor with the same holes is no news.
    let pid = i32::try_from(status["vault"]["pid"].as_i64().unwrap()).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    crate::daemon::eventually("another vault", Duration::from_secs(10), || {
        keyward.log().contains("the vault ended and another was started").then_some(())
    });
    assert_eq!(told("the vault's paths (missing"), 1, "{}", keyward.log());
}
