//! A backup, and a machine that is made anew from it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use keyward::base::archive::Writer;

use crate::daemon::BINARY;
use crate::daemon::Keyward;
use crate::daemon::Said;
use crate::daemon::eventually;
use crate::daemon::run;
use crate::origin::Origin;
use crate::terminal::Terminal;

pub(crate) const NAMES: [&str; 2] = ["one.internal", "two.internal"];

pub(crate) struct House {
    pub(crate) keyward: Keyward,
    _origin: Origin,
}

impl House {
    pub(crate) fn start() -> Self {
        let origin = Origin::start();
        let site = |name| {
            format!("[[site]]\nnames = [\"{name}\"]\norigin = \"http://{}\"\n", origin.address)
        };
        let mut keyward = Keyward::new("", &NAMES.map(site).concat());
        keyward.start();
        let house = Self { keyward, _origin: origin };
        house.serials();
        house
    }

    /// What is served under each name.
    pub(crate) fn serials(&self) -> [String; 2] {
        NAMES.map(|name| {
            eventually("the site is served", Duration::from_secs(20), || {
                self.keyward.served_serial(name)
            })
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.keyward.dir.path().join(name)
    }

    pub(crate) fn backup(&self, output: &Path, more: &[&str]) -> Said {
        let config = self.keyward.config();
        let mut arguments = vec!["backup", "--output", output.to_str().unwrap(), "--config"];
        arguments.push(config.to_str().unwrap());
        arguments.extend(more);
        self.keyward.cli(&arguments)
    }

    pub(crate) fn restore(&self, backup: &Path, more: &[&str]) -> Said {
        run(Command::new(BINARY)
            .arg("restore")
            .arg(backup)
            .arg("--config")
            .arg(self.keyward.config())
            .args(more))
    }

    /// A file with a passphrase, for its owner alone.
    pub(crate) fn passphrase(&self, words: &str) -> String {
        let path = self.path("passphrase");
        fs::write(&path, format!("{words}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn master(&self) -> Vec<u8> {
        fs::read(self.keyward.state().join("vault/master.key")).unwrap()
    }

    /// As after a disk that is gone.
    pub(crate) fn wipe(&mut self) {
        self.keyward.terminate();
        fs::remove_dir_all(self.keyward.state()).unwrap();
    }
}

/// An identity of the program `age`, and its recipient.
pub(crate) fn identity(file: &Path) -> String {
    run(Command::new("age-keygen").arg("-o").arg(file));
    run(Command::new("age-keygen").arg("-y").arg(file)).ok().trim().to_owned()
}

#[test]
fn a_machine_made_anew_from_a_backup_serves_the_same_certificates_with_the_same_keys() {
    let mut house = House::start();
    let (key, tar) = (house.path("age.key"), house.path("backup.tar"));
    let recipient = identity(&key);
    let before = house.serials();
    let master = fs::read(house.keyward.state().join("vault/master.key")).unwrap();
    let said = house.backup(&tar, &["--recipient", &recipient]).ok();
    assert!(said.contains("backup.tar (mode 600)"), "{said}");
    assert_eq!(fs::metadata(&tar).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(house.keyward.cli(&["events"]).ok().contains("takes a backup"));
    let left = fs::read_dir(house.keyward.dir.path()).unwrap();
    let left = left.filter(|e| e.as_ref().unwrap().file_name().as_encoded_bytes()[0] == b'.');
    assert_eq!(left.count(), 0, "nothing is left beside the backup");
    // Sealed keys only: neither the master key nor a private key is in it as it is.
    let bytes = fs::read(&tar).unwrap();
    assert!(!bytes.windows(master.len()).any(|window| window == master), "the master key");
    // It is written over by nothing, unless asked for.
    let said = house.backup(&tar, &[]);
    assert!(!said.status.success() && said.err.contains("there already"), "{said:?}");

    // Nothing that is there is replaced.
    let said = house.restore(&tar, &["--identity", key.to_str().unwrap()]);
    assert!(!said.status.success() && said.err.contains("is in use"), "{said:?}");
    house.keyward.terminate();
    let said = house.restore(&tar, &["--identity", key.to_str().unwrap()]);
    assert!(!said.status.success() && said.err.contains("a database already"), "{said:?}");
    house.keyward.start();
    assert_eq!(house.serials(), before);

    house.wipe();
    fs::remove_file(house.keyward.config()).unwrap();
    // Damage and the identity of somebody else are told before anything is there.
    let damaged = house.path("damaged.tar");
    let mut flipped = bytes.clone();
    let at = flipped.len() / 2;
    flipped[at] ^= 1;
    fs::write(&damaged, flipped).unwrap();
    let said = house.restore(&damaged, &[]);
    assert!(!said.status.success() && said.err.contains("was changed since"), "{said:?}");
    let said = house.restore(&tar, &["--identity", "/dev/null"]);
    assert!(!said.status.success() && said.err.contains("no identity found"), "{said:?}");
    let stranger = house.path("stranger.key");
    identity(&stranger);
    let said = house.restore(&tar, &["--identity", stranger.to_str().unwrap()]);
    assert!(!said.status.success() && said.err.contains("none of the identities"), "{said:?}");
    assert!(!house.keyward.state().join("store/keyward.redb").exists());

    let said = house.restore(&tar, &["--identity", key.to_str().unwrap()]).ok();
    assert!(said.starts_with("2 certificates and 2 sealed keys in "), "{said}");
    let opened = "every key opens: 2 of certificates, 2 of the internal CA, 0 of accounts";
    assert!(said.contains(opened), "{said}");
    assert!(said.contains("which opens every one of them"), "{said}");
    let restored = house.keyward.state().join("vault/master.key");
    assert_eq!(fs::read(&restored).unwrap(), master);
    assert_eq!(fs::metadata(&restored).unwrap().permissions().mode() & 0o777, 0o400);
    house.keyward.start();
    assert_eq!(house.serials(), before);
    // And with the same keys: the records say so, and handshakes with them succeed.
    let root = house.path("root.pem");
    fs::write(&root, house.keyward.cli(&["trust", "--print"]).ok()).unwrap();
    for name in NAMES {
        assert_eq!(house.keyward.curl(&root, name, "/", &[]).ok(), "ok");
    }
    assert!(house.keyward.cli(&["events"]).ok().contains("takes a backup"));
}

#[test]
fn a_backup_without_the_master_key_waits_for_it() {
    let mut house = House::start();
    let tar = house.path("backup.tar");
    let before = house.serials();
    let master = fs::read(house.keyward.state().join("vault/master.key")).unwrap();
    let said = house.backup(&tar, &[]).ok();
    assert!(said.contains("the master key only, which is not in it"), "{said}");
    house.wipe();
    let said = house.restore(&tar, &["--identity", "/dev/null"]);
    assert!(!said.status.success() && said.err.contains("holds no master key"), "{said:?}");
    let said = house.restore(&tar, &[]).ok();
    assert!(said.contains("put it where it was"), "{said}");
    assert!(said.contains("keys, which nobody tried: 2 of certificates, 2 of the"), "{said}");
    let key = house.keyward.state().join("vault/master.key");
    fs::write(&key, master).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).unwrap();
    house.keyward.start();
    assert_eq!(house.serials(), before);
}

#[test]
fn a_backup_opens_with_programs_that_are_not_ours() {
    let house = House::start();
    let (key, out) = (house.path("age.key"), house.path("out"));
    let recipient = identity(&key);
    fs::create_dir(&out).unwrap();
    house.backup(&out, &["--recipient", &recipient]).ok();
    let unpack = format!(
        "cd {0} && tar xf keyward-backup-*.tar && sha256sum --strict -c SHA256SUMS && \
         age -d -i {1} -o master.key master.key.age",
        out.display(),
        key.display()
    );
    run(Command::new("sh").arg("-c").arg(unpack)).ok();
    let state = house.keyward.state();
    let read = |path: PathBuf| fs::read(path).unwrap();
    assert_eq!(read(out.join("master.key")), read(state.join("vault/master.key")));
    assert_eq!(read(out.join("keyward.toml")), read(house.keyward.config()));
}

#[test]
fn the_master_key_of_somebody_else_is_not_taken_for_the_vaults() {
    let house = House::start();
    let (key, other) = (house.path("age.key"), house.path("other.key"));
    let recipient = identity(&key);
    fs::write(&other, [7; 32]).unwrap();
    let more = ["--recipient", &recipient, "--master-key", other.to_str().unwrap()];
    let said = house.backup(&house.path("backup.tar"), &more);
    assert!(!said.status.success() && said.err.contains("not the master key"), "{said:?}");
    let said = house.backup(&house.path("backup.tar"), &["--recipient", "age1qqqq"]);
    assert!(!said.status.success() && said.err.contains("not a recipient of age"), "{said:?}");
    assert!(!house.path("backup.tar").exists());
}

const WORDS: &str = "correct horse battery";

/// The members of a backup, unpacked below `dir`.
pub(crate) fn unpacked(tar: &Path, dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    run(Command::new("tar").arg("-xf").arg(tar).arg("-C").arg(dir)).ok();
}

/// The backup that was unpacked to `dir`, with another encrypted master key.
fn with_master(dir: &Path, master: &[u8], tar: &Path) {
    fs::write(dir.join("master.key.age"), master).unwrap();
    packed(dir, tar);
}

/// A backup of what is in `dir`, with digests that fit.
pub(crate) fn packed(dir: &Path, tar: &Path) {
    let mut writer = Writer::new(fs::File::create(tar).unwrap(), 0);
    for name in ["ABOUT", "keyward.toml", "master.key.age", "keyward.redb"] {
        let content = fs::read(dir.join(name)).unwrap();
        writer.add(name, content.len() as u64, &content[..]).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn a_passphrase_typed_twice_opens_the_backup_here_and_with_age() {
    let mut house = House::start();
    let (tar, out) = (house.path("backup.tar"), house.path("out"));
    let (before, master) = (house.serials(), house.master());
    let config = house.keyward.config();
    let socket = house.keyward.dir.path().join("run/admin.sock");
    let line = format!(
        "{BINARY} --socket {} backup --passphrase --output {} --config {}",
        socket.display(),
        tar.display(),
        config.display()
    );
    let mut terminal = Terminal::begin(&line);
    terminal.answer("keyward: a passphrase for this backup: ", "short");
    terminal.answer("that was too short; a passphrase for this backup: ", WORDS);
    terminal.answer("the same again: ", "incorrect horse battery");
    terminal.answer("those were two; a passphrase for this backup: ", WORDS);
    terminal.answer("the same again: ", WORDS);
    let (shown, status) = terminal.end();
    assert!(status.success() && shown.contains("backup.tar (mode 600)"), "{shown}");
    assert!(!shown.contains(WORDS), "what was typed is on the screen: {shown}");
    let bytes = fs::read(&tar).unwrap();
    assert!(!bytes.windows(master.len()).any(|window| window == master), "the master key");

    // The program that Debian has opens it.
    unpacked(&tar, &out);
    let (locked, open) = (out.join("master.key.age"), out.join("master.key"));
    let line = format!("age -d -o {} {}", open.display(), locked.display());
    let mut terminal = Terminal::begin(&line);
    terminal.answer("Enter passphrase: ", WORDS);
    let (shown, status) = terminal.end();
    assert!(status.success(), "{shown}");
    assert_eq!(fs::read(&open).unwrap(), master);

    // And so does this one, what that program wrote.
    let line = format!("age -p -o {} {}", out.join("theirs").display(), open.display());
    let mut terminal = Terminal::begin(&line);
    terminal.answer("(leave empty to autogenerate a secure one): ", "their words");
    terminal.answer("Confirm passphrase: ", "their words");
    let (shown, status) = terminal.end();
    assert!(status.success(), "{shown}");
    let theirs = house.path("theirs.tar");
    with_master(&out, &fs::read(out.join("theirs")).unwrap(), &theirs);

    house.wipe();
    for (backup, words) in [(&tar, WORDS), (&theirs, "their words")] {
        let line = format!(
            "{BINARY} restore {} --passphrase --config {}",
            backup.display(),
            config.display()
        );
        let mut terminal = Terminal::begin(&line);
        terminal.answer("keyward: the passphrase of the backup: ", "something else");
        terminal.answer("that was not it; the passphrase of the backup: ", words);
        let (shown, status) = terminal.end();
        assert!(status.success() && shown.contains("which opens every one of them"), "{shown}");
        assert!(!shown.contains(words), "what was typed is on the screen: {shown}");
        assert_eq!(house.master(), master);
        house.keyward.start();
        assert_eq!(house.serials(), before);
        house.wipe();
    }
}

#[test]
fn whoever_gives_up_at_the_question_finds_the_terminal_as_it_was() {
    let house = House::start();
    let config = house.keyward.config();
    let socket = house.keyward.dir.path().join("run/admin.sock");
    let backup = format!(
        "{BINARY} --socket {} backup --passphrase --output {} --config {}",
        socket.display(),
        house.path("never.tar").display(),
        config.display()
    );
    // The shell outlives the key that ends the command, and looks at the terminal after it.
    let after = "echo \"it ended with $?\"; stty -a";
    // Whoever runs the tests in the background may have them ignored, and so would the command.
    let heard = "env --default-signal=INT,QUIT";
    let ended = |line: &str, question: &str, pressed: &str, how: &str| {
        let mut terminal = Terminal::begin(&format!("trap : INT QUIT; {heard} {line}; {after}"));
        terminal.press(question, pressed);
        let (shown, _) = terminal.end();
        assert!(shown.contains(&format!("it ended with {how}")), "{line}: {shown}");
        assert!(shown.contains(" echo ") && !shown.contains("-echo "), "{line}: {shown}");
    };
    let question = "keyward: a passphrase for this backup: ";
    ended(&backup, question, "\u{3}", "130");
    // Half a passphrase is no command for the shell.
    ended(&backup, question, "correct hor\u{3}", "130");
    let by_signal = format!("timeout --foreground --preserve-status -s TERM 2 {backup}");
    ended(&by_signal, question, "", "143");
    assert!(!house.path("never.tar").exists());
}

#[test]
fn whoever_stops_at_the_question_is_asked_again() {
    let mut house = House::start();
    let (tar, config) = (house.path("backup.tar"), house.keyward.config());
    let words = house.passphrase(WORDS);
    house.backup(&tar, &["--passphrase-file", &words]).ok();
    house.wipe();
    let restore =
        format!("{BINARY} restore {} --passphrase --config {}", tar.display(), config.display());
    // A shell with job control: it goes on when the command has stopped.
    let line = format!("bash -m -c '{restore}; stty -a; echo looked; fg'");
    let mut terminal = Terminal::begin(&line);
    let question = "keyward: the passphrase of the backup: ";
    terminal.press(question, "\u{1a}");
    terminal.answer(question, WORDS);
    let (shown, status) = terminal.end();
    let (stopped, _) = shown.split_once("looked").unwrap();
    assert!(stopped.contains(" echo ") && !stopped.contains("-echo "), "{shown}");
    assert!(status.success() && shown.contains("which opens every one of them"), "{shown}");
    assert!(!shown.contains(WORDS), "what was typed is on the screen: {shown}");
}

#[test]
fn a_passphrase_may_come_from_a_file_and_what_does_not_open_says_what_would() {
    let mut house = House::start();
    let (tar, out) = (house.path("backup.tar"), house.path("out"));
    let words = house.passphrase(WORDS);
    fs::set_permissions(&words, fs::Permissions::from_mode(0o644)).unwrap();
    let said = house.backup(&tar, &["--passphrase-file", &words]);
    assert!(!said.status.success() && said.err.contains("mode 644"), "{said:?}");
    // Nobody to ask, and none on the command line.
    let config = house.keyward.config();
    let said = run(Command::new("setsid").arg("--wait").arg(BINARY).args([
        "--socket",
        house.keyward.dir.path().join("run/admin.sock").to_str().unwrap(),
        "backup",
        "--passphrase",
        "--config",
        config.to_str().unwrap(),
    ]));
    assert!(said.err.contains("no terminal") && said.err.contains("--passphrase-file"), "{said:?}");
    let said = house.backup(&tar, &["--passphrase", WORDS]);
    assert_eq!(said.status.code(), Some(64), "{said:?}");
    assert!(!tar.exists());
    let words = house.passphrase(WORDS);
    house.backup(&tar, &["--passphrase-file", &words]).ok();
    unpacked(&tar, &out);
    let master = house.master();
    house.wipe();

    let refused = |house: &House, backup: &Path, more: &[&str]| {
        let said = house.restore(backup, more);
        assert_eq!(said.status.code(), Some(1), "{said:?}");
        assert!(!house.keyward.state().join("store/keyward.redb").exists());
        assert!(!house.keyward.state().join("vault/master.key").exists());
        said.err
    };
    let key = house.path("age.key");
    identity(&key);
    let told = refused(&house, &tar, &["--identity", key.to_str().unwrap()]);
    assert!(
        told.contains("encrypted with a passphrase") && told.contains("--passphrase"),
        "{told}"
    );
    let other = house.passphrase("another one entirely");
    let told = refused(&house, &tar, &["--passphrase-file", &other]);
    assert!(told.contains("not the passphrase") && told.contains("another --passphrase"), "{told}");
    // One that would take 64 GiB to try is not tried.
    let file = house.path("costly.tar");
    let mut costly = fs::read(out.join("master.key.age")).unwrap();
    let at = costly.windows(4).position(|part| part == b" 18\n").unwrap();
    costly[at..at + 4].copy_from_slice(b" 26\n");
    with_master(&out, &costly, &file);
    let told = refused(&house, &file, &["--passphrase-file", &words]);
    assert!(told.contains("2^26 KiB of memory"), "{told}");

    let words = house.passphrase(WORDS);
    house.restore(&tar, &["--passphrase-file", &words]).ok();
    assert_eq!(house.master(), master);
}

#[test]
fn a_master_key_that_had_a_predecessor_is_still_the_second_when_it_is_brought_back() {
    let mut house = House::start();
    let (key, tar) = (house.path("age.key"), house.path("backup.tar"));
    let recipient = identity(&key);
    house.keyward.cli(&["rotate", "master", "--wait"]).ok();
    let (before, master) = (house.serials(), house.master());
    assert!(master.starts_with(b"epoch 2\n"), "{}", String::from_utf8_lossy(&master[..8]));
    let place = |house: &House| {
        let status = house.keyward.cli(&["status", "--json"]).json();
        status["vault"]["master_key"].clone()
    };
    let present = place(&house);
    assert!(present.to_string().contains("epoch 2"), "{present}");
    house.backup(&tar, &["--recipient", &recipient]).ok();
    house.wipe();
    house.restore(&tar, &["--identity", key.to_str().unwrap()]).ok();
    assert_eq!(house.master(), master);
    house.keyward.start();
    assert_eq!(house.serials(), before);
    assert_eq!(place(&house), present);
}
