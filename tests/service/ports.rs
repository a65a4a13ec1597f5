//! Ports 80 and 443: held by socket units, or opened by the service itself.

use std::time::Duration;

use crate::rig::Machine;
use crate::rig::WELCOME;
use crate::rig::pause;
use crate::rig::wait;

/// Requests one after the other, each on a connection of its own; prints "exit-code status" lines
/// until the file /root/enough appears.
const KNOCK: &str = "while [ ! -e /root/enough ]; do \
     curl -sS --insecure -o /dev/null -w '%{http_code}' --max-time 15 https://localhost/ \
     2>/dev/null; echo \" $?\"; done";

#[test]
fn a_restart_refuses_no_connection_and_fails_no_request() {
    let machine = Machine::serving(WELCOME);
    let knocking = machine.begin(&["sh", "-c", KNOCK]);
    for _ in 0..5 {
        let main = machine.main_pid();
        machine.must(&["systemctl", "restart", "keyward"]);
        assert_ne!(machine.main_pid(), main);
        pause(Duration::from_millis(500));
    }
    machine.write("/root/enough", "");
    let output = knocking.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let bad: Vec<&str> = said.lines().filter(|line| *line != "200 0").collect();
    assert!(said.lines().count() > 10, "{said}");
    assert_eq!(bad, Vec::<&str>::new(), "of {} requests", said.lines().count());
}

#[test]
fn the_sockets_belong_to_systemd_and_wake_the_service() {
    let machine = Machine::serving(WELCOME);
    for unit in ["keyward-http.socket", "keyward-https.socket"] {
        assert_eq!(machine.must(&["systemctl", "is-active", unit]).trim(), "active");
    }
    machine.must(&["systemctl", "stop", "keyward"]);
    assert_eq!(machine.property("ActiveState"), "inactive");
    assert_eq!(machine.get("https://localhost/"), Ok("200".to_owned()));
    assert_eq!(machine.property("ActiveState"), "active");
}

#[test]
fn without_socket_units_the_service_opens_its_ports_itself() {
    let machine = Machine::installed(WELCOME);
    machine.must(&["systemctl", "mask", "--now", "keyward-http.socket", "keyward-https.socket"]);
    machine.must(&[
        "sh",
        "-c",
        "mkdir -p /etc/systemd/system/keyward.service.d \
         && cp /usr/share/doc/keyward/examples/own-ports.conf /etc/systemd/system/keyward.service.d/ \
         && systemctl daemon-reload",
    ]);
    machine.must(&["systemctl", "start", "keyward"]);
    assert_eq!(machine.get("https://localhost/"), Ok("200".to_owned()));
    assert_eq!(machine.get("http://localhost/"), Ok("308".to_owned()));
    // The capability that opens ports below 1024, and no other; the vault has none at all.
    let capabilities = |pid: &str| {
        machine.must(&["grep", "CapEff", &format!("/proc/{pid}/status")]).trim().to_owned()
    };
    assert_eq!(capabilities(&machine.main_pid()), "CapEff:\t0000000000000400");
    for pid in machine.pids("vault") {
        assert_eq!(capabilities(&pid), "CapEff:\t0000000000000000");
    }
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused() {
    let machine = Machine::serving(WELCOME);
    let second = machine.run(&[
        "runuser",
        "-u",
        "keyward",
        "--",
        "keyward",
        "run",
        "--config",
        "/etc/keyward/keyward.toml",
    ]);
    assert!(second.status.is_some_and(|status| status != 0), "{second:?}");
    assert!(!second.err.is_empty(), "it says why");
    wait(5, "the first to serve on", || machine.get("https://localhost/") == Ok("200".to_owned()));
}
