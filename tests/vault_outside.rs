//! The running vault as others see it: what it gave up.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at its first surprise")]

mod vault_common;

use vault_common::House;

/// A field of /proc/PID/status.
fn field(pid: u32, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap().trim().to_owned()
}

#[test]
fn the_running_vault_has_no_capability_gains_none_and_leaves_no_core() {
    let house = House::new();
    let vault = house.vault(1);
    let status = vault.status();
    let nothing = "0000000000000000";
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(status.pid, set), nothing, "{set}");
    }
    assert_eq!(field(status.pid, "NoNewPrivs"), "1");
    assert_eq!(field(status.pid, "Seccomp"), "2", "a filter");
    let core = |pid: u32| {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
        let line = limits.lines().find(|line| line.starts_with("Max core file size"))?.to_owned();
        Some(line.split_whitespace().skip(4).take(2).map(str::to_owned).collect::<Vec<_>>())
    };
    // Another user's process, or one that cannot be dumped, shows its limits to root only.
    if nix::unistd::geteuid().is_root() {
        assert_eq!(field(status.pid, "CapBnd"), nothing);
        assert_eq!(core(status.pid).unwrap(), ["0", "0"]);
        // It could be otherwise: this process has not given up the same.
        assert_ne!(field(std::process::id(), "CapEff"), nothing);
    }
    assert_eq!(field(std::process::id(), "NoNewPrivs"), "0");
}
