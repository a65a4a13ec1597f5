//! The ordinary life of the service: start, status, reload, stop, journal.

use std::process::Child;
use std::time::Duration;

use crate::rig::Machine;
use crate::rig::WELCOME;
use crate::rig::taking;
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

/// The origin of [`WITH_ORIGIN`]: `/slow` takes three seconds, `/slower` eight, `/stuck` an hour. It makes a file
/// when a request has reached it.
const ORIGIN: &str = r#"
import http.server, time
class Origin(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        open('/root/reached-' + self.path[1:], 'w').close()
        time.sleep({'/slow': 3, '/slower': 8, '/stuck': 3600}.get(self.path, 0))
        self.send_response(200)
        self.send_header('Content-Length', '2')
        self.end_headers()
        self.wfile.write(b'ok')
http.server.ThreadingHTTPServer(('127.0.0.1', 8080), Origin).serve_forever()
"#;

/// A site with a real origin.
const WITH_ORIGIN: &str = r#"
[[site]]
names = ["localhost"]
origin = "http://127.0.0.1:8080"
issuer = "internal"
"#;

/// A machine with one request open at the origin; what is open gets `drain` to end.
fn with_open_request(path: &str, drain: &str, drop_in: &str) -> (Machine, Child) {
    let edge = format!("[edge]\ndrain_timeout = \"{drain}\"\n");
    let machine = Machine::installed(&format!("{edge}{WITH_ORIGIN}"));
    machine.drop_in("test", drop_in);
    machine.write("/root/origin.py", ORIGIN);
    machine.must(&["systemd-run", "--unit=origin", "python3", "/root/origin.py"]);
    machine.must(&["systemctl", "enable", "--now", "keyward"]);
    wait(10, "the origin", || machine.get("https://localhost/") == Ok("200".to_owned()));
    let url = format!("https://localhost/{path}");
    let open = machine.begin(&["curl", "-sS", "--insecure", "--max-time", "60", &url]);
    let reached = machine.path(&format!("/root/reached-{path}"));
    wait(5, "the request to reach the origin", || reached.exists());
    (machine, open)
}

#[test]
fn a_stop_lets_the_open_request_finish() {
    let (machine, open) = with_open_request("slow", "30s", "");
    machine.must(&["systemctl", "stop", "keyward.service"]);
    let answer = open.wait_with_output().unwrap();
    assert!(answer.status.success(), "the open request was cut off: {answer:?}");
    assert_eq!(answer.stdout, b"ok");
    assert_eq!(machine.property("Result"), "success");
    assert_eq!(machine.property("ActiveState"), "inactive");
}

#[test]
fn neither_the_patience_of_the_unit_nor_its_watchdog_cuts_a_longer_drain_short() {
    let impatient = "[Service]\nTimeoutStopSec=2\nWatchdogSec=2\n";
    let (machine, open) = with_open_request("slower", "20s", impatient);
    machine.must(&["systemctl", "stop", "keyward.service"]);
    let answer = open.wait_with_output().unwrap();
    assert!(answer.status.success(), "the open request was cut off: {answer:?}");
    assert_eq!(machine.property("Result"), "success");
}

#[test]
fn a_stop_waits_for_a_stuck_request_only_as_long_as_the_file_says() {
    let (machine, open) = with_open_request("stuck", "6s", "");
    let took = taking(|| machine.must(&["systemctl", "stop", "keyward.service"]));
    // Six seconds of the file, long before the ninety after which systemd would kill.
    assert!(Duration::from_secs(5) < took && took < Duration::from_secs(15), "{took:?}");
    assert!(!open.wait_with_output().unwrap().status.success());
    // It ended by itself: not killed, no failure.
    assert_eq!(machine.property("Result"), "success");
    assert_eq!(machine.property("ExecMainStatus"), "0");
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
    // Whoever looks for one site finds what concerns it, and nothing else.
    let about = |site: &str| {
        let field = format!("KEYWARD_SITE={site}");
        machine.must(&["journalctl", "--no-pager", "--output=cat", "--unit=keyward", &field])
    };
    assert!(about("localhost").contains("a certificate is installed"), "{}", about("localhost"));
    assert!(!about("other.internal").contains("installed"), "{}", about("other.internal"));
}
