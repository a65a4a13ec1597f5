//! What the service is allowed to be: its user, its capabilities, its files, its master key.

use std::time::Duration;

use crate::rig::Machine;
use crate::rig::WELCOME;
use crate::rig::pause;
use crate::rig::wait;

/// Word for word what systemd/examples/credential.conf tells the operator to do.
const CREDENTIAL: &str = "head -c 32 /dev/urandom \
     | systemd-creds encrypt --name=keyward.master - /etc/keyward/master.cred \
     && mkdir -p /etc/systemd/system/keyward.service.d \
     && cp /usr/share/doc/keyward/examples/credential.conf /etc/systemd/system/keyward.service.d/ \
     && systemctl daemon-reload";

/// The value of a field of /proc/PID/status.
fn status(machine: &Machine, pid: &str, field: &str) -> String {
    let text = machine.must(&["cat", &format!("/proc/{pid}/status")]);
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The walls of the vault as `keyward status` shows them.
fn walls(machine: &Machine) -> Vec<String> {
    let status = machine.must(&["keyward", "status"]);
    let walls = status.lines().find_map(|line| line.strip_prefix("vault walls")).unwrap();
    walls.split(", ").map(|wall| wall.trim().to_owned()).collect()
}

/// Every process of the service.
fn everyone(machine: &Machine) -> Vec<String> {
    let procs = format!("/sys/fs/cgroup{}/cgroup.procs", machine.property("ControlGroup"));
    machine.must(&["cat", &procs]).lines().map(str::to_owned).collect()
}

#[test]
fn every_process_runs_as_its_own_user_without_any_capability() {
    let machine = Machine::serving(WELCOME);
    let uid = machine.must(&["id", "-u", "keyward"]);
    let uid = uid.trim();
    assert_ne!(uid, "0");
    let processes = everyone(&machine);
    assert!(processes.len() >= 2, "main and its vault at least: {processes:?}");
    for pid in &processes {
        assert_eq!(status(&machine, pid, "Uid"), [uid; 4].join(" "));
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status(&machine, pid, set), "0000000000000000", "{set} of {pid}");
        }
        assert_eq!(status(&machine, pid, "NoNewPrivs"), "1");
        assert_eq!(status(&machine, pid, "Seccomp"), "2", "a filter is in force");
    }
    let mode = |path: &str| machine.must(&["stat", "-c", "%U %a", path]).trim().to_owned();
    assert_eq!(mode("/var/lib/keyward"), "keyward 700");
    assert_eq!(mode("/var/lib/keyward/vault/master.key"), "keyward 400");
    assert_eq!(mode("/run/keyward/admin.sock"), "keyward 660");
}

#[test]
fn under_the_unit_every_wall_stands_and_nothing_is_worth_a_warning() {
    let machine = Machine::serving(WELCOME);
    let walls = walls(&machine);
    assert!(walls.len() == 7, "{walls:?}");
    let torn: Vec<&str> =
        walls.iter().filter(|wall| wall.contains('(')).map(String::as_str).collect();
    let unlimited = may_lock_all(&machine);
    if unlimited {
        assert_eq!(torn, Vec::<&str>::new());
    } else {
        let hungry = |wall: &&str| wall.starts_with("swap (") || wall.contains("KiB of");
        assert!(torn.iter().all(hungry), "{torn:?}");
    }
    // Main's own wall has nothing to say when it stands.
    let complaints = machine.must(&[
        "journalctl",
        "--no-pager",
        "--output=cat",
        "--unit=keyward",
        "--priority=warning",
    ]);
    let torn_one = |line: &str| line.contains("a wall does not stand whole");
    let ours: Vec<&str> = complaints
        .lines()
        .filter(|line| !line.contains("is a plain file") && !torn_one(line))
        .collect();
    assert_eq!(ours, Vec::<&str>::new(), "the only warning is the one about the key file");
    let told = complaints.lines().filter(|line| torn_one(line)).count();
    assert_eq!(told, torn.len(), "{complaints}");

    // The unit is all that strictness asks for, on a machine that gives what the unit says.
    machine
        .write("/etc/keyward/keyward.toml", &format!("[vault]\nrequire = \"strict\"\n{WELCOME}"));
    let said = machine.run(&["systemctl", "restart", "keyward"]);
    if unlimited {
        assert_eq!(machine.get("https://localhost/"), Ok("200".to_owned()));
    } else {
        assert_ne!(said.status, Some(0));
        assert_eq!(machine.property("ExecMainStatus"), "78");
        assert!(machine.journal().contains("the vault's swap ("), "{}", machine.journal());
    }
}

/// Whether the vault may lock all of its memory. A machine that may not raise limits itself gives
/// the container no more than it has.
fn may_lock_all(machine: &Machine) -> bool {
    let vault = machine.pids("vault");
    let limits = machine.must(&["cat", &format!("/proc/{}/limits", vault.first().unwrap())]);
    limits.lines().any(|line| line.starts_with("Max locked memory") && line.contains("unlimited"))
}

#[test]
fn an_encrypted_credential_takes_the_place_of_the_key_file() {
    let machine = Machine::installed(WELCOME);
    machine.must(&["sh", "-c", CREDENTIAL]);
    machine.must(&["systemctl", "enable", "--now", "keyward"]);
    assert_eq!(machine.get("https://localhost/"), Ok("200".to_owned()));
    assert!(
        !machine.path("/var/lib/keyward/vault/master.key").exists(),
        "a key file was made beside the credential"
    );
    // The same key opens what was sealed, also in the next life.
    let before = leaf(&machine);
    machine.must(&["systemctl", "restart", "keyward"]);
    assert_eq!(machine.get("https://localhost/"), Ok("200".to_owned()));
    assert_eq!(leaf(&machine), before, "the stored certificate is served again");
}

#[test]
fn a_vanished_credential_costs_a_pause_and_no_key() {
    let machine = Machine::installed(WELCOME);
    machine.must(&["sh", "-c", CREDENTIAL]);
    machine.must(&["systemctl", "enable", "--now", "keyward"]);
    let before = leaf(&machine);

    machine.must(&["mv", "/etc/keyward/master.cred", "/root/"]);
    assert_ne!(machine.run(&["systemctl", "restart", "keyward"]).status, Some(0));
    // systemd keeps trying, and what waits at the port is not refused.
    assert_eq!(machine.property("ExecMainStatus"), "243", "EXIT_CREDENTIALS of systemd.exec(5)");
    let waiting = machine.begin(&["curl", "-sS", "--insecure", "https://localhost/"]);
    pause(Duration::from_secs(1));
    assert!(
        !machine.path("/var/lib/keyward/vault/master.key").exists(),
        "another key was made in its place, which opens nothing"
    );

    machine.must(&["mv", "/root/master.cred", "/etc/keyward/"]);
    wait(10, "the service to come back by itself", || machine.property("ActiveState") == "active");
    assert!(waiting.wait_with_output().unwrap().status.success());
    assert_eq!(leaf(&machine), before);

    // The unit without its drop-in would start on another key: the daemon itself refuses that.
    machine.must(&["rm", "/etc/systemd/system/keyward.service.d/credential.conf"]);
    machine.must(&["systemctl", "daemon-reload"]);
    assert_ne!(machine.run(&["systemctl", "restart", "keyward"]).status, Some(0));
    assert!(!machine.path("/var/lib/keyward/vault/master.key").exists());
    assert!(machine.journal().contains("master.key"), "{}", machine.journal());
}

#[test]
fn a_key_file_where_main_can_read_it_is_worth_a_warning() {
    // Main may read /etc, and the wall cannot carve a file out of it.
    let machine = Machine::installed("");
    for (place, exposed) in [("/etc/keyward", true), ("/srv/keyward", false)] {
        let file = format!("{place}/key");
        machine.must(&[
            "sh",
            "-c",
            &format!("mkdir -p {place} && head -c 32 /dev/urandom >{file}"),
        ]);
        machine.must(&["chown", "keyward:", &file]);
        machine.must(&["chmod", "400", &file]);
        let config = format!("[vault]\nmaster_key = \"{file}\"\n{WELCOME}");
        machine.write("/etc/keyward/keyward.toml", &config);
        machine.must(&["rm", "-rf", "/var/lib/keyward"]);
        machine.must(&["systemctl", "restart", "keyward"]);
        assert_eq!(machine.get("https://localhost/"), Ok("200".to_owned()));
        let warnings = machine.must(&[
            "journalctl",
            "--no-pager",
            "--output=cat",
            "--unit=keyward",
            "--priority=warning",
        ]);
        let told = warnings.contains(&format!("{file} is within main's reach"));
        assert_eq!(told, exposed, "{file}: {warnings}");
        machine.must(&["systemctl", "stop", "keyward.service"]);
    }
}

#[test]
fn a_certificate_outlives_a_reboot_of_the_service() {
    let machine = Machine::serving(WELCOME);
    let before = leaf(&machine);
    machine.must(&["systemctl", "restart", "keyward"]);
    assert_eq!(leaf(&machine), before);
}

/// The fingerprint of the certificate that is served.
fn leaf(machine: &Machine) -> String {
    machine.must(&[
        "sh",
        "-c",
        "openssl s_client -connect localhost:443 -servername localhost </dev/null 2>/dev/null \
         | openssl x509 -noout -fingerprint -sha256",
    ])
}
