//! `keyward hash-password`: what it prints is what the configuration takes.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use keyward::base::users::Users;

use crate::house::command;
use crate::house::ended;
use crate::terminal::Terminal;

/// What it makes of this on its standard input.
fn hashed(name: &str, input: &str) -> (i32, String, String) {
    let mut child = command(Path::new("/nowhere"), &["hash-password", name, "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have refused the name before it read anything.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    ended(&child.wait_with_output().unwrap())
}

fn fits(line: &str, name: &str, password: &str) -> bool {
    let mut users = Users::default();
    users.add(line).unwrap();
    users.get(name).unwrap().fits(password.as_bytes())
}

#[test]
fn a_password_from_standard_input_becomes_a_line_of_users() {
    let (status, line, err) = hashed("ann", "correct horse\n");
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(line.starts_with("ann:$argon2id$v=19$") && line.ends_with('\n'), "{line}");
    assert!(fits(line.trim_end(), "ann", "correct horse"));
    assert!(!fits(line.trim_end(), "ann", "correct horse\n"));
    assert_ne!(hashed("ann", "correct horse").1, line, "each has a salt of its own");
    for (name, input) in [("ann", "short\n"), ("ann", "two\nlines that\n"), ("", "correct horse\n")]
    {
        let (status, out, err) = hashed(name, input);
        assert!(status != 0 && out.is_empty() && err.contains("error:"), "{name} {input:?}: {err}");
        assert!(!err.contains(input.trim_end()), "{err}");
    }
    // One that is in the name's place is not taken for a name without end.
    assert_ne!(hashed("a:b", "correct horse").0, 0);
}

#[test]
fn a_password_is_asked_for_twice_and_not_shown() {
    let program = env!("CARGO_BIN_EXE_keyward");
    let mut terminal = Terminal::begin(&format!("{program} hash-password ann"));
    terminal.answer("a password for \"ann\": ", "correct horse");
    terminal.answer("the same again: ", "correct house");
    terminal.answer("those were two; a password for \"ann\": ", "correct horse");
    terminal.answer("the same again: ", "correct horse");
    let (shown, status) = terminal.end();
    assert!(status.success(), "{shown}");
    assert!(!shown.contains("correct"), "{shown}");
    let line = shown.lines().find(|line| line.starts_with("ann:$argon2id$")).unwrap();
    assert!(fits(line.trim_end(), "ann", "correct horse"), "{shown}");
}
