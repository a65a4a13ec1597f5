//! A terminal of one's own, and somebody who types at it.

use std::io::Read as _;
use std::io::Write as _;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;

/// A command at a terminal.
pub(crate) struct Terminal {
    script: Child,
    shown: String,
}

impl Terminal {
    /// Begins a command, as a shell reads it.
    pub(crate) fn begin(line: &str) -> Self {
        let script = Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command", line, "/dev/null"])
            // Whatever the shell of the user is: they differ in what an interrupt does to them.
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self { script, shown: String::new() }
    }

    /// Waits until `question` is the last that is shown, and types the answer.
    pub(crate) fn answer(&mut self, question: &str, answer: &str) {
        self.press(question, &format!("{answer}\n"));
    }

    /// Waits until `question` is the last that is shown, and presses these keys.
    pub(crate) fn press(&mut self, question: &str, pressed: &str) {
        while !self.shown.ends_with(question) {
            let mut octet = [0; 1];
            let read = self.script.stdout.as_mut().unwrap().read(&mut octet).unwrap();
            assert_eq!(read, 1, "it ended before {question:?}: {}", self.shown);
            self.shown.push(char::from(octet[0]));
        }
        // The question is shown after the echo is off.
        let keys = self.script.stdin.as_mut().unwrap();
        keys.write_all(pressed.as_bytes()).unwrap();
        // The same question again is another one.
        self.shown.push('\n');
    }

    /// Waits for the end: all that was on the screen, and how it ended.
    pub(crate) fn end(mut self) -> (String, ExitStatus) {
        self.script.stdout.take().unwrap().read_to_string(&mut self.shown).unwrap();
        (std::mem::take(&mut self.shown), self.script.wait().unwrap())
    }
}
