//! A new process takes over under systemd: it becomes the main process, and nobody notices.

use std::time::Duration;

use crate::rig::Machine;
use crate::rig::pause;
use crate::rig::taking;
use crate::rig::wait;

/// Sends a chunk each second: `/N` takes N seconds.
const ORIGIN: &str = r#"
import http.server, time
class Origin(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        seconds = int(self.path[1:] or 0)
        self.send_response(200)
        self.send_header('Content-Length', str(1000 * seconds))
        self.end_headers()
        for _ in range(seconds):
            self.wfile.write(b'x' * 1000)
            self.wfile.flush()
            time.sleep(1)
http.server.ThreadingHTTPServer(('127.0.0.1', 8080), Origin).serve_forever()
"#;

const SITE: &str = r#"
[edge]
drain_timeout = "20s"

[[site]]
names = ["localhost"]
origin = "http://127.0.0.1:8080"
issuer = "internal"
"#;

fn machine() -> Machine {
    let machine = Machine::installed(SITE);
    // The watchdog looks at whichever process is the main one.
    machine.drop_in("watchdog", "[Service]\nWatchdogSec=4\n");
    machine.write("/root/origin.py", ORIGIN);
    machine.must(&["systemd-run", "--unit=origin", "python3", "/root/origin.py"]);
    machine.must(&["systemctl", "enable", "--now", "keyward"]);
    wait(20, "the origin", || machine.get("https://localhost/") == Ok("200".to_owned()));
    machine
}

fn download(machine: &Machine, seconds: u32) -> std::process::Child {
    let url = format!("https://localhost/{seconds}");
    machine.begin(&["curl", "-sS", "--insecure", "-w", "%{size_download}", "-o", "/dev/null", &url])
}

#[test]
fn upgrades_of_the_installed_program_lose_nothing_and_systemd_follows() {
    let machine = machine();
    let knocking = machine.knock();
    let open = download(&machine, 15);
    pause(Duration::from_secs(1));
    let mut mains = vec![machine.main_pid()];
    for _ in 0..3 {
        // As a package does it: another file under the name.
        machine.must(&[
            "sh",
            "-c",
            "cp /usr/bin/keyward /root/next && mv /root/next /usr/bin/keyward",
        ]);
        let said = machine.must(&["keyward", "upgrade"]);
        println!("{said}");
        wait(5, "systemd to follow", || !mains.contains(&machine.main_pid()));
        mains.push(machine.main_pid());
        assert_eq!(machine.property("ActiveState"), "active");
        assert!(machine.property("StatusText").starts_with("serving"), "the new one is heard");
    }
    let text = open.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&text.stdout), "15000", "{text:?}");
    // By now the former ones have ended and the watchdog has looked several times.
    wait(10, "the former processes to end", || machine.pids("run").len() == 1);
    assert_eq!(machine.pids("run"), [machine.main_pid()]);
    assert_eq!((machine.pids("vault").len(), machine.pids("vault-keeper").len()), (1, 1));
    let answers = machine.enough(knocking);
    let bad: Vec<&String> = answers.iter().filter(|answer| *answer != "200 0").collect();
    assert!(answers.len() > 20, "{answers:?}");
    assert_eq!(bad, Vec::<&String>::new(), "of {} requests", answers.len());
    assert_eq!(Some(&machine.main_pid()), mains.last(), "nothing was restarted");
    assert_eq!(machine.property("NRestarts"), "0");

    // It is a main process like any other: reloaded, replaced when it dies, stopped.
    machine.must(&["systemctl", "reload", "keyward"]);
    assert_eq!(Some(&machine.main_pid()), mains.last());
    machine.must(&["kill", "-KILL", &machine.main_pid()]);
    wait(10, "another main", || {
        machine.property("ActiveState") == "active" && !mains.contains(&machine.main_pid())
    });
    assert_eq!(machine.get("https://localhost/"), Ok("200".to_owned()));
}

#[test]
fn a_program_that_does_not_work_changes_nothing_and_a_stop_waits_for_former_processes() {
    let machine = machine();
    let main = machine.main_pid();
    machine.must(&["cp", "/usr/bin/keyward", "/root/good"]);
    machine.must(&[
        "sh",
        "-c",
        "echo nonsense >/root/bad && chmod 755 /root/bad && mv /root/bad /usr/bin/keyward",
    ]);
    let said = machine.run(&["/root/good", "upgrade"]);
    assert_ne!(said.status, Some(0));
    assert!(said.err.contains("this process goes on"), "{said:?}");
    assert_eq!(machine.main_pid(), main);
    assert_eq!(machine.get("https://localhost/"), Ok("200".to_owned()));
    machine.must(&["mv", "/root/good", "/usr/bin/keyward"]);

    let open = download(&machine, 8);
    pause(Duration::from_secs(1));
    machine.must(&["keyward", "upgrade"]);
    let told = machine.must(&["keyward", "status"]);
    assert!(told.contains("a former process finishes what it began"), "{told}");
    machine.must(&["systemctl", "stop", "keyward.service"]);
    let text = open.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&text.stdout), "8000", "{text:?}");
    assert_eq!(machine.property("Result"), "success");
}

/// Why there is `keyward upgrade` beside it: nobody is refused, but who is new waits.
#[test]
fn a_restart_has_new_clients_wait_for_what_is_open_and_an_upgrade_does_not() {
    let machine = machine();
    let first_byte = |before: Duration, replace: &[&str]| {
        let open = download(&machine, 7);
        pause(before);
        let replacing = machine.begin(replace);
        pause(before);
        let took = taking(|| assert_eq!(machine.get("https://localhost/"), Ok("200".to_owned())));
        let text = open.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&text.stdout), "7000", "{text:?}");
        assert!(replacing.wait_with_output().unwrap().status.success());
        took
    };
    let soon = Duration::from_millis(700);
    let upgraded = first_byte(soon, &["keyward", "upgrade"]);
    wait(10, "the former process to end", || machine.pids("run").len() == 1);
    let restarted = first_byte(soon, &["systemctl", "restart", "keyward"]);
    println!("a new client waited {upgraded:?} at an upgrade, {restarted:?} at a restart");
    assert!(upgraded < Duration::from_secs(4), "{upgraded:?}");
    assert!(
        restarted > Duration::from_secs(4) && restarted < Duration::from_secs(14),
        "{restarted:?}"
    );
}
