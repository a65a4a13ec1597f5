//! A user of the machine who may ask the packaged service for certificates: let in as long as the file
//! says so, over restarts, upgrades and reloads, and nobody else is.

use crate::rig::Machine;
use crate::rig::Said;
use crate::rig::WELCOME;
use crate::rig::wait;

const CLIENT: &str = "
[allowance]
single = 2
issuer = 'internal'

[[client]]
name = 'panel'
users = ['panel']
";

fn as_user(machine: &Machine, user: &str, command: &[&str]) -> Said {
    machine.run(&[&["runuser", "-u", user, "--", "keyward"], command].concat())
}

/// The mode of the socket, and whether `panel` and a stranger are let in.
fn door(machine: &Machine) -> (String, Option<i32>, Option<i32>) {
    let mode = machine.must(&["stat", "-c", "%a", "/run/keyward/admin.sock"]);
    let ask = |user| as_user(machine, user, &["allowance"]).status;
    (mode.trim().to_owned(), ask("panel"), ask("eve"))
}

#[test]
fn a_user_is_let_in_as_long_as_the_file_says_so_and_nobody_else_is() {
    let machine = Machine::installed(&format!("{WELCOME}{CLIENT}"));
    for user in ["panel", "eve"] {
        machine.must(&["useradd", "--create-home", user]);
    }
    machine.must(&["systemctl", "enable", "--now", "keyward"]);
    let open = ("666".to_owned(), Some(0), Some(77));
    assert_eq!(door(&machine), open);

    // A key that only its owner can read, beside its chain.
    let issue = ["issue", "one.panel.internal", "--out", "/home/panel"];
    let said = as_user(&machine, "panel", &issue);
    assert_eq!(said.status, Some(0), "{said:?}");
    let stat = "/home/panel/one.panel.internal.key";
    assert_eq!(machine.must(&["stat", "-c", "%U %a", stat]).trim(), "panel 600");
    let line = "openssl x509 -in /home/panel/one.panel.internal.crt -noout -ext subjectAltName";
    assert!(machine.must(&["sh", "-c", line]).contains("DNS:one.panel.internal"));
    let said = as_user(&machine, "panel", &["status"]);
    assert_eq!(said.status, Some(77), "the house is not a client's: {said:?}");

    // What a package does with a new version, and then a restart.
    let next = "cp /usr/bin/keyward /root/next && mv /root/next /usr/bin/keyward";
    machine.must(&["sh", "-c", next]);
    let former = machine.main_pid();
    machine.must(&["keyward", "upgrade"]);
    wait(10, "systemd to follow", || machine.main_pid() != former);
    assert_eq!(door(&machine), open, "after an upgrade");
    machine.must(&["systemctl", "restart", "keyward"]);
    assert_eq!(door(&machine), open, "after a restart");
    let said = as_user(&machine, "panel", &["list"]);
    assert!(said.out.contains("one.panel.internal") && !said.out.contains("localhost"), "{said:?}");
    let issue = ["issue", "two.panel.internal", "--no-wait"];
    assert_eq!(as_user(&machine, "panel", &issue).status, Some(0));
    let said = as_user(&machine, "panel", &["issue", "three.panel.internal"]);
    assert_eq!(said.status, Some(1), "two are free: {said:?}");
    assert!(said.err.contains("allowance") || said.err.contains("left"), "{said:?}");

    // Nobody is a client any more: the socket is the group's again.
    machine.write("/etc/keyward/keyward.toml", WELCOME);
    machine.must(&["systemctl", "reload", "keyward"]);
    wait(10, "the door to close", || door(&machine).0 == "660");
    let (_, panel, eve) = door(&machine);
    assert_eq!((panel, eve), (Some(77), Some(77)));
    // An operator sees what was issued for it, and the books.
    let said = machine.must(&["keyward", "list"]);
    assert!(said.contains("localhost"), "{said}");
    let said = machine.must(&["keyward", "ledger", "panel"]);
    assert!(said.contains("consumed") && said.contains("one.panel.internal"), "{said}");
}
