//! Asks for the passphrase of the master key, and hands what became of it to each vault.
//!
//! The keeper does this, before it starts the first vault: a vault that takes the place of another
//! must not wait for somebody to type. It hands the key over as the first frame of the socket whose
//! other end main gets afterwards, so main never has it. Asked is whoever sits at the terminal;
//! where there is none, whoever answers `systemd-ask-password`.

use std::io;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use zeroize::Zeroizing;

use super::master::Found;
use super::master::former;
use super::passphrase::Verifier;
use super::seal::MASTER_KEY;
use super::seal::MasterKey;
use crate::base::Secret;
use crate::base::bounds;
use crate::base::causes::with_causes;
use crate::os::terminal;

/// The program that asks where there is no terminal.
const AGENT: &str = "systemd-ask-password";

/// Asks for the passphrase whose file is at `path`, and for the former one where that is needed.
/// Without a file, a new passphrase is taken if `make` says so, or if a former one is there.
///
/// # Errors
/// In words for whoever starts keyward.
pub(super) fn ask(path: &Path, make: bool) -> Result<Found, String> {
    let told = |error| with_causes(&error);
    let known = Verifier::read(path).map_err(told)?;
    let before = Verifier::read(&former(path)).map_err(told)?;
    let made = match &known {
        Some(_) => None,
        None if make || before.is_some() => {
            let passphrase = fresh()?;
            Some(Verifier::make(&passphrase, before.as_ref()).map_err(told)?)
        }
        None => {
            return Err(format!(
                "the file {} is gone, without which the passphrase opens nothing: restore it from \
                 a backup",
                path.display()
            ));
        }
    };
    let former = before.map(|before| known_one(&before, "the former passphrase")).transpose()?;
    match (made, known) {
        (Some((present, verifier)), _) => {
            verifier.write(path).map_err(told)?;
            Ok(Found { present, former, created: false })
        }
        (None, Some(known)) => {
            let present = known_one(&known, "the passphrase of the master key")?;
            Ok(Found { present, former, created: false })
        }
        // Without a file one was made above.
        (None, None) => Err("there is no passphrase".to_owned()),
    }
}

fn known_one(verifier: &Verifier, what: &str) -> Result<MasterKey, String> {
    let mut question = format!("keyward: {what}: ");
    for _ in 0..bounds::master::PASSPHRASE_TRIES {
        let answer = asked(&question)?;
        if let Some(master) = verifier.open(&answer).map_err(|error| with_causes(&error))? {
            return Ok(master);
        }
        question = format!("keyward: that was not it; {what}, again: ");
    }
    Err(format!("{what} was wrong {} times", bounds::master::PASSPHRASE_TRIES))
}

fn fresh() -> Result<Zeroizing<Vec<u8>>, String> {
    let mut complaint = "";
    for _ in 0..bounds::master::PASSPHRASE_TRIES {
        let first = asked(&format!("keyward: {complaint}a new passphrase for the master key: "))?;
        if first.len() < bounds::master::PASSPHRASE_LEAST {
            complaint = "that was too short; ";
            continue;
        }
        if asked("keyward: the same again: ")? == first {
            return Ok(first);
        }
        complaint = "those were two; ";
    }
    Err(format!(
        "no passphrase of at least {} octets was typed twice",
        bounds::master::PASSPHRASE_LEAST
    ))
}

fn asked(question: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let failed = |error: io::Error| format!("nobody could be asked for the passphrase: {error}");
    match terminal::ask(question, bounds::master::PASSPHRASE_MOST).map_err(failed)? {
        Some(answer) => Ok(answer),
        None => by_agent(question).map_err(|why| {
            format!("nobody could be asked for the passphrase: there is no terminal, and {why}")
        }),
    }
}

fn by_agent(question: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let failed = |error: io::Error| format!("{AGENT} does not work: {error}");
    let mut child = Command::new(AGENT)
        .arg(format!("--timeout={}", bounds::master::PASSPHRASE_PATIENCE.as_secs()))
        .arg(question.trim_end_matches(' '))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut answer = Zeroizing::new(Vec::with_capacity(bounds::master::PASSPHRASE_MOST + 2));
    if let Some(output) = child.stdout.take() {
        let most = u64::try_from(bounds::master::PASSPHRASE_MOST + 1).unwrap_or(u64::MAX);
        output.take(most).read_to_end(&mut answer).map_err(failed)?;
    }
    let ended = child.wait().map_err(failed)?;
    if !ended.success() {
        return Err(format!("{AGENT} ended with {ended}"));
    }
    if answer.last() == Some(&b'\n') {
        answer.pop();
    }
    Ok(answer)
}

/// The first frame for a vault: the master keys, or why there is none.
pub(super) fn encode(asked: &Result<Found, String>) -> Zeroizing<Vec<u8>> {
    let mut frame = Zeroizing::new(Vec::with_capacity(256));
    match asked {
        Ok(found) => {
            frame.push(0);
            for master in [Some(&found.present), found.former.as_ref()].into_iter().flatten() {
                frame.extend_from_slice(&master.epoch.to_le_bytes());
                frame.extend_from_slice(master.key.expose());
            }
        }
        Err(why) => {
            frame.push(1);
            frame.extend_from_slice(
                why.as_bytes().get(..bounds::VAULT_TEXT).unwrap_or(why.as_bytes()),
            );
        }
    }
    frame
}

/// Reads it again.
///
/// # Errors
/// Why there is none.
pub(super) fn decode(frame: &[u8]) -> Result<Found, String> {
    let broken = || "the keeper handed no master key over".to_owned();
    match frame.split_first() {
        Some((0, masters)) => {
            let (first, rest) = master(masters).ok_or_else(broken)?;
            let former = match master(rest) {
                None if rest.is_empty() => None,
                Some((former, [])) => Some(former),
                _ => return Err(broken()),
            };
            Ok(Found { present: first, former, created: false })
        }
        Some((1, why)) => Err(String::from_utf8_lossy(why).into_owned()),
        _ => Err(broken()),
    }
}

fn master(bytes: &[u8]) -> Option<(MasterKey, &[u8])> {
    let (epoch, rest) = bytes.split_first_chunk()?;
    let (key, rest) = rest.split_first_chunk::<MASTER_KEY>()?;
    Some((MasterKey { epoch: u32::from_le_bytes(*epoch), key: Secret::new(*key) }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(former: Option<u8>) -> Found {
        let of =
            |octet| MasterKey { epoch: u32::from(octet), key: Secret::new([octet; MASTER_KEY]) };
        Found { present: of(7), former: former.map(of), created: false }
    }

    #[test]
    fn what_is_handed_over_is_read_again_and_nothing_else_is() {
        let one = decode(&encode(&Ok(found(None)))).unwrap();
        assert_eq!((one.present.epoch, one.former.is_none()), (7, true));
        let two = encode(&Ok(found(Some(6))));
        let read = decode(&two).unwrap();
        assert_eq!(*read.former.unwrap().key.expose(), [6; MASTER_KEY]);
        assert_eq!(*read.present.key.expose(), [7; MASTER_KEY]);
        for cut in 0..two.len() {
            // Only the first key alone is whole as well.
            assert_eq!(decode(&two[..cut]).is_ok(), cut == 1 + 4 + MASTER_KEY, "{cut}");
        }
        let why = decode(&encode(&Err("it was wrong".to_owned()))).unwrap_err();
        assert_eq!(why, "it was wrong");
        assert!(decode(&[2]).is_err());
    }
}
