//! `keyward hash-password`: a line for `users` or a users file, from a password that is typed twice
//! or read from standard input. Deliberately absent: the password on the command line, where others
//! on the machine can read it.

use std::io::Read as _;

use ring::rand::SecureRandom as _;
use ring::rand::SystemRandom;
use zeroize::Zeroizing;

use super::out::Out;
use super::passphrase::PassphraseRefused;
use super::report::DONE;
use super::report::FAILED;
use super::report::Report;
use super::report::USAGE;
use crate::base::bounds::master::PASSPHRASE_MOST;
use crate::base::bounds::policy::HASH_SALT;
use crate::base::bounds::policy::PASSWORD_LEAST;
use crate::base::users::Hash;
use crate::base::users::Users;
use crate::os::terminal;

/// Tries of somebody who types.
const TRIES: u32 = 3;

/// `keyward hash-password NAME [--stdin]`
pub(super) fn hash_password(name: &str, stdin: bool, out: &mut Out) -> Result<u8, Report> {
    let password = if stdin { read()? } else { ask(name)? };
    let mut salt = [0; HASH_SALT];
    let fault = |what: &str| Report::new(FAILED, what.to_owned());
    SystemRandom::new().fill(&mut salt).map_err(|_| fault("the kernel gives no random numbers"))?;
    let hash = Hash::of(&password, &salt).ok_or_else(|| fault("the password cannot be hashed"))?;
    let line = format!("{name}:{}", hash.text());
    // As the configuration will read it.
    Users::default().add(&line).map_err(|error| {
        Report::new(USAGE, error.to_string()).hint("a name without a colon, such as \"ann\"")
    })?;
    out.line(&line)?;
    Ok(DONE)
}

fn ask(name: &str) -> Result<Zeroizing<Vec<u8>>, Report> {
    let answer = |question: String| {
        let refused = |error: &PassphraseRefused| {
            Report::new(FAILED, error.to_string()).hint("--stdin, and the password on one line")
        };
        terminal::ask(&question, PASSPHRASE_MOST)
            .map_err(|error| refused(&PassphraseRefused::Asking(error)))?
            .ok_or_else(|| refused(&PassphraseRefused::NoTerminal))
    };
    let mut complaint = "";
    for _ in 0..TRIES {
        let first = answer(format!("keyward: {complaint}a password for {name:?}: "))?;
        if first.len() < PASSWORD_LEAST {
            complaint = "that was too short; ";
            continue;
        }
        if answer("keyward: the same again: ".to_owned())? == first {
            return Ok(first);
        }
        complaint = "those were two; ";
    }
    Err(Report::new(
        FAILED,
        format!("no password of at least {PASSWORD_LEAST} octets was typed twice"),
    ))
}

/// The only line of standard input.
fn read() -> Result<Zeroizing<Vec<u8>>, Report> {
    // Has its room from the start: one that grows would leave copies behind.
    let room = PASSPHRASE_MOST + 2;
    let mut line = Zeroizing::new(Vec::with_capacity(room));
    std::io::stdin()
        .lock()
        .take(u64::try_from(room).unwrap_or(0))
        .read_to_end(&mut line)
        .map_err(|error| Report::new(FAILED, format!("standard input: {error}")))?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if (PASSWORD_LEAST..=PASSPHRASE_MOST).contains(&line.len()) && !line.contains(&b'\n') {
        return Ok(line);
    }
    Err(Report::new(
        FAILED,
        format!(
            "standard input: expected a password of {PASSWORD_LEAST} to {PASSPHRASE_MOST} octets \
             on one line"
        ),
    ))
}
