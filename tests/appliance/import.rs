//! Certificates that are brought: served, succeeded, handed out and taken away, without the
//! private key ever being in the process that talks to the network.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::daemon::run;
use crate::origin::Origin;
use crate::scan;
use crate::scan::Needles;

struct Bringer {
    keyward: Keyward,
    ca: rcgen::Issuer<'static, rcgen::KeyPair>,
    _origin: Origin,
}

struct Files {
    cert: PathBuf,
    key: PathBuf,
    serial: String,
    /// The private half as a number: what must not be found in memory.
    scalar: Vec<u8>,
}

impl Bringer {
    /// A keyward with one site of the internal CA, and a CA of somebody else.
    fn start(name: &str) -> Self {
        Self::start_with(name, "")
    }

    /// The same with more lines about the site.
    fn start_with(name: &str, more: &str) -> Self {
        let origin = Origin::start();
        let address = origin.address;
        let site =
            format!("[[site]]\nnames = [\"{name}\"]\norigin = \"http://{address}\"\n{more}\n");
        let mut keyward = Keyward::new("", &site);
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Somebody else");
        let key = rcgen::KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().pem();
        fs::write(keyward.dir.path().join("root.pem"), root).unwrap();
        let ca = rcgen::Issuer::new(params, key);
        keyward.start();
        eventually("the site is served", Duration::from_secs(20), || keyward.served_serial(name));
        Self { keyward, ca, _origin: origin }
    }

    fn root(&self) -> PathBuf {
        self.keyward.dir.path().join("root.pem")
    }

    /// A certificate for `name` as files, with its key in the form that openssl calls
    /// traditional.
    fn files(&self, name: &str, stem: &str) -> Files {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2090, 1, 1);
        let pair = rcgen::KeyPair::generate().unwrap();
        let made = params.signed_by(&pair, &self.ca).unwrap();
        let dir = self.keyward.dir.path();
        let (cert, key) = (dir.join(format!("{stem}.crt")), dir.join(format!("{stem}.key")));
        fs::write(&cert, made.pem()).unwrap();
        fs::write(&key, pair.serialize_pem()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let chain = keyward::cert::chain::Chain::from_pem(made.pem().as_bytes()).unwrap();
        let serial = chain.leaf().unwrap().serial;
        Files { cert, key, serial, scalar: scan::p256_scalar(&pair.serialize_der()) }
    }

    fn import(&self, files: &Files, more: &[&str]) -> crate::daemon::Said {
        let (cert, key) = (files.cert.to_str().unwrap(), files.key.to_str().unwrap());
        let mut arguments = vec!["import", "--cert", cert, "--key", key];
        arguments.extend(more);
        self.keyward.cli(&arguments)
    }

    fn served(&self, name: &str) -> String {
        self.keyward.served_serial(name).unwrap_or_default()
    }

    fn wait_served(&self, name: &str, serial: &str) {
        eventually("it is served", Duration::from_secs(10), || {
            (self.served(name) == serial).then_some(())
        });
    }
}

#[test]
fn an_imported_certificate_is_served_succeeded_and_forgotten() {
    let name = "shop.internal";
    let bringer = Bringer::start(name);
    let own = bringer.served(name);
    let first = bringer.files(name, "first");
    let said = bringer.import(&first, &[name]).ok();
    assert!(said.starts_with("imported shop.internal, id "), "{said}");
    assert!(said.contains("does not trust the chain"), "{said}");
    bringer.wait_served(name, &first.serial);
    assert_eq!(bringer.keyward.curl(&bringer.root(), name, "/", &[]).ok(), "ok");
    // The site's own is kept beside it, and both are listed.
    let list = bringer.keyward.cli(&["list"]).ok();
    assert!(list.contains("shop.internal (imported)") && list.lines().count() == 3, "{list}");
    assert!(bringer.keyward.cli(&["status"]).ok().contains("2 served (1 imported)"));
    let second = bringer.files(name, "second");
    let said = bringer.import(&second, &[]).ok();
    assert!(said.starts_with("replaced shop.internal"), "{said}");
    bringer.wait_served(name, &second.serial);
    let list = bringer.keyward.cli(&["list"]).ok();
    assert_eq!(list.lines().count(), 3, "{list}");
    let events = bringer.keyward.cli(&["events"]).ok();
    assert!(events.contains("in the place of serial"), "{events}");
    // It outlives a crash.
    let mut bringer = bringer;
    bringer.keyward.kill9();
    bringer.keyward.start();
    bringer.wait_served(name, &second.serial);
    let said = bringer.keyward.cli(&["forget", name]).ok();
    assert!(said.starts_with("forgot shop.internal"), "{said}");
    bringer.wait_served(name, &own);
    let said = bringer.keyward.cli(&["forget", name]);
    assert!(!said.status.success() && said.err.contains("was not imported"), "{said:?}");
}

#[test]
fn what_is_brought_for_a_name_of_no_site_is_shown_by_the_default_site() {
    let bringer = Bringer::start_with("shop.internal", "default = true");
    let stray = "stray.example.org";
    let own = bringer.served("shop.internal");
    assert_eq!(bringer.served(stray), own, "who asks for it gets the default site's");
    let files = bringer.files(stray, "stray");
    bringer.import(&files, &[]).ok();
    bringer.wait_served(stray, &files.serial);
    assert_eq!(bringer.keyward.curl(&bringer.root(), stray, "/", &[]).ok(), "ok");
    assert_eq!(bringer.served("shop.internal"), own);
    // It is there at the first handshake after a crash, as everything is that is installed.
    let mut bringer = bringer;
    bringer.keyward.kill9();
    bringer.keyward.start();
    bringer.wait_served(stray, &files.serial);
    assert!(bringer.keyward.cli(&["forget", stray]).ok().starts_with("forgot"));
    bringer.wait_served(stray, &own);
}

#[test]
fn what_does_not_fit_is_refused_before_anything_changes() {
    let name = "shop.internal";
    let bringer = Bringer::start(name);
    let own = bringer.served(name);
    let (one, other) = (bringer.files(name, "one"), bringer.files(name, "other"));
    let mixed = Files { key: other.key.clone(), ..bringer.files(name, "mixed") };
    let said = bringer.import(&mixed, &[]);
    assert!(!said.status.success() && said.err.contains("does not belong"), "{said:?}");
    let said = bringer.import(&one, &["other.internal"]);
    assert!(!said.status.success() && said.err.contains("not for other.internal"), "{said:?}");
    let said = bringer.import(&Files { key: PathBuf::from("/nowhere"), ..one }, &[]);
    assert!(!said.status.success() && said.err.contains("/nowhere"), "{said:?}");
    assert_eq!(bringer.served(name), own);
    assert_eq!(bringer.keyward.cli(&["list"]).ok().lines().count(), 2);
}

#[test]
fn an_exportable_key_leaves_whole_and_the_journal_says_who_had_it_and_others_stay() {
    let name = "shop.internal";
    let bringer = Bringer::start(name);
    let keyward = &bringer.keyward;
    let kept = bringer.files(name, "kept");
    bringer.import(&kept, &[]).ok();
    let target = keyward.dir.path().join("out.key");
    let chain = keyward.dir.path().join("out.crt");
    let to = [target.to_str().unwrap(), "--chain", chain.to_str().unwrap()];
    let export = |more: &[&str]| {
        let mut arguments = vec!["export", name, "--to", to[0], to[1], to[2]];
        arguments.extend(more);
        keyward.cli(&arguments)
    };
    let said = export(&[]);
    assert!(!said.status.success() && said.err.contains("not exportable"), "{said:?}");
    assert!(!target.exists() && !chain.exists(), "nothing is left behind");
    let free = bringer.files(name, "free");
    bringer.import(&free, &["--exportable"]).ok();
    export(&[]).ok();
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
    let exported = rcgen::KeyPair::from_pem(&fs::read_to_string(&target).unwrap()).unwrap();
    let brought = rcgen::KeyPair::from_pem(&fs::read_to_string(&free.key).unwrap()).unwrap();
    assert_eq!(exported.serialize_der(), brought.serialize_der());
    assert_eq!(fs::read_to_string(&chain).unwrap(), fs::read_to_string(&free.cert).unwrap());
    let said = export(&[]);
    assert!(!said.status.success() && said.err.contains("is there already"), "{said:?}");
    export(&["--force"]).ok();
    let said = keyward.cli(&["export", name, "--to", "-"]).ok();
    assert_eq!(said, fs::read_to_string(&target).unwrap());
    let events = keyward.cli(&["events"]).ok();
    let told = events.lines().filter(|line| line.contains("is given the private key")).count();
    assert_eq!(told, 3, "{events}");
    let hidden = fs::read_dir(keyward.dir.path()).unwrap();
    let hidden = hidden.filter(|e| e.as_ref().unwrap().file_name().as_encoded_bytes()[0] == b'.');
    assert_eq!(hidden.count(), 0, "nothing is left beside the target");
}

/// The key that the socket gives for a recipient, opened by age.
fn delivered(keyward: &Keyward, name: &str) -> String {
    let path = |file: &str| keyward.dir.path().join(file).to_str().unwrap().to_owned();
    let (identity, file) = (path("identity"), path("key.age"));
    run(Command::new("age-keygen").args(["-o", &identity])).ok();
    let recipient = run(Command::new("age-keygen").args(["-y", &identity])).ok();
    let key = |to: &str| {
        keyward.api(&format!("/certificates/{name}/key?recipient={to}"), &["--output", &file])
    };
    let (status, _) = key(recipient.trim());
    assert_eq!(status, 200);
    let opened = run(Command::new("age").args(["--decrypt", "--identity", &identity, &file])).ok();
    let told = keyward.cli(&["events"]).ok();
    assert!(told.contains(&format!("encrypted to {}", recipient.trim())), "{told}");
    let wrong = format!("{}q", recipient.trim());
    for nobody in ["age1", "", &wrong] {
        assert_eq!(key(nobody).0, 400, "{nobody}");
    }
    opened
}

#[test]
fn the_key_is_never_in_the_memory_of_the_process_that_talks_to_the_network() {
    let name = "shop.internal";
    let bringer = Bringer::start(name);
    let files = bringer.files(name, "key");
    let target = bringer.keyward.dir.path().join("out.key");
    bringer.import(&files, &["--exportable"]).ok();
    bringer.wait_served(name, &files.serial);
    bringer.keyward.cli(&["export", name, "--to", target.to_str().unwrap()]).ok();
    let said = bringer.keyward.curl(&bringer.root(), name, "/", &[]);
    assert_eq!(said.ok(), "ok");
    let pem = fs::read_to_string(&target).unwrap();
    assert_eq!(delivered(&bringer.keyward, name), pem, "the same key for its recipient");
    let (status, chain) = bringer.keyward.api(&format!("/certificates/{name}/chain"), &[]);
    let chain = keyward::cert::chain::Chain::from_pem(chain.as_bytes()).unwrap();
    assert_eq!((status, chain.leaf().unwrap().serial), (200, files.serial.clone()));
    let line = pem.lines().nth(1).unwrap().as_bytes();
    // In every form in which libraries keep it, and as it was written.
    let secrets = scan::p256_forms(&files.scalar).into_iter().chain([line.to_vec()]);
    let needles = Needles::new(secrets.chain([name.as_bytes().to_vec()]));
    let main = bringer.keyward.pid().cast_unsigned();
    let found = needles.look_in(main).unwrap();
    assert!(found.looked_at > 1 << 20, "{found:?}");
    let [secrets @ .., known] = &found.counts[..] else { unreachable!() };
    assert_eq!(secrets, [0; 4], "a private key is in main");
    assert!(*known > 0, "main's memory is read at all");
    // The same look finds both where they are: in this process.
    let own = needles.look_in(std::process::id()).unwrap().counts;
    assert!(own[0] > 0 && own[3] > 0, "{own:?}");
}

#[test]
fn a_certificate_comes_in_from_pkcs12_and_from_an_encrypted_key_by_file_and_at_the_terminal() {
    let name = "shop.internal";
    let bringer = Bringer::start(name);
    let keyward = &bringer.keyward;
    let dir = keyward.dir.path();
    let openssl = |arguments: &[&str]| run(Command::new("openssl").args(arguments)).ok();
    let word = dir.join("word");
    fs::write(&word, "correct horse\n").unwrap();
    fs::set_permissions(&word, fs::Permissions::from_mode(0o600)).unwrap();
    let word = word.to_str().unwrap();

    let one = bringer.files(name, "one");
    let (key, cert) = (one.key.to_str().unwrap(), one.cert.to_str().unwrap());
    let p12 = dir.join("one.p12");
    let p12 = p12.to_str().unwrap();
    let pass = format!("file:{word}");
    openssl(&["pkcs12", "-export", "-inkey", key, "-in", cert, "-out", p12, "-passout", &pass]);
    let said = keyward.cli(&["import", "--pkcs12", p12, "--passphrase-file", key]);
    assert!(!said.status.success(), "{said:?}");
    let said = keyward.cli(&["import", "--pkcs12", p12, "--passphrase-file", word]).ok();
    assert!(said.starts_with("imported shop.internal, id "), "{said}");
    bringer.wait_served(name, &one.serial);

    // Its successor, under a passphrase that somebody types: wrong at first.
    let two = bringer.files(name, "two");
    let (key, cert) = (two.key.to_str().unwrap(), two.cert.to_str().unwrap());
    let locked = dir.join("two.locked");
    let locked = locked.to_str().unwrap();
    openssl(&["pkcs8", "-topk8", "-in", key, "-out", locked, "-passout", &pass]);
    let socket = dir.join("run/admin.sock");
    let line = format!(
        "{} --socket {} import --cert {cert} --key {locked}",
        crate::daemon::BINARY,
        socket.display()
    );
    let mut terminal = crate::terminal::Terminal::begin(&line);
    terminal.answer(&format!("keyward: the passphrase of {locked}: "), "wrong horse");
    let again = format!("keyward: that was not it; the passphrase of {locked}: ");
    terminal.answer(&again, "correct horse");
    let (shown, ended) = terminal.end();
    assert!(ended.success() && shown.contains("replaced shop.internal"), "{shown}");
    assert!(!shown.contains("horse"), "{shown}");
    bringer.wait_served(name, &two.serial);
    // The certificate kept its identity, and its history.
    assert_eq!(keyward.cli(&["list"]).ok().lines().count(), 3);
    let events = keyward.cli(&["events"]).ok();
    assert!(events.contains(&format!("in the place of serial {}", one.serial)), "{events}");
}
