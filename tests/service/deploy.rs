//! A pair for a service of root's: brought by a process that the service manager starts for keyward's
//! user, in files that keyward's user cannot read, taken up by the unit, and seen.
//!
//! In the place of main stands a script, so that the other side is seen by itself; and then main.

use crate::rig::Machine;
use crate::rig::wait;

const CONFIG: &str = r#"
[[site]]
names = ["localhost"]
origin = "builtin:welcome"
issuer = "internal"

[[target]]
name = "mail"
kind = "files"
dir = "/etc/ssl/mail"
probe = "none"
reload = "unit:mail.service"

[[target]]
name = "broken"
kind = "files"
chain = "/etc/ssl/broken/chain.pem"
key = "/etc/ssl/broken/key.pem"
probe = "none"
reload = "unit:broken.service"
"#;

/// The same target for the daemon itself, which looks what is shown.
const WHOLE: &str = r#"
[[site]]
names = ["mail.internal"]
origin = "builtin:welcome"
issuer = "internal"
exportable = true

[[target]]
name = "mail"
kind = "files"
dir = "/etc/ssl/mail"
certificates = ["mail.internal"]
probe = "tls://127.0.0.1:8443"
reload = "unit:mail.service"
"#;

/// A server of root's that reads its files when it starts.
const MAIL: &str = "[Service]\nExecStart=openssl s_server -accept 8443 -quiet \
     -cert /etc/ssl/mail/current/fullchain.pem -key /etc/ssl/mail/current/privkey.pem\n";

/// One that does not take what it is given, and says so.
const BROKEN: &str =
    "[Service]\nExecStart=sleep 3600\nExecReload=sh -c 'echo no such luck; exit 1'\n";

/// Says what main says to a hand, with the target, the name, the chain (DER) and the key; prints what it
/// hears, a line of hexadecimal digits for each frame.
const MAIN: &str = r#"
import array, socket, sys
target, name, verdict = sys.argv[1], sys.argv[2], bytes([int(sys.argv[3])])
chain, key = open('/root/pair/chain.der', 'rb').read(), open('/root/pair/key.pem', 'rb').read()
def number(value):
    octets = b''
    while value > 127:
        octets, value = octets + bytes([value & 127 | 128]), value >> 7
    return octets + bytes([value])
def text(octets):
    return number(len(octets)) + octets
main = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
main.connect('/run/keyward-deploy.sock')
main.settimeout(100)
main.send(b'\0' + number(1) + text(target.encode()) + text(name.encode()) + number(1) + text(chain))
while True:
    frame, control, _, _ = main.recvmsg(131072, socket.CMSG_SPACE(4))
    print(frame.hex(), flush=True)
    for _, _, octets in control:
        end = socket.socket(fileno=array.array('i', octets)[0])
        end.sendall(key)
        end.close()
    if frame == b'\2':
        main.send(verdict)
    elif not frame or frame[0] > 2:
        if frame and frame[0] == 5:
            print(frame.decode('utf-8', 'replace'))
        break
"#;

/// `Keep` and `PutBack`, as they are written.
const KEEP: &str = "1";
const PUT_BACK: &str = "2";

fn machine() -> Machine {
    // Its state directory says whose hands these are.
    let machine = Machine::serving(CONFIG);
    machine.write("/etc/systemd/system/mail.service", MAIL);
    machine.write("/etc/systemd/system/broken.service", BROKEN);
    machine.write("/root/main.py", MAIN);
    machine.must(&["systemctl", "daemon-reload"]);
    assert_eq!(machine.must(&["systemctl", "is-active", "keyward-deploy.socket"]).trim(), "active");
    // The user keyward has to read them.
    machine.must(&["chmod", "755", "/root"]);
    machine
}

/// Makes a pair; its serial number.
fn pair(machine: &Machine, serial: &str) {
    machine.must(&["mkdir", "-p", "/root/pair"]);
    machine.must(&[
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=mail.test",
        "-addext",
        "subjectAltName=DNS:mail.test",
        "-days",
        "30",
        "-set_serial",
        serial,
        "-keyout",
        "/root/pair/key.pem",
        "-outform",
        "DER",
        "-out",
        "/root/pair/chain.der",
    ]);
    machine.must(&["chmod", "644", "/root/pair/key.pem"]);
}

fn carry(machine: &Machine, user: &str, target: &str, verdict: &str) -> String {
    let group = if user == "nobody" { "nogroup" } else { user };
    let command = ["setpriv", "--reuid", user, "--regid", group, "--clear-groups"];
    let script = ["python3", "/root/main.py", target, "mail.test", verdict];
    let said = machine.run(&[&command[..], &script[..]].concat());
    said.out + &said.err
}

fn shown(machine: &Machine) -> String {
    let script = "openssl s_client -connect 127.0.0.1:8443 </dev/null 2>/dev/null | \
                  openssl x509 -noout -serial";
    machine.run(&["sh", "-c", script]).out.trim().to_owned()
}

#[test]
fn a_pair_comes_to_a_service_of_roots_and_is_taken_up_there() {
    let machine = machine();
    pair(&machine, "17");
    let said = carry(&machine, "keyward", "mail", KEEP);
    // Ready, at the place, taking it up, placed, kept.
    assert_eq!(said.lines().collect::<Vec<_>>(), ["00", "0103", "0104", "02", "03"], "{said}");
    let key = "/etc/ssl/mail/current/privkey.pem";
    assert_eq!(machine.must(&["stat", "-L", "-c", "%U %a", key]).trim(), "root 600");
    let read = machine.run(&["setpriv", "--reuid", "keyward", "--clear-groups", "cat", key]);
    assert!(read.status != Some(0) && read.err.contains("Permission denied"), "{read:?}");
    machine.must(&["systemctl", "start", "mail"]);
    wait(60, "the service to show it", || shown(&machine) == "serial=11");

    // The next one is taken up by the service, which is restarted because it cannot be reloaded.
    pair(&machine, "18");
    let said = carry(&machine, "keyward", "mail", KEEP);
    assert!(said.ends_with("03\n"), "{said}");
    wait(60, "the service to show the next one", || shown(&machine) == "serial=12");
    pair(&machine, "19");
    let said = carry(&machine, "keyward", "mail", PUT_BACK);
    assert!(said.ends_with("04\n"), "{said}");
    wait(60, "the service to show the one before", || shown(&machine) == "serial=12");

    // What a unit says about a reload that failed is in the reason.
    machine.must(&["systemctl", "start", "broken"]);
    let said = carry(&machine, "keyward", "broken", KEEP);
    assert!(said.contains("broken.service") && said.contains("no such luck"), "{said}");
    assert!(machine.run(&["ls", "/etc/ssl/broken/key.pem"]).status != Some(0));

    // Nobody else asks.
    let said = carry(&machine, "nobody", "mail", KEEP);
    assert!(said.contains("PermissionError"), "{said}");
    let left = || machine.run(&["systemctl", "list-units", "--no-legend", "keyward-deploy@*"]).out;
    wait(60, "the processes to be gone", || left().trim().is_empty());
}

#[test]
fn the_daemon_has_each_renewal_brought_to_a_service_of_roots_and_sees_it_there() {
    let machine = Machine::installed(WHOLE);
    machine.write("/etc/systemd/system/mail.service", MAIL);
    machine.must(&["systemctl", "daemon-reload"]);
    machine.must(&["systemctl", "enable", "--now", "keyward"]);
    // In the words of the command, and of whoever asks the service.
    let verified = || {
        let told = machine.run(&["keyward", "--json", "deployments"]).out.replace(' ', "");
        let shown = shown(&machine).to_ascii_lowercase().replace("serial=", "");
        let installed = machine.run(&["keyward", "--json", "show", "mail.internal"]).out;
        let serial = format!("\"serial\":\"{shown}\"");
        let is_shown = !shown.is_empty() && installed.replace(' ', "").contains(&serial);
        (is_shown && told.contains("\"state\":\"verified\"")).then_some(shown)
    };
    // A service that is off is left so; that nobody answers is told.
    let key = "/etc/ssl/mail/current/privkey.pem";
    wait(120, "the files to be there", || machine.run(&["test", "-e", key]).status == Some(0));
    assert_eq!(machine.must(&["stat", "-L", "-c", "%U %a", key]).trim(), "root 600");
    wait(120, "it is told", || {
        machine.run(&["keyward", "deployments"]).out.contains("nobody answers")
    });
    machine.must(&["systemctl", "start", "mail"]);
    wait(120, "it is seen", || verified().is_some());
    let first = verified().unwrap();
    let main = machine.main_pid();
    machine.must(&["keyward", "renew", "mail.internal"]);
    wait(120, "its successor is brought and seen", || verified().is_some_and(|now| now != first));
    assert_eq!(machine.main_pid(), main);
    let said = machine.must(&["keyward", "events"]);
    assert!(said.contains("deployment-failed") && said.contains("deployed"), "{said}");
}
