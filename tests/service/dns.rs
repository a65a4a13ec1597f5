//! Proofs by DNS under the packaged unit, where a program of the operator's sets the records, and a name
//! that was onboarded, over restarts.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Child;

use crate::pebble::binary;
use crate::pebble::make_certificates;
use crate::rig::Machine;
use crate::rig::wait;

/// The CA, the DNS server that everybody asks, and where that is told what to answer.
const CONFIG: &str = r#"
[acme]
directory = "https://127.0.0.1:14000/dir"
ca_root = "/etc/keyward/ca.pem"
accept_terms = true
name_servers = ["127.0.0.1:8053"]

[[dns]]
provider = "exec"
zones = ["corp.example"]
servers = ["127.0.0.1:8053"]
with = { program = "/usr/local/bin/hook" }

[[site]]
names = ["*.corp.example"]
origin = "builtin:welcome"
issuer = "acme"

[onboarding]
target = "edge.host.example"
origin = "http://127.0.0.1:9"
name_servers = ["127.0.0.1:8053"]
hold = "60s"
issuer = "acme"
"#;

/// As lego calls it. It may tell the DNS server, and tells it as well what it can read of the keys.
const HOOK: &str = r#"#!/bin/sh
tell() { /usr/bin/curl -sS --fail -d "$2" "http://127.0.0.1:8055/$1"; }
for key in /var/lib/keyward/vault/master.key /var/lib/keyward/store/*; do
    /bin/cat "$key" >/dev/null 2>&1 && tell set-txt '{"host": "stolen.example.", "value": "x"}'
done
case "$1" in
present) tell set-txt "{\"host\": \"$2\", \"value\": \"$3\"}" ;;
cleanup) tell clear-txt "{\"host\": \"$2\"}" ;;
esac
"#;

const PEBBLE: &str = r#"{"pebble": {
    "listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
    "certificate": "/opt/ca/server.pem", "privateKey": "/opt/ca/server.key",
    "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "",
    "retryAfter": {"authz": 1, "order": 1}, "keyAlgorithm": "ecdsa",
    "profiles": {"default": {"description": "default", "validityPeriod": 7776000}}
}}"#;

const ROOT: &str = "/opt/ca/root.pem";
const PATIENCE: u64 = 300;

/// Puts a Pebble and its DNS server into the machine, and waits until both answer.
fn ca(machine: &Machine) -> [Child; 2] {
    let dir = machine.path("/opt/ca");
    std::fs::create_dir_all(&dir).unwrap();
    make_certificates(&dir);
    for name in ["pebble", "pebble-challtestsrv"] {
        std::fs::copy(binary(name), dir.join(name)).unwrap();
    }
    machine.write("/opt/ca/pebble.json", PEBBLE);
    let began = [
        "exec /opt/ca/pebble-challtestsrv -http01 '' -https01 '' -tlsalpn01 '' -doh '' \
         -dnsserver 127.0.0.1:8053 -management 127.0.0.1:8055 -defaultIPv4 127.0.0.1 \
         -defaultIPv6 '' >/opt/ca/dns.log 2>&1",
        "PEBBLE_VA_NOSLEEP=1 exec /opt/ca/pebble -config /opt/ca/pebble.json \
         -dnsserver 127.0.0.1:8053 >/opt/ca/pebble.log 2>&1",
    ]
    .map(|line| machine.begin(&["sh", "-c", line]));
    wait(PATIENCE, "the CA to answer", || {
        let url = "https://127.0.0.1:15000/roots/0";
        machine.run(&["curl", "-sS", "--fail", "--insecure", "-o", ROOT, url]).status == Some(0)
    });
    began
}

fn log(machine: &Machine, name: &str) -> String {
    std::fs::read_to_string(machine.path("/opt/ca").join(name)).unwrap()
}

fn orders(machine: &Machine) -> usize {
    log(machine, "pebble.log").matches("Added order ").count()
}

/// A verified request for the host `name`: the status, or curl's exit code.
fn visit(machine: &Machine, name: &str) -> Result<String, i32> {
    let place = format!("{name}:443:127.0.0.1");
    let url = format!("https://{name}/");
    machine.curl(&["--max-time", "100", "--cacert", ROOT, "--resolve", &place, &url])
}

/// The fingerprint of the certificate that is served for `name`.
fn leaf(machine: &Machine, name: &str) -> String {
    let line = format!(
        "openssl s_client -connect localhost:443 -servername {name} </dev/null 2>/dev/null \
         | openssl x509 -noout -fingerprint -sha256"
    );
    machine.must(&["sh", "-c", &line])
}

#[test]
fn a_program_proves_a_wildcard_and_an_onboarded_name_is_there_after_each_restart() {
    let machine = Machine::installed(CONFIG);
    let _ca = ca(&machine);
    machine.must(&["cp", "/opt/ca/ca.pem", "/etc/keyward/ca.pem"]);
    machine.must(&["chmod", "644", "/etc/keyward/ca.pem"]);
    machine.write("/usr/local/bin/hook", HOOK);
    let hook = machine.path("/usr/local/bin/hook");
    std::fs::set_permissions(hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    machine.must(&["systemctl", "enable", "--now", "keyward"]);

    wait(PATIENCE, "the wildcard to be served", || {
        visit(&machine, "any.corp.example") == Ok("200".to_owned())
    });
    let has = |what: &str| {
        let mut lines = log(&machine, "dns.log").lines().map(str::to_owned).collect::<Vec<_>>();
        lines.retain(|line| line.contains("\"_acme-challenge.corp.example.\""));
        lines.iter().any(|line| line.contains(what) && line.contains("TXT"))
    };
    wait(PATIENCE, "the record to be removed", || has("Removed "));
    let told = log(&machine, "dns.log");
    assert!(has("Added "), "{told}");
    assert!(!told.contains("stolen"), "the program can read the keys: {told}");
    assert_eq!(machine.pids("dns-porter").len(), 1, "{}", machine.journal());
    assert_eq!(orders(&machine), 1);

    // A name that is in no file.
    let name = "www.shop.example";
    let alias = format!("{{\"host\": \"{name}\", \"target\": \"edge.host.example\"}}");
    machine.must(&["curl", "-sS", "--fail", "-d", &alias, "http://127.0.0.1:8055/set-cname"]);
    assert_eq!(visit(&machine, name), Ok("502".to_owned()), "{}", machine.journal());
    assert_eq!(orders(&machine), 2);
    let before = [leaf(&machine, name), leaf(&machine, "any.corp.example")];

    // Neither a restart nor a kill costs its visitors anything, or an order.
    let main = machine.main_pid();
    machine.must(&["systemctl", "restart", "keyward"]);
    assert_eq!(visit(&machine, name), Ok("502".to_owned()), "{}", machine.journal());
    assert_ne!(machine.main_pid(), main);
    machine.must(&["kill", "-KILL", &machine.main_pid()]);
    wait(PATIENCE, "it to be served again", || visit(&machine, name) == Ok("502".to_owned()));
    assert_eq!([leaf(&machine, name), leaf(&machine, "any.corp.example")], before);
    assert_eq!(orders(&machine), 2);
    // The program is called in the next life as well.
    machine.must(&["keyward", "renew", "*.corp.example", "--wait"]);
    assert_eq!(orders(&machine), 3);
    assert_ne!(leaf(&machine, "any.corp.example"), before[1]);
}
