//! Names with hashes of their passwords, as a file or a list writes them, and the hashes themselves.
//!
//! Only Argon2id in PHC strings is taken. Deliberately absent: who is asked, and how often.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::io::Read as _;
use std::path::Path;

use argon2::Argon2;
use argon2::PasswordHash;
use argon2::PasswordHasher as _;
use argon2::PasswordVerifier as _;

use super::bounds::policy::HASH_COST_MOST;
use super::bounds::policy::USER_NAME_BYTES;
use super::bounds::policy::USERS_FILE_BYTES;

/// Names, each with the hash of a password.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Users(BTreeMap<Box<str>, Hash>);

/// The hash of a password.
#[derive(Clone, Eq, PartialEq)]
pub struct Hash(PasswordHash);

/// Why a line names nobody. None of these quotes it: what stands in the wrong place may be a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LineError {
    /// No colon, or nothing before it.
    #[error("there is no name with a colon after it")]
    NoName,
    /// A name with control characters, or an endless one.
    #[error("the name has characters that nobody can type, or too many of them")]
    Name,
    /// What stands behind the colon.
    #[error("what follows the colon is no hash in the form of a PHC string")]
    NoHash,
    /// Another algorithm.
    #[error("the hash is not one of Argon2id")]
    Algorithm,
    /// Too dear for a server.
    #[error("the hash takes more than 256 MiB or ten passes to check")]
    Dear,
    /// Two lines with one name.
    #[error("the name stands there twice")]
    Twice,
}

/// Why a file gives no users.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The kernel says so.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is too long, or no text.
    #[error("it is longer than {USERS_FILE_BYTES} bytes, or no text")]
    NoText,
    /// A line that names nobody.
    #[error("line {0}: {1}")]
    Line(usize, LineError),
    /// There is nobody in it.
    #[error("it names nobody")]
    Nobody,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.0.len())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash")
    }
}

impl Users {
    /// Takes in `name:hash`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&mut self, line: &str) -> Result<(), LineError> {
        let (name, hash) = line.split_once(':').ok_or(LineError::NoName)?;
        if name.is_empty() {
            return Err(LineError::NoName);
        }
        if name.len() > USER_NAME_BYTES || name.chars().any(char::is_control) {
            return Err(LineError::Name);
        }
        let hash = Hash::parse(hash.trim_end())?;
        if self.0.insert(name.into(), hash).is_some() { Err(LineError::Twice) } else { Ok(()) }
    }

    /// Reads a file: a user on each line, and lines that begin with `#`.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let mut text = Vec::new();
        File::open(path)?.take(USERS_FILE_BYTES + 1).read_to_end(&mut text)?;
        let short = u64::try_from(text.len()).is_ok_and(|length| length <= USERS_FILE_BYTES);
        let text = String::from_utf8(text).ok().filter(|_| short).ok_or(FileError::NoText)?;
        let mut users = Self::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                users.add(line).map_err(|error| FileError::Line(number + 1, error))?;
            }
        }
        if users.0.is_empty() { Err(FileError::Nobody) } else { Ok(users) }
    }

    /// Takes in all of `others`; those that are here already stay as they are.
    pub fn join(&mut self, others: Self) {
        for (name, hash) in others.0 {
            self.0.entry(name).or_insert(hash);
        }
    }

    /// The hash of `name`'s password.
    pub fn get(&self, name: &str) -> Option<&Hash> {
        self.0.get(name)
    }

    /// Somebody's hash, for a check that fails as slowly as one of a name that is known.
    pub fn any(&self) -> Option<&Hash> {
        self.0.values().next()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Hash {
    fn parse(text: &str) -> Result<Self, LineError> {
        let hash = PasswordHash::new(text).map_err(|_| LineError::NoHash)?;
        if hash.algorithm.as_str() != "argon2id" {
            return Err(LineError::Algorithm);
        }
        let params = argon2::Params::try_from(&hash).map_err(|_| LineError::NoHash)?;
        if hash.salt.is_none() || hash.hash.is_none() {
            return Err(LineError::NoHash);
        }
        let [memory, passes, lanes] = HASH_COST_MOST;
        if params.m_cost() > memory || params.t_cost() > passes || params.p_cost() > lanes {
            return Err(LineError::Dear);
        }
        Ok(Self(hash))
    }

    /// Hashes a password under `salt`, at the cost that OWASP recommends (19 MiB, two passes).
    /// `None` if the salt is too short.
    pub fn of(password: &[u8], salt: &[u8]) -> Option<Self> {
        Argon2::default().hash_password_with_salt(password, salt).ok().map(Self)
    }

    /// Whether `password` is the one. Takes tens of milliseconds, and memory; compared without
    /// regard to where the first difference is.
    pub fn fits(&self, password: &[u8]) -> bool {
        Argon2::default().verify_password(password, &self.0).is_ok()
    }

    /// As a PHC string.
    pub fn text(&self) -> String {
        self.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_its_own_hash_alone() {
        let hash = Hash::of(b"correct horse", b"0123456789abcdef").unwrap();
        let text = hash.text();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        let again = Hash::parse(&text).unwrap();
        assert!(again == hash && again.fits(b"correct horse") && !again.fits(b"correct horsE"));
        assert!(Hash::of(b"x", b"0").is_none());
        assert_eq!(format!("{again:?}"), "Hash");
    }

    #[test]
    fn only_argon2id_that_a_server_can_afford_is_taken() {
        let tail = "$YXBpbmNob2ZzYWx0$EFq43gfnY0TLSMr3Xyl8LBgb79kppnqBTMtIQCkKhbw";
        let line = |name: &str, head: &str| Users::default().add(&format!("{name}:{head}{tail}"));
        assert_eq!(line("ann", "$argon2id$v=19$m=19456,t=2,p=1"), Ok(()));
        assert_eq!(line("", "$argon2id$v=19$m=19456,t=2,p=1"), Err(LineError::NoName));
        assert_eq!(line("a\u{1}", "$argon2id$v=19$m=19456,t=2,p=1"), Err(LineError::Name));
        assert_eq!(line("ann", "$argon2i$v=19$m=19456,t=2,p=1"), Err(LineError::Algorithm));
        assert_eq!(line("ann", "$argon2id$v=19$m=2000000,t=2,p=1"), Err(LineError::Dear));
        assert_eq!(line("ann", "$argon2id$v=19$m=19456,t=2000,p=1"), Err(LineError::Dear));
        for bad in ["ann:", "ann:secret", "ann:$2y$05$abc", "ann:$apr1$x$y", "ann:{SHA}x"] {
            assert_eq!(Users::default().add(bad), Err(LineError::NoHash), "{bad}");
        }
        assert_eq!(Users::default().add("secret"), Err(LineError::NoName));
    }

    #[test]
    fn a_file_has_a_user_on_each_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        let hash = Hash::of(b"pw", b"0123456789abcdef").unwrap().text();
        std::fs::write(&path, format!("# staff\n\nann:{hash}\r\nbob:{hash}\n")).unwrap();
        let users = Users::read(&path).unwrap();
        assert!(users.get("ann").is_some() && users.get("bob").is_some());
        assert!(users.get("cat").is_none() && !users.is_empty());
        assert_eq!(format!("{users:?}"), "Users(2)");
        for (text, says) in [
            (format!("ann:{hash}\nann:{hash}\n"), "line 2: the name stands there twice"),
            ("x\n".to_owned(), "line 1: there is no name with a colon after it"),
            ("# nobody\n".to_owned(), "it names nobody"),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Users::read(&path).unwrap_err().to_string(), says);
        }
    }
}
