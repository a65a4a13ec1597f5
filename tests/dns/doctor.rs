//! `keyward doctor`, in a network of its own where names, ports and servers are where the world has them.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;

use crate::daemon::Said;
use crate::scene::Scene;

/// Set where the network is one's own.
const ROLE: &str = "KEYWARD_TEST_OPEN_NETWORK";

/// Runs the test of that name again in a network that nobody else has, with 203.0.113.9 nowhere; whether
/// this is that run.
pub(crate) fn in_a_network_of_its_own(test: &str) -> bool {
    if std::env::var_os(ROLE).is_some() {
        return true;
    }
    let output = Command::new("unshare")
        .args(["--net", "--map-root-user", "sh", "-c"])
        .arg("ip link set lo up && exec \"$0\" \"$@\"")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--test-threads=1", "--nocapture", test])
        .env(ROLE, "1")
        .output()
        .expect("unshare is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    let erred = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{erred}");
    false
}

const ABOVE: &str = "corp NS ns.corp.example.\nns.corp A 127.0.0.1\n";

const RECORDS: &str = "\
    shop A 127.0.0.1\n\
    www CNAME shop\n\
    dangling CNAME nowhere\n\
    away A 203.0.113.9\n\
    other A 127.0.0.9\n\
    strange A 127.0.0.7\n\
    closed A 127.0.0.8\n\
    forbidden A 127.0.0.1\nforbidden CAA 0 issue \"other.example\"\n\
    below.forbidden A 127.0.0.1\n\
    bound A 127.0.0.1\nbound CAA 0 issue \"pebble.letsencrypt.org; validationmethods=dns-01\"\n\
    owned A 127.0.0.1\n\
    owned CAA 0 issue \"pebble.letsencrypt.org; accounturi=https://e.example/1\"\n\
    mine A 127.0.0.1\nmine CAA 0 issue \"pebble.letsencrypt.org\"\n\
    wild A 127.0.0.1\nwild CAA 0 issue \"pebble.letsencrypt.org\"\nwild CAA 0 issuewild \";\"\n";

/// What was found of one thing: the finding, and what was seen with what to change.
fn found(doctor: &Value, what: &str) -> (String, String) {
    let checks = doctor["checks"].as_array().unwrap();
    let one = checks.iter().find(|check| check["what"] == what);
    let one = one.unwrap_or_else(|| panic!("{what}: {doctor:#}"));
    let text = format!("{} | {}", one["seen"].as_str().unwrap(), one["change"]);
    (one["finding"].as_str().unwrap().to_owned(), text)
}

/// Somebody else's server at 127.0.0.7, who shakes hands for every name.
fn stranger() {
    let pair = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["strange.example".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "a stranger");
    let leaf = params.self_signed(&pair).unwrap().der().clone();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(pair.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(keyward::base::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf], key.into())
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.7:443").unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            while tls.is_handshaking() && tls.complete_io(&mut stream).is_ok() {}
        }
    });
}

fn examined(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:#?}"))
}

#[test]
fn everything_that_an_order_depends_on_is_looked_at_and_what_is_wrong_is_named() {
    let test =
        "doctor::everything_that_an_order_depends_on_is_looked_at_and_what_is_wrong_is_named";
    if !in_a_network_of_its_own(test) {
        return;
    }
    let mut scene = Scene::in_the_open(&[("example", ABOVE), ("corp.example", RECORDS)]);
    scene.configure(&Scene::site(&["shop.corp.example"], ""));
    scene.keyward.start();
    let serial = scene.keyward.wait_issued("shop.corp.example")["installed"]["serial"].clone();
    let keyward = &scene.keyward;
    let ask = |name: &str| keyward.cli(&["doctor", name, "--json"]);

    // All is well: the port is this daemon's, and shows what it should.
    let said = ask("shop.corp.example");
    let doctor = examined(&said);
    assert!(said.status.success() && doctor["finding"] == "ok", "{doctor:#}");
    for (what, part) in [
        ("ca", "is called pebble.letsencrypt.org"),
        ("clock", " s "),
        ("account", "https://127.0.0.1:"),
        ("budget", "within its rate limits"),
        ("address", "shop.corp.example: 127.0.0.1, by the word of 127.0.0.1:53"),
        ("resolver", "says the same"),
        ("caa", "no CAA record"),
        ("port-80", "answered what this daemon had just made"),
        ("port-443", serial.as_str().unwrap()),
    ] {
        let (finding, text) = found(&doctor, what);
        assert!(finding == "ok" && text.contains(part), "{what}: {finding} {text}");
    }
    // In words as well.
    let told = keyward.cli(&["doctor", "shop.corp.example"]).ok();
    assert!(told.contains("0 problems, 0 warnings") && told.contains("no firewall"), "{told}");

    // Aliases are shown, and a name that no site has is examined as well.
    let doctor = examined(&ask("www.corp.example"));
    let (_, text) = found(&doctor, "address");
    assert!(text.contains("www.corp.example -> shop.corp.example: 127.0.0.1"), "{text}");

    // Somebody else's server, and nobody's.
    let other = TcpListener::bind("127.0.0.9:80").unwrap();
    std::thread::spawn(move || {
        for mut stream in other.incoming().flatten() {
            let _asked = stream.read(&mut [0; 1024]);
            let answer = "HTTP/1.1 404 Not Found\r\nServer: elsewhere\r\nContent-Length: 0\r\n\r\n";
            let _gone = stream.write_all(answer.as_bytes());
        }
    });
    stranger();
    for (name, what, finding, part) in [
        ("strange.corp.example", "port-443", "problem", "showed a certificate of CN=a stranger"),
        ("other.corp.example", "port-80", "problem", "404 Not Found\", by elsewhere"),
        ("other.corp.example", "port-443", "problem", "nobody answers at an address of this"),
        ("closed.corp.example", "port-80", "problem", "nobody answers at an address of this"),
        ("away.corp.example", "address", "warning", "none is an address of this machine"),
        ("away.corp.example", "port-80", "warning", "look from elsewhere"),
        ("gone.corp.example", "address", "problem", "does not exist in corp.example"),
        ("dangling.corp.example", "address", "problem", "nowhere.corp.example does not exist"),
        ("forbidden.corp.example", "caa", "problem", "records at forbidden.corp.example forbid"),
        ("below.forbidden.corp.example", "caa", "problem", "they have \"other.example\""),
        ("bound.corp.example", "caa", "problem", "validationmethods=dns-01 admits none of"),
        ("owned.corp.example", "caa", "problem", "is not the account here, https://127.0.0.1:"),
        ("mine.corp.example", "caa", "ok", "the records at mine.corp.example let this CA sign"),
        ("wild.corp.example", "caa", "ok", "the records at wild.corp.example let this CA sign"),
        ("*.wild.corp.example", "caa", "problem", "they have \";\""),
        ("*.corp.example", "dns-account", "problem", "add a [[dns]] account"),
    ] {
        let said = ask(name);
        let doctor = examined(&said);
        let (found, text) = found(&doctor, what);
        assert!(found == finding && text.contains(part), "{name} {what}: {found} {text}");
        let problem = doctor["finding"] == "problem";
        assert_eq!(said.status.code(), Some(i32::from(problem)), "{name}: {doctor:#}");
    }

    // A name that no site has is refused at the door, and it is seen whose door that is.
    let (finding, text) = found(&examined(&ask("mine.corp.example")), "port-443");
    assert!(finding == "ok" && text.contains("is this daemon, and refused a handshake"), "{text}");
    // Nothing that was put there is left, and no order was opened for any of it.
    assert_eq!(scene.pebble.orders(), 1, "{}", scene.pebble.output());
}
