//! A master key from a passphrase: asked for at the terminal, or by `systemd-ask-password`, and
//! never again until the next start.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::daemon::BINARY;
use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::origin::Origin;
use crate::terminal::Terminal;

const SOON: Duration = Duration::from_secs(60);
const FIRST: &str = "correct horse battery";
const SECOND: &str = "staple to the wall";

/// Stands in for `systemd-ask-password`: notes what is asked, and gives the next answer.
struct Agent(PathBuf);

impl Agent {
    fn new(keyward: &mut Keyward) -> Self {
        let dir = keyward.dir.path().join("bin");
        std::fs::create_dir(&dir).unwrap();
        let script = format!(
            "#!/bin/sh\ncd {}\nprintf '%s\\n' \"$*\" >>asked\nhead -n 1 answers\nsed -i 1d answers\n",
            dir.display()
        );
        let program = dir.join("systemd-ask-password");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = std::env::var("PATH").unwrap();
        keyward.with_env("PATH", &format!("{}:{path}", dir.display()));
        Self(dir)
    }

    fn answers(&self, answers: &[&str]) {
        std::fs::write(self.0.join("answers"), answers.join("\n") + "\n").unwrap();
        std::fs::write(self.0.join("asked"), "").unwrap();
    }

    fn asked(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.join("asked")).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

fn keyward(origin: &Origin) -> Keyward {
    let origin = origin.address;
    let site = format!("[[site]]\nnames = [\"p.internal\"]\norigin = \"http://{origin}\"\n");
    let keyward = Keyward::new("", &site);
    keyward.edit("[log]\n", "[vault]\nmaster_key = \"passphrase\"\n\n[log]\n");
    keyward
}

fn served(keyward: &Keyward) {
    let root = keyward.dir.path().join("root.pem");
    std::fs::write(&root, keyward.cli(&["trust", "--print"]).ok()).unwrap();
    eventually("it is served", SOON, || {
        keyward.curl(&root, "p.internal", "/", &[]).status.success().then_some(())
    });
}

fn place(keyward: &Keyward) -> String {
    let status = keyward.cli(&["status", "--json"]).json();
    status["vault"]["master_key"].as_str().unwrap().to_owned()
}

fn kill_vault(keyward: &Keyward) {
    let status = || keyward.cli(&["status", "--json"]).json()["vault"]["pid"].as_i64();
    let before = status().unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(before).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("another vault serves", SOON, || status().filter(|pid| *pid != before).map(drop));
}

#[test]
fn without_a_terminal_the_agent_is_asked_and_a_wrong_answer_three_times_at_most() {
    let origin = Origin::start();
    let mut keyward = keyward(&origin);
    let agent = Agent::new(&mut keyward);
    agent.answers(&["short", FIRST, "another one entirely", FIRST, FIRST]);
    keyward.spawn_without_terminal();
    keyward.wait_ready();
    keyward.wait_issued("p.internal");
    served(&keyward);
    let asked = agent.asked();
    assert_eq!(asked.len(), 5, "{asked:?}");
    assert!(asked[1].contains("that was too short"), "{asked:?}");
    assert!(asked[3].contains("those were two"), "{asked:?}");
    assert!(place(&keyward).starts_with("a passphrase, epoch 1 ("), "{}", place(&keyward));
    let key = keyward.certificate("p.internal").unwrap()["installed"]["key"].clone();
    assert!(!keyward.state().join("vault/master.key").exists());
    // A vault that takes the place of another asks nobody.
    kill_vault(&keyward);
    served(&keyward);
    assert_eq!(agent.asked().len(), 5);
    // Nor does a process that takes the place of main, nor any vault of it; and it does not see what
    // its keeper was handed.
    keyward.upgrade();
    served(&keyward);
    kill_vault(&keyward);
    keyward.upgrade();
    served(&keyward);
    assert_eq!(agent.asked().len(), 5);
    let verifier = keyward.state().join("vault/passphrase");
    let verifier = keyward::vault::passphrase::Verifier::read(&verifier).unwrap().unwrap();
    let master = verifier.open(FIRST.as_bytes()).unwrap().unwrap();
    let needles = crate::scan::Needles::new(vec![master.key.expose().to_vec()]);
    let found = needles.look_in(u32::try_from(keyward.pid()).unwrap()).unwrap();
    assert!(found.looked_at > 1 << 20 && found.total() == 0, "{found:?}");
    let said = keyward.cli(&["rotate", "master"]);
    assert!(said.err.contains("the master key comes from a passphrase: move"), "{}", said.err);
    keyward.kill9();

    agent.answers(&["wrong", "wrong again", "and again"]);
    keyward.spawn_without_terminal();
    assert_eq!(keyward.wait_end(SOON).code(), Some(69), "{}", keyward.log());
    let log = keyward.log();
    assert!(log.contains("the passphrase of the master key was wrong 3 times"), "{log}");
    assert!(log.contains("what is sealed here needs the master key of epoch 1 ("), "{log}");
    assert!(agent.asked()[1].contains("that was not it"), "{:?}", agent.asked());

    agent.answers(&["wrong", FIRST]);
    keyward.spawn_without_terminal();
    keyward.wait_ready();
    served(&keyward);
    assert_eq!(keyward.certificate("p.internal").unwrap()["installed"]["key"], key);
    assert!(keyward.terminate().success());

    // Another passphrase, as `keyward rotate master` told.
    let file = keyward.state().join("vault/passphrase");
    let former = keyward.state().join("vault/passphrase.former");
    std::fs::rename(&file, &former).unwrap();
    agent.answers(&[SECOND, SECOND, FIRST]);
    keyward.spawn_without_terminal();
    keyward.wait_ready();
    eventually("everything is sealed anew", SOON, || {
        let status = keyward.cli(&["status", "--json"]).json();
        status["vault"]["master"]["former"].is_null().then_some(())
    });
    assert!(!former.exists());
    assert!(place(&keyward).starts_with("a passphrase, epoch 2 ("), "{}", place(&keyward));
    kill_vault(&keyward);
    served(&keyward);
    assert_eq!(agent.asked().len(), 3);
    keyward.kill9();
    agent.answers(&[SECOND]);
    keyward.spawn_without_terminal();
    keyward.wait_ready();
    served(&keyward);
    assert_eq!(keyward.certificate("p.internal").unwrap()["installed"]["key"], key);
    for secret in [FIRST, SECOND] {
        assert!(!keyward.log().contains(secret), "it is a secret");
    }
}

#[test]
fn at_a_terminal_what_is_typed_is_not_shown() {
    let origin = Origin::start();
    let keyward = keyward(&origin);
    let line = format!("{BINARY} run --config {}", keyward.config().display());
    let mut terminal = Terminal::begin(&line);
    terminal.answer("a new passphrase for the master key: ", FIRST);
    terminal.answer("the same again: ", FIRST);
    let status = eventually("the admin socket answers", SOON, || {
        let said = keyward.cli(&["status", "--json"]);
        said.status.success().then(|| said.json())
    });
    keyward.wait_issued("p.internal");
    served(&keyward);
    let main = nix::unistd::Pid::from_raw(i32::try_from(status["pid"].as_i64().unwrap()).unwrap());
    nix::sys::signal::kill(main, nix::sys::signal::Signal::SIGTERM).unwrap();
    let (shown, _) = terminal.end();
    assert!(!shown.contains(FIRST), "what was typed is on the screen: {shown}");
}

#[test]
fn a_backup_of_a_house_with_a_passphrase_needs_that_passphrase_and_nothing_else() {
    let origin = Origin::start();
    let mut keyward = keyward(&origin);
    let agent = Agent::new(&mut keyward);
    agent.answers(&[FIRST, FIRST]);
    keyward.spawn_without_terminal();
    keyward.wait_ready();
    keyward.wait_issued("p.internal");
    let key = keyward.certificate("p.internal").unwrap()["installed"]["key"].clone();
    let (tar, words) = (keyward.dir.path().join("b.tar"), keyward.dir.path().join("words"));
    let config = keyward.config();
    let backup =
        ["backup", "--output", tar.to_str().unwrap(), "--config", config.to_str().unwrap()];
    let said = keyward.cli(&[&backup[..], &["--passphrase-file", "/dev/null"]].concat());
    assert!(said.err.contains("the master key comes from a passphrase"), "{said:?}");
    let said = keyward.cli(&backup).ok();
    assert!(said.contains("open with the passphrase of the master key"), "{said}");
    let file = std::fs::read(keyward.state().join("vault/passphrase")).unwrap();
    assert!(keyward.terminate().success());

    let put = |content: &str| {
        std::fs::write(&words, content).unwrap();
        std::fs::set_permissions(&words, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    let restore = |more: &[&str]| {
        std::fs::remove_dir_all(keyward.state()).unwrap();
        let mut command = Command::new(BINARY);
        command.arg("restore").arg(&tar).arg("--config").arg(&config).args(more);
        crate::daemon::run(&mut command)
    };
    put("another one entirely");
    let opens = ["--passphrase-file", words.to_str().unwrap()];
    std::fs::create_dir_all(keyward.state()).unwrap();
    let said = restore(&opens);
    assert!(said.err.contains("not the passphrase that the master key"), "{said:?}");
    put(FIRST);
    std::fs::create_dir_all(keyward.state()).unwrap();
    let said = restore(&opens).ok();
    assert!(said.contains("every key opens: 1 of certificates, 2 of the internal CA"), "{said}");
    let said = restore(&[]).ok();
    assert!(said.contains("the next start asks for the passphrase"), "{said}");
    assert_eq!(std::fs::read(keyward.state().join("vault/passphrase")).unwrap(), file);
    agent.answers(&[FIRST]);
    keyward.spawn_without_terminal();
    keyward.wait_ready();
    served(&keyward);
    assert_eq!(keyward.certificate("p.internal").unwrap()["installed"]["key"], key);
}
