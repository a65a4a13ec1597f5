//! What certbot, lego and Caddy have ordered themselves, and stores as acme.sh and Traefik lay them
//! out, are taken over: shown first, then served, and nothing in them is changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::daemon::free_port;
use crate::daemon::run;
use crate::pebble::Pebble;
use crate::pebble::Settings;

const SOON: Duration = Duration::from_secs(60);

/// Every file below `dir` with what is in it, and where links lead.
pub(crate) fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let kind = path.symlink_metadata().unwrap().file_type();
        if kind.is_symlink() {
            let to = fs::read_link(&path).unwrap();
            found.insert(path, to.into_os_string().into_encoded_bytes());
        } else if kind.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// certbot orders a certificate with two names.
pub(crate) fn certbot(pebble: &Pebble, port: u16, store: &Path) {
    let dir = store.parent().unwrap();
    let said = run(Command::new("certbot")
        .args(["certonly", "--standalone", "--non-interactive", "--agree-tos", "--no-verify-ssl"])
        .args(["-m", "ops@example.org", "-d", "bot.example", "-d", "www.bot.example"])
        .args(["--http-01-address", "127.0.0.1", "--http-01-port", &port.to_string()])
        .args(["--server", &pebble.directory()])
        .args(["--config-dir", store.to_str().unwrap()])
        .args(["--work-dir", dir.join("work").to_str().unwrap()])
        .args(["--logs-dir", dir.join("logs").to_str().unwrap()])
        // Its warnings about a CA that nobody checks.
        .env("PYTHONWARNINGS", "ignore"));
    assert!(said.status.success(), "{said:?}");
}

pub(crate) fn lego(pebble: &Pebble, port: u16, store: &Path) {
    let said = run(Command::new("lego")
        .env("LEGO_CA_CERTIFICATES", pebble.ca_root())
        .args(["--server", &pebble.directory(), "--accept-tos", "--email", "ops@example.org"])
        .args(["--path", store.to_str().unwrap(), "--domains", "lego.example"])
        .args(["--http", "--http.port", &format!("127.0.0.1:{port}"), "run"]));
    assert!(said.status.success(), "{said:?}");
}

/// Caddy runs until it has a certificate of the CA and one of its own.
pub(crate) fn caddy(pebble: &Pebble, (http, https): (u16, u16), home: &Path) -> PathBuf {
    let file = home.join("Caddyfile");
    let (directory, root) = (pebble.directory(), pebble.ca_root());
    fs::write(
        &file,
        format!(
            "{{\n admin off\n skip_install_trust\n http_port {http}\n https_port {https}\n \
             acme_ca {directory}\n acme_ca_root {}\n}}\n\
             caddy.example {{\n respond \"ok\"\n}}\nown.example {{\n tls internal\n respond \"ok\"\n}}\n",
            root.display()
        ),
    )
    .unwrap();
    let (store, log) = (home.join(".local/share/caddy"), home.join("caddy.log"));
    // This Caddy gives up for a minute when Retry-After is a date, as it is with every other Pebble.
    for _ in 0..20 {
        let mut caddy = Command::new("caddy")
            .args(["run", "--adapter", "caddyfile", "--config", file.to_str().unwrap()])
            .env("HOME", home)
            .env_remove("XDG_DATA_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .expect("caddy is installed");
        let done = eventually("Caddy has both certificates, or gives up", SOON, || {
            let found = if store.is_dir() { contents(&store) } else { BTreeMap::new() };
            let has = |end: &str| found.keys().any(|path| path.ends_with(end));
            let both = has("caddy.example/caddy.example.json")
                && has("local/own.example/own.example.json");
            let gave_up = fs::read_to_string(&log).unwrap().contains("invalid Retry-After");
            (both || gave_up).then_some(both)
        });
        caddy.kill().unwrap();
        caddy.wait().unwrap();
        if done {
            return store;
        }
    }
    panic!("Caddy got no certificate:\n{}", fs::read_to_string(&log).unwrap());
}

/// A certificate of somebody's for `name` that is good until this year, and its key, PEM.
fn made(name: &str, until: i32) -> (String, String) {
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let pair = rcgen::KeyPair::generate().unwrap();
    (params.self_signed(&pair).unwrap().pem(), pair.serialize_pem())
}

/// As acme.sh lays it out: one lineage that is good, one that was never finished, and one whose
/// key belongs to another certificate.
fn acme_sh(store: &Path) {
    for (dir, title, key_of) in
        [("sh.example_ecc", "sh.example", true), ("torn.example", "torn.example", false)]
    {
        let dir = store.join(dir);
        fs::create_dir_all(&dir).unwrap();
        let (chain, key) = made(title, 2090);
        let key = if key_of { key } else { made(title, 2090).1 };
        fs::write(dir.join(format!("{title}.conf")), format!("Le_Domain='{title}'\n")).unwrap();
        fs::write(dir.join("fullchain.cer"), chain).unwrap();
        fs::write(dir.join(format!("{title}.key")), key).unwrap();
    }
    let pending = store.join("pending.example_ecc");
    fs::create_dir_all(&pending).unwrap();
    fs::write(pending.join("pending.example.conf"), "Le_Domain='pending.example'\n").unwrap();
}

/// As Traefik writes it, with two certificates for one name and a resolver that has none yet.
fn traefik(file: &Path) {
    let entry = |name: &str, until| {
        let (chain, key) = made(name, until);
        serde_json::json!({
            "domain": { "main": name },
            "certificate": STANDARD.encode(chain),
            "key": STANDARD.encode(key),
            "Store": "default",
        })
    };
    let account = serde_json::json!({ "Email": "ops@example.org", "KeyType": "4096" });
    let text = serde_json::json!({
        "le": { "Account": account, "Certificates": [entry("tra.example", 2080), entry("tra.example", 2085)] },
        "later": { "Account": null, "Certificates": null },
    });
    fs::write(file, text.to_string()).unwrap();
}

fn serial(chain: &Path) -> String {
    keyward::cert::chain::Chain::from_pem(&fs::read(chain).unwrap()).unwrap().leaf().unwrap().serial
}

#[test]
fn what_five_other_tools_keep_is_shown_then_served_and_left_as_it_was() {
    let (http, https) = (free_port(), free_port());
    let pebble = Pebble::start(Settings::new(http, https));
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (bot, le, sh, tra) = (at("letsencrypt"), at("lego"), at("acme.sh"), at("acme.json"));
    certbot(&pebble, http, &bot);
    lego(&pebble, http, &le);
    let cad = caddy(&pebble, (http, https), dir.path());
    acme_sh(&sh);
    traefik(&tra);
    let before = contents(dir.path());

    let sites: String = ["bot.example", "lego.example", "sh.example"]
        .map(|name| {
            format!(
                "[[site]]\nnames = [\"{name}\"]\norigin = \"http://127.0.0.1:9\"\nissuer = \"internal\"\n"
            )
        })
        .concat();
    let mut keyward = Keyward::new("", &sites);
    let stores = [&bot, &le, &cad, &sh, &tra].map(|store| store.to_str().unwrap());
    let with = |more: &[&'static str]| -> Vec<_> {
        ["adopt"].into_iter().chain(stores).chain(more.iter().copied()).collect()
    };
    // To look, nothing needs to run.
    let said = keyward.cli(&with(&[]));
    let text = said.ok();
    println!("{text}");
    assert!(text.contains("what is here already: keyward is not running"), "{text}");
    assert!(text.contains("try: systemctl status keyward"), "{text}");
    assert!(keyward.cli(&with(&["--apply"])).status.code() == Some(69));
    keyward.start();
    keyward.wait_issued("lego.example");
    let text = keyward.cli(&with(&[])).ok();
    for words in [
        "bot.example www.bot.example",
        "Caddy's own CA",
        "torn.example",
        "the key does not belong to the certificate",
        "5 certificates to take over",
        "names = [\"caddy.example\"]",
    ] {
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("names = [\"sh.example\"]"), "it has a site: {text}");
    assert!(!text.contains("pending.example"), "{text}");
    let shown = keyward.cli(&with(&["--json"])).json();
    let of = |name: &str, shown: &serde_json::Value| -> Vec<serde_json::Value> {
        let all = shown.as_array().unwrap().iter();
        all.filter(|one| one["names"][0] == name).cloned().collect()
    };
    for (name, tool) in [
        ("bot.example", "certbot"),
        ("lego.example", "lego"),
        ("caddy.example", "Caddy"),
        ("sh.example", "acme.sh"),
    ] {
        let found = of(name, &shown);
        assert_eq!(found.len(), 1, "{shown:#}");
        assert_eq!(found[0]["tool"], tool);
        assert_eq!(found[0]["outcome"], "to-take-over", "{shown:#}");
    }
    let twice = of("tra.example", &shown);
    let outcomes: Vec<_> = twice.iter().map(|one| one["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["left", "to-take-over"], "the one that is good for longer: {shown:#}");
    let list = keyward.cli(&["list", "--json"]).json();
    assert_eq!(list["certificates"].as_array().unwrap().len(), 3, "nothing was done yet: {list:#}");

    let said = keyward.cli(&with(&["--apply"]));
    assert!(said.status.success(), "{said:?}");
    assert!(said.err.contains("certbot goes on renewing"), "{}", said.err);
    let bots = bot.join("live/bot.example/fullchain.pem");
    for (name, chain) in [
        ("bot.example", bots),
        ("lego.example", le.join("certificates/lego.example.crt")),
        ("sh.example", sh.join("sh.example_ecc/fullchain.cer")),
    ] {
        let wanted = serial(&chain);
        eventually(name, SOON, || keyward.served_serial(name).filter(|found| *found == wanted));
    }
    let shown = keyward.cli(&with(&["--json"])).json();
    for name in ["bot.example", "lego.example", "caddy.example", "sh.example"] {
        assert_eq!(of(name, &shown)[0]["outcome"], "here", "{shown:#}");
    }
    assert!(contents(dir.path()) == before, "a store was changed");

    let said = keyward.cli(&["adopt", dir.path().to_str().unwrap()]);
    assert_eq!(said.status.code(), Some(1));
    assert!(
        said.err.contains("no store of certbot, acme.sh, Caddy, Traefik, lego"),
        "{}",
        said.err
    );
}
