//! The ordinary life of the service: start, status, reload, stop, journal.

use std::io::Read;

use crate::rig::Machine;
use crate::rig::WELCOME;
use crate::rig::wait;

#[test]
fn enable_and_start_is_all_it_takes_to_serve_https() {
    let machine = Machine::serving(WELCOME);
    assert_eq!(machine.property("ActiveState"), "active");
    assert_eq!(machine.property("SubState"), "running");
    // `systemctl start` returned because the service said READY=1; it serves from that moment on.
    assert_eq!(machine.get("https://localhost/"), Ok("200".to_owned()));
    assert_eq!(machine.get("http://localhost/"), Ok("308".to_owned()));
    assert!(!machine.property("StatusText").is_empty(), "systemctl status tells the state");
    let status = machine.must(&["keyward", "status"]);
    let list = machine.must(&["keyward", "list"]);
    assert!(list.contains("localhost"), "{list}\n{status}");

    // A client that trusts the house's own root needs no --insecure.
    let root = machine.must(&["keyward", "trust", "--print"]);
    machine.write("/root/keyward-root.pem", &root);
    assert_eq!(
        machine.curl(&["--cacert", "/root/keyward-root.pem", "https://localhost/"]),
        Ok("200".to_owned())
    );
}

#[test]
fn a_reload_adds_and_removes_a_site_and_touches_nothing_else() {
    let machine = Machine::serving(WELCOME);
    let main = machine.main_pid();
    let added = format!("{WELCOME}\n{}", WELCOME.replace("localhost", "shop.internal"));
    machine.write("/etc/keyward/keyward.toml", &added);
    machine.must(&["systemctl", "reload", "keyward"]);
    let shop = ["--insecure", "--resolve", "shop.internal:443:127.0.0.1", "https://shop.internal/"];
    wait(10, "the added site", || machine.curl(&shop) == Ok("200".to_owned()));
    assert_eq!(machine.get("https://localhost/"), Ok("200".to_owned()));

    machine.write("/etc/keyward/keyward.toml", WELCOME);
    machine.must(&["systemctl", "reload", "keyward"]);
    wait(10, "the removed site to be gone", || machine.curl(&shop) != Ok("200".to_owned()));
    assert_eq!(machine.get("https://localhost/"), Ok("200".to_owned()));
    assert_eq!(machine.main_pid(), main, "no restart was needed");
    assert_eq!(machine.property("NRestarts"), "0");
}

#[test]
fn a_broken_file_fails_the_reload_and_changes_nothing() {
    let machine = Machine::serving(WELCOME);
    let main = machine.main_pid();
    let broken = format!("{WELCOME}\nunheard_of = true\n");
    machine.write("/etc/keyward/keyward.toml", &broken);
    let said = machine.run(&["systemctl", "reload", "keyward"]);
    assert_ne!(said.status, Some(0), "a broken file must not look like a success");
    assert!(machine.journal().contains("unheard_of"), "{}", machine.journal());

    // Whoever sends the signal without asking first is told by the daemon itself.
    let before = machine.journal().matches("unheard_of").count();
    machine.must(&["kill", "-HUP", &main]);
    wait(10, "the daemon to say what is wrong", || {
        machine.journal().matches("unheard_of").count() > before
    });
    assert_eq!(machine.property("ActiveState"), "active");
    assert_eq!(machine.main_pid(), main);
    assert_eq!(machine.get("https://localhost/"), Ok("200".to_owned()));
}

#[test]
fn a_stop_lets_the_open_request_finish() {
    let config = r#"
[[site]]
names = ["localhost"]
origin = "http://127.0.0.1:8080"
issuer = "internal"
"#;
    let machine = Machine::installed(config);
    // An origin that takes three seconds for each answer.
    machine.write(
        "/root/origin.py",
        "import http.server, time\n\
         class Slow(http.server.BaseHTTPRequestHandler):\n\
         \x20   def do_GET(self):\n\
         \x20       time.sleep(3)\n\
         \x20       self.send_response(200)\n\
         \x20       self.send_header('Content-Length', '2')\n\
         \x20       self.end_headers()\n\
         \x20       self.wfile.write(b'ok')\n\
         http.server.ThreadingHTTPServer(('127.0.0.1', 8080), Slow).serve_forever()\n",
    );
    machine.must(&["systemd-run", "--unit=origin", "python3", "/root/origin.py"]);
    machine.must(&["systemctl", "enable", "--now", "keyward"]);
    wait(10, "the origin", || machine.get("https://localhost/") == Ok("200".to_owned()));

    let mut open = machine.begin(&["curl", "-sS", "--insecure", "https://localhost/"]);
    // The request has to be at the origin before the stop begins.
    wait(5, "the request to reach the origin", || {
        let said = machine.must(&["journalctl", "--no-pager", "--unit=origin", "--output=cat"]);
        let connections = machine.must(&["cat", "/proc/net/tcp"]);
        !said.contains("Traceback") && connections.lines().any(established_at_origin)
    });
    machine.must(&["systemctl", "stop", "keyward"]);
    let mut body = String::new();
    open.stdout.take().unwrap().read_to_string(&mut body).unwrap();
    assert!(open.wait().unwrap().success(), "the open request was cut off");
    assert_eq!(body, "ok");
    assert_eq!(machine.property("Result"), "success");
    assert_eq!(machine.property("ActiveState"), "inactive");
}

/// Whether a line of /proc/net/tcp shows a connection to port 8080 (0x1F90) that is established.
fn established_at_origin(line: &str) -> bool {
    let mut columns = line.split_whitespace().skip(2);
    columns.next().is_some_and(|remote| remote.ends_with(":1F90")) && columns.next() == Some("01")
}

#[test]
fn a_broken_file_at_the_start_is_reported_and_not_tried_again() {
    let machine = Machine::installed("[[site]]\nnames = []\n");
    let said = machine.run(&["systemctl", "start", "keyward"]);
    assert_ne!(said.status, Some(0));
    wait(10, "the service to give up", || machine.property("ActiveState") == "failed");
    assert_eq!(machine.property("ExecMainStatus"), "78", "EX_CONFIG of sysexits.h");
    assert_eq!(machine.property("NRestarts"), "0");
    assert!(machine.journal().contains("keyward.toml"), "{}", machine.journal());
}

#[test]
fn the_journal_has_fields_and_levels_rather_than_lines_of_text() {
    let machine = Machine::serving(WELCOME);
    wait(10, "a line with fields of its own", || {
        let lines = machine.must(&[
            "journalctl",
            "--no-pager",
            "--output=json",
            "--unit=keyward",
            "_TRANSPORT=journal",
            "SYSLOG_IDENTIFIER=keyward",
        ]);
        lines.lines().any(|line| {
            ["\"PRIORITY\"", "\"MESSAGE\"", "\"TARGET\"", "\"KEYWARD_"]
                .iter()
                .all(|field| line.contains(field))
        })
    });
}
