//! What is done to a service at night: killed, stuck, robbed of its vault.

use std::time::Duration;

use crate::rig::Machine;
use crate::rig::WELCOME;
use crate::rig::pause;
use crate::rig::wait;

#[test]
fn a_killed_main_is_running_again_at_once() {
    let machine = Machine::serving(WELCOME);
    let main = machine.main_pid();
    let vault = machine.pids("vault");
    machine.must(&["kill", "-KILL", &main]);
    // The sockets belong to systemd: the request waits in the queue instead of being refused.
    wait(10, "another main", || {
        !["0", &main].contains(&machine.main_pid().as_str())
            && machine.property("ActiveState") == "active"
    });
    assert_eq!(machine.get("https://localhost/"), Ok("200".to_owned()));
    let again = machine.pids("vault");
    assert!(!again.is_empty() && again.iter().all(|pid| !vault.contains(pid)), "{again:?}");
}

#[test]
fn a_stuck_main_is_replaced_by_the_watchdog() {
    let machine = Machine::installed(WELCOME);
    machine.drop_in("watchdog", "[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n");
    machine.must(&["systemctl", "enable", "--now", "keyward"]);
    let main = machine.main_pid();
    // Left alone, it keeps the watchdog quiet.
    pause(Duration::from_secs(6));
    assert_eq!(machine.main_pid(), main, "a healthy service was replaced");

    machine.must(&["kill", "-STOP", &main]);
    wait(20, "the watchdog", || {
        !["0", &main].contains(&machine.main_pid().as_str())
            && machine.property("ActiveState") == "active"
    });
    assert_eq!(machine.get("https://localhost/"), Ok("200".to_owned()));
    let said = machine.must(&["journalctl", "--no-pager", "--unit=keyward"]);
    assert!(said.to_lowercase().contains("watchdog timeout"), "{said}");
}

#[test]
fn without_its_vault_the_service_signs_again_within_a_second() {
    let machine = Machine::serving(WELCOME);
    assert_eq!(machine.get("https://localhost/"), Ok("200".to_owned()));
    let main = machine.main_pid();
    for round in 0..3 {
        let vault = machine.pids("vault");
        assert!(!vault.is_empty(), "there is a vault in round {round}");
        for pid in &vault {
            machine.must(&["kill", "-KILL", pid]);
        }
        let took = wait(5, "a handshake", || {
            machine.curl(&["--insecure", "--max-time", "1", "https://localhost/"])
                == Ok("200".to_owned())
        });
        assert!(took < Duration::from_secs(1), "it took {took:?} in round {round}");
    }
    assert_eq!(machine.main_pid(), main, "main did not have to be restarted");
    assert_eq!(machine.property("NRestarts"), "0");
}
