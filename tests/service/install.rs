//! The set-up of the README, word for word, on a machine that knows nothing of keyward.

use std::path::Path;
use std::process::Command;

use crate::rig::Machine;
use crate::rig::wait;

/// A checkout inside, with the program where `cargo build --release` puts it.
fn checkout(machine: &Machine) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let there = machine.path("/root/keyward");
    std::fs::create_dir_all(there.join("target/release")).unwrap();
    for part in [
        "scripts",
        "systemd",
        "config",
        "README.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
    ] {
        let copied = Command::new("cp").arg("-r").arg(here.join(part)).arg(&there).status();
        assert!(copied.unwrap().success(), "{part}");
    }
    std::fs::copy(env!("CARGO_BIN_EXE_keyward"), there.join("target/release/keyward")).unwrap();
}

/// The command lines of the README's section "The real set-up", without comments.
fn lines() -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let section = text.split("\n## The real set-up\n").nth(1).unwrap();
    let block = section.split("```").nth(1).unwrap();
    let commands = block.lines().filter_map(|line| line.strip_prefix("# "));
    commands.map(|line| line.split("  #").next().unwrap().trim().to_owned()).collect()
}

#[test]
fn the_set_up_of_the_readme_is_all_it_takes() {
    let machine = Machine::bare();
    checkout(&machine);
    let lines = lines();
    assert!(lines.len() <= 10, "ten lines at most: {lines:?}");
    for line in &lines {
        match line.split_whitespace().next().unwrap() {
            // What takes a compiler has been done, and what takes a person is left as it is.
            "cargo" | "editor" => {}
            _ => {
                let said = machine.must(&["sh", "-c", &format!("cd /root/keyward && {line}")]);
                if line == "keyward check" {
                    assert!(said.starts_with("ok: 1 site, 1 issuer\n"), "{said}");
                }
                if line == "keyward list" {
                    assert!(said.contains("example.org"), "{said}");
                }
            }
        }
    }
    // The file as it is installed names example.org. No CA is within reach, so a certificate of the
    // house's own answers, and the missing origin is told as such.
    let site = ["--insecure", "--resolve", "example.org:443:127.0.0.1", "https://example.org/"];
    assert_eq!(machine.curl(&site), Ok("502".to_owned()));
    machine.must(&["systemd-run", "python3", "-m", "http.server", "8080", "--bind", "127.0.0.1"]);
    wait(10, "the origin", || machine.curl(&site) == Ok("200".to_owned()));
    assert_eq!(machine.must(&["systemctl", "is-enabled", "keyward"]).trim(), "enabled");
}

#[test]
fn an_installation_is_complete_and_a_second_one_keeps_the_file() {
    let machine = Machine::bare();
    checkout(&machine);
    machine.must(&["/root/keyward/scripts/install"]);
    for file in [
        "/usr/bin/keyward",
        "/usr/lib/systemd/system/keyward.service",
        "/usr/lib/systemd/system/keyward-http.socket",
        "/usr/lib/systemd/system/keyward-https.socket",
        "/usr/lib/systemd/system/keyward-http3.socket",
        "/usr/lib/sysusers.d/keyward.conf",
        "/usr/lib/tmpfiles.d/keyward.conf",
        "/usr/share/doc/keyward/examples/reference.toml",
        "/usr/share/doc/keyward/examples/minimal.toml",
        "/usr/share/doc/keyward/examples/credential.conf",
        "/usr/share/doc/keyward/examples/own-ports.conf",
        "/usr/share/man/man1/keyward.1",
        "/usr/share/man/man1/keyward-renew.1",
        "/usr/share/bash-completion/completions/keyward",
        "/usr/share/zsh/vendor-completions/_keyward",
        "/usr/share/fish/vendor_completions.d/keyward.fish",
    ] {
        let path = machine.path(file);
        let length = std::fs::metadata(&path).map_or(0, |about| about.len());
        assert!(length > 50, "{file} is not there or holds nothing");
    }
    // The reference is a configuration that the installed program takes.
    machine.must(&["keyward", "check", "/usr/share/doc/keyward/examples/minimal.toml"]);
    let completions = machine.must(&["cat", "/usr/share/bash-completion/completions/keyward"]);
    assert!(completions.contains("renew") && completions.contains("trust"));

    machine.write("/etc/keyward/keyward.toml", "# mine\n");
    machine.must(&["/root/keyward/scripts/install"]);
    assert_eq!(machine.must(&["cat", "/etc/keyward/keyward.toml"]), "# mine\n");
}
