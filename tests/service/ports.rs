//! Ports 80 and 443: held by socket units, or opened by the service itself.

use std::time::Duration;

use crate::rig::Machine;
use crate::rig::WELCOME;
use crate::rig::pause;
use crate::rig::wait;

#[test]
fn a_restart_refuses_no_connection_and_fails_no_request() {
    let machine = Machine::serving(WELCOME);
    let knocking = machine.knock();
    for _ in 0..5 {
        let main = machine.main_pid();
        machine.must(&["systemctl", "restart", "keyward"]);
        assert_ne!(machine.main_pid(), main);
        pause(Duration::from_millis(500));
    }
    let answers = machine.enough(knocking);
    let bad: Vec<&String> = answers.iter().filter(|answer| *answer != "200 0").collect();
    assert!(answers.len() > 20, "{answers:?}");
    assert_eq!(bad, Vec::<&String>::new(), "of {} requests", answers.len());
}

#[test]
fn a_killed_main_leaves_no_connection_refused() {
    let machine = Machine::serving(WELCOME);
    let knocking = machine.knock();
    let kills = 5;
    for _ in 0..kills {
        let main = machine.main_pid();
        machine.must(&["kill", "-KILL", &main]);
        wait(10, "another main", || {
            !["0", &main].contains(&machine.main_pid().as_str())
                && machine.property("ActiveState") == "active"
        });
        pause(Duration::from_millis(500));
    }
    let answers = machine.enough(knocking);
    let bad: Vec<&String> = answers.iter().filter(|answer| *answer != "200 0").collect();
    assert!(answers.len() > 20, "{answers:?}");
    // The kernel queues what nobody accepts: not one is refused (7) or waits in vain (28).
    let lost = |answer: &&&String| answer.ends_with(" 7") || answer.ends_with(" 28");
    assert_eq!(bad.iter().filter(lost).count(), 0, "{bad:?} of {}", answers.len());
    // What main had accepted breaks with it: at most the two open requests for each kill.
    assert!(bad.len() <= 2 * kills, "{bad:?} of {} requests", answers.len());
}

#[test]
fn reloads_under_requests_fail_none_of_them() {
    let machine = Machine::serving(WELCOME);
    let main = machine.main_pid();
    let more = format!("{WELCOME}\n{}", WELCOME.replace("localhost", "shop.internal"));
    let knocking = machine.knock();
    for round in 0..8 {
        let config = if round % 2 == 0 { &more } else { WELCOME };
        machine.write("/etc/keyward/keyward.toml", config);
        machine.must(&["systemctl", "reload", "keyward"]);
        pause(Duration::from_millis(250));
    }
    let answers = machine.enough(knocking);
    let bad: Vec<&String> = answers.iter().filter(|answer| *answer != "200 0").collect();
    assert!(answers.len() > 20, "{answers:?}");
    assert_eq!(bad, Vec::<&String>::new(), "of {} requests", answers.len());
    assert_eq!(machine.main_pid(), main);
    let said = machine.must(&["keyward", "events", "--limit", "100"]);
    assert!(said.matches("reload").count() >= 8, "every reload is in the journal: {said}");
}

#[test]
fn the_sockets_belong_to_systemd_and_wake_the_service() {
    let machine = Machine::serving(WELCOME);
    for unit in ["keyward-http.socket", "keyward-https.socket", "keyward-http3.socket"] {
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
    for unit in ["keyward-http.socket", "keyward-https.socket", "keyward-http3.socket"] {
        machine.must(&["systemctl", "mask", "--now", unit]);
    }
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
